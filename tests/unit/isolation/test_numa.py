"""NUMA placement: parsing and judging by text, the system calls on this machine's first node."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lorabench._kernels.memory import allowed_nodes
from lorabench.errors import InputError, MachineError
from lorabench.isolation import numa
from lorabench.isolation.numa import MappedMemory, mapped_bytes, misplaced, parse_numa_maps
from lorabench.memory import HugeRegion, MemoryPolicy, Region

MIB = 1 << 20

# As Linux writes them (fs/proc/task_mmu.c): private memory, a file on both, memory on huge
# pages of 2 MiB, a bound memfd that advice split in two, and policies with blanks in their names.
NUMA_MAPS = """\
55d0c8a00000 default heap anon=25 dirty=25 N0=20 N1=5 kernelpagesize_kB=4
7f1e5d000000 default file=/usr/lib/libc.so.6 mapped=40 mapmax=9 active=0 N0=30 N1=10 \
kernelpagesize_kB=4
7f1e5e000000 bind:1 file=/memfd:lorabench-h\\040(deleted) huge dirty=3 N1=3 kernelpagesize_kB=2048
7f1e5e800000 interleave:0-1 file=/memfd:lorabench-t\\040(deleted) dirty=512 N0=256 N1=256 \
kernelpagesize_kB=4
7f1e5ea00000 interleave:0-1 file=/memfd:lorabench-t\\040(deleted)
7f1e5f000000 prefer (many):0,2 anon=1 dirty=1 N2=1 kernelpagesize_kB=4
7ffd00000000 prefer=relative:1 stack anon=3 dirty=3 N1=3 kernelpagesize_kB=4
"""


def test_numa_maps_tell_policy_file_and_bytes_of_each_mapping():
    heap, libc, huge, first, second, many, stack = parse_numa_maps(NUMA_MAPS)
    assert heap == MappedMemory(0x55D0C8A00000, "default", "[heap]", {0: 81920, 1: 20480})
    assert libc.file == "/usr/lib/libc.so.6"
    assert huge == MappedMemory(
        0x7F1E5E000000, "bind:1", "/memfd:lorabench-h (deleted)", {1: 6 * MIB}
    )
    assert (first.policy, first.node_bytes) == ("interleave:0-1", {0: MIB, 1: MIB})
    assert second.node_bytes == {}
    assert (many.policy, many.node_bytes) == ("prefer (many):0,2", {2: 4096})
    assert (stack.policy, stack.file) == ("prefer=relative:1", "[stack]")


def test_all_parts_of_a_split_mapping_are_found_and_its_neighbour_is_not():
    found = parse_numa_maps(NUMA_MAPS, range(0x7F1E5E800000, 0x7F1E5F000000))
    assert [part.start for part in found] == [0x7F1E5E800000, 0x7F1E5EA00000]
    assert mapped_bytes(found) == {0: MIB, 1: MIB}
    assert mapped_bytes(()) == {}


def test_a_line_that_is_none_is_bad_input():
    with pytest.raises(InputError, match=r"numa_maps, line 2: found 'VmFlags: rd', expected an"):
        parse_numa_maps("1000 default\nVmFlags: rd\n")


@given(st.text())
@example("1000 default N0=x kernelpagesize_kB=y file=\\777")
@example(f"1000 default N{'9' * 5000}=1 kernelpagesize_kB={'9' * 5000}")
def test_any_text_parses_or_is_bad_input(text: str):
    lines = text.splitlines()
    wrong = None
    try:
        found = parse_numa_maps(text)
    except InputError as error:
        wrong = str(error)
    if wrong is None:
        assert len(found) == len(lines)
    else:
        number = int(re.match(r"numa_maps, line (\d+): found ", wrong)[1])
        assert repr(lines[number - 1][:80]) in wrong


mappings = st.lists(
    st.builds(
        MappedMemory,
        st.integers(0, 2**47),
        st.sampled_from(["default", "local", "bind:0-1,3", "prefer (many):1", "bind=static:2"]),
        st.text("ab/ =\t\n.()é", max_size=8).map(lambda name: f"/{name}"),
        st.dictionaries(st.integers(0, 1023), st.integers(1, 2**20).map(lambda n: n * 4096)),
    )
)


@given(mappings)
def test_what_the_kernel_writes_is_read_back(parts: list[MappedMemory]):
    def escaped(name: str) -> str:
        return "".join(f"\\{ord(c):03o}" if c in "\n\t= " else c for c in name)

    lines = []
    for part in parts:
        fields = [f"file={escaped(part.file)}", "mapped=3", "active=0"]
        fields += [f"N{node}={size // 4096}" for node, size in part.node_bytes.items()]
        lines.append(f"{part.start:08x} {part.policy} {' '.join(fields)} kernelpagesize_kB=4\n")
    assert list(parse_numa_maps("".join(lines))) == parts


@pytest.mark.parametrize(
    ("found", "policy", "right"),
    [
        ({1: 8 * MIB}, MemoryPolicy("bind", (1,)), True),
        ({1: 8 * MIB, 0: 4096}, MemoryPolicy("bind", (1,)), False),
        ({0: 8 * MIB}, MemoryPolicy("bind", (1,)), False),
        ({0: MIB, 1: 7 * MIB}, MemoryPolicy("bind", (0, 1)), True),
        ({1: 7 * MIB}, MemoryPolicy("bind", (0, 1)), True),
        ({0: 4 * MIB, 1: 4 * MIB}, MemoryPolicy("interleave", (0, 1)), True),
        ({0: 6 * MIB, 1: 4 * MIB}, MemoryPolicy("interleave", (0, 1)), True),
        ({0: 8 * MIB}, MemoryPolicy("interleave", (0, 1)), False),
        ({0: 90 * MIB, 1: 10 * MIB}, MemoryPolicy("interleave", (0, 1)), False),
        ({0: 4 * MIB, 1: 4 * MIB, 2: 4096}, MemoryPolicy("interleave", (0, 1)), False),
        ({0: 2 * MIB}, MemoryPolicy("interleave", (0, 1)), True),
        ({}, MemoryPolicy("bind", (0,)), False),
    ],
)
def test_bound_memory_has_no_strays_and_interleaved_memory_even_shares(found, policy, right):
    assert (misplaced(found, policy) is None) == right


def test_what_is_wrong_is_said_in_mebibytes_a_node():
    found = {1: 3 * MIB, 0: MIB // 2}
    says = "found 0.50 MiB on node 0 and 3.00 MiB on node 1"
    assert misplaced(found, MemoryPolicy("bind", (1,))) == says
    assert misplaced({}, MemoryPolicy("bind", (1,))) == "found none of it in memory"


@pytest.fixture
def node() -> int:
    """Return a node of this machine; its kernel has to have the system calls."""
    why = numa.placement_unavailable()
    if why is not None:
        pytest.skip(f"NUMA PLACEMENT IS NOT TESTED HERE ({why}): make test-numa")
    return allowed_nodes()[0]


@pytest.fixture
def region(node: int):
    made = Region.create("test", 16 * 4096, MemoryPolicy("bind", (node,)))
    yield made
    made.close()


def test_a_region_that_follows_its_policy_is_verified(region: Region, node: int):
    region.mapping.populate()
    numa.verify_placement(region, MemoryPolicy("bind", (node,)))
    assert region.node_bytes() == mapped_bytes(numa.numa_maps(region)) == {node: 16 * 4096}


def test_a_region_that_lies_elsewhere_is_named_with_what_lies_where(region: Region, node: int):
    region.mapping.populate()
    with pytest.raises(
        MachineError,
        match=rf"^memory 'test': found 0\.06 MiB on node {node} \(by move_pages\), "
        rf"expected it to bind to node {node + 1}$",
    ):
        numa.verify_placement(region, MemoryPolicy("bind", (node + 1,)))


def test_a_region_that_nobody_touched_is_not_called_placed(region: Region, node: int):
    with pytest.raises(MachineError, match="found none of it in memory"):
        numa.verify_placement(region, MemoryPolicy("bind", (node,)))


def test_a_huge_region_is_verified_by_both_witnesses(node: int):
    policy = MemoryPolicy("interleave", (node,))
    made = HugeRegion.create("test", 6 * MIB, policy)
    made.array(np.uint8, (6 * MIB,))[:] = 1
    made.settle()
    numa.verify_placement(made, policy)
    assert made.node_bytes() == mapped_bytes(numa.numa_maps(made)) == {node: 6 * MIB}
    made.close()


PROGRAM = """
import os, sys, threading, time
from lorabench.isolation import numa
from lorabench.errors import MachineError
node = int(sys.argv[1])
early = threading.Thread(target=time.sleep, args=(60,), daemon=True)
early.start()
numa.bind_process((node,))
late = threading.Thread(target=time.sleep, args=(60,), daemon=True)
late.start()
found = numa.thread_policies(os.getpid())
assert found[os.getpid()] == found[late.native_id] == f"bind:{node}", found
assert found[early.native_id] == "default", found
try:
    numa.verify_process(os.getpid(), (node,))
except MachineError as error:
    assert f"{early.native_id}: 'default'" in str(error)
else:
    raise AssertionError("the early thread was not found")
try:
    numa.bind_process((1023,))
except MachineError as error:
    print(error)
numa.set_memory_policy("local")
assert numa.thread_policies(os.getpid())[os.getpid()] == "local"
"""


def test_a_process_is_bound_from_its_first_thread_on_and_others_are_found_out(node: int):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(node)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("private memory: cannot bind to node 1023: expected nodes with")


def test_a_process_that_is_bound_before_libraries_start_threads_is_verified(node: int):
    program = (
        "import os\nfrom lorabench._kernels.memory import set_memory_policy\n"
        f"set_memory_policy('bind', ({node},))\n"
        "from lorabench.isolation import numa\n"  # numpy's threads start only now
        f"numa.verify_process(os.getpid(), ({node},))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_policies_of_a_process_that_has_ended_are_a_lookup_error():
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    with pytest.raises(ProcessLookupError):
        numa.thread_policies(child.pid)


def test_a_process_of_another_user_is_a_clear_line(node: int):
    if os.geteuid() == 0:
        pytest.skip("root may read every process: make unit as an ordinary user")
    with pytest.raises(MachineError, match="expected a process of the same user"):
        numa.thread_policies(1)
