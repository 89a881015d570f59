"""The double does what the kernel does: rules without a mount."""

import errno
import os
import time
from collections.abc import Callable

import pytest
from resctrl_double import Bandwidth, Cache, Caller, File, Kernel, Machine, Monitoring, mounted
from resctrl_trees import FULL, L2_AND_L3, make


def write(kernel: Kernel, path: str, text: str) -> str:
    """Write as the mount would; what the kernel says then, "ok" where it took it."""
    node = kernel.node(tuple(path.split("/")))
    assert isinstance(node, File)
    assert node.write is not None
    try:
        node.write(text, Caller.me())
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]}: {kernel.status.strip()}"
    return kernel.status or "ok"


def read(kernel: Kernel, path: str) -> str:
    node = kernel.node(tuple(path.split("/")))
    assert isinstance(node, File)
    return node.read()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("L3:0=f0\n", "ok"),
        ("L3:0=5\n", "EINVAL: The mask 5 has non-consecutive 1-bits"),
        ("L3:0=1\n", "EINVAL: Need at least 2 bits in the mask"),
        ("L3:0=0\n", "EINVAL: Mask out of range"),
        ("L3:0=1000\n", "EINVAL: Mask out of range"),
        ("L3:0=xyz\n", "EINVAL: Non-hex character in the mask xyz"),
        ("L3:0=f;0=f\n", "EINVAL: Duplicate domain 0"),
        ("L3:7=f\n", "EINVAL:"),
        ("L3:f\n", "EINVAL: Missing '=' or non-numeric domain"),
        ("L3:\n", "EINVAL: Missing 'L3' value"),
        ("L3\n", "EINVAL: Missing ':'"),
        ("L2:0=f\n", "EINVAL: Unknown or unsupported resource name 'L2'"),
        ("L3:0=f", "EINVAL:"),
        ("MB:0=5\n", "EINVAL: MB value 5 out of range [10,100]"),
        ("MB:0=x\n", "EINVAL: Invalid MB value x"),
        ("  L3:0= f0 ;1=f\nMB:1=25\n", "ok"),
    ],
)
def test_it_answers_a_write_of_schemata_as_the_kernel_does(text, answer):
    kernel = Kernel(Machine(caches=(Cache(min_cbm_bits=2),)))
    make(kernel, "a")
    before = read(kernel, "a/schemata")
    assert write(kernel, "a/schemata", text).startswith(answer)
    if answer != "ok":
        assert read(kernel, "a/schemata") == before


def test_a_write_changes_only_the_domains_it_names_and_all_of_them_or_none():
    kernel = Kernel(Machine(padded=False))
    make(kernel, "a")
    assert write(kernel, "a/schemata", "L3:1=f\nMB:0=41\n") == "ok"
    assert read(kernel, "a/schemata") == "MB:0=50;1=100\nL3:0=fff;1=f\n"
    assert write(kernel, "a/schemata", "L3:0=3\nL3:1=5\n").startswith("EINVAL")
    assert read(kernel, "a/schemata") == "MB:0=50;1=100\nL3:0=fff;1=f\n"


def test_masks_may_have_gaps_where_the_hardware_takes_them():
    kernel = Kernel(Machine(caches=(Cache(sparse_masks=True, min_cbm_bits=0),)))
    make(kernel, "a")
    assert write(kernel, "a/schemata", "L3:0=a05\n") == "ok"
    assert write(kernel, "a/schemata", "L3:0=0\n") == "ok"


def test_bandwidth_in_megabytes_is_taken_as_it_is_and_line_by_line():
    kernel = Kernel(Machine(bandwidth=Bandwidth(mba_mbps=True), padded=False))
    make(kernel, "a")
    assert read(kernel, "a/schemata").startswith("MB:0=4294967295;1=4294967295\n")
    assert write(kernel, "a/schemata", "MB:0=1234\nL3:0=5\n").startswith("EINVAL")
    assert read(kernel, "a/schemata").startswith("MB:0=1234;")
    assert read(kernel, "a/mba_MBps_event") == "mbm_local_bytes\n"
    assert write(kernel, "a/mba_MBps_event", "mbm_total_bytes\n") == "ok"
    assert write(kernel, "a/mba_MBps_event", "cycles\n").startswith("EINVAL: Unsupported event id")


def refused(action: Callable[[], None]) -> int:
    with pytest.raises(OSError, match=r"\[Errno") as error:
        action()
    assert error.value.errno is not None
    return error.value.errno


def test_groups_end_where_the_ids_of_the_poorest_resource_do():
    kernel = Kernel(Machine(bandwidth=Bandwidth(num_closids=3)))
    make(kernel, "a", "b")
    assert refused(lambda: make(kernel, "c")) == errno.ENOSPC
    assert read(kernel, "info/last_cmd_status") == "Out of CLOSIDs\n"
    kernel.rmdir(("a",))
    make(kernel, "c")
    assert read(kernel, "info/last_cmd_status") == "ok\n"
    kernel = Kernel(Machine(monitoring=Monitoring(num_rmids=3)))
    make(kernel, "a", "a/mon_groups/m")
    assert refused(lambda: make(kernel, "b")) == errno.ENOSPC
    assert read(kernel, "info/last_cmd_status") == "Out of RMIDs\n"
    assert list(kernel.groups) == ["a"]


def test_only_groups_are_made_and_removed():
    kernel = Kernel(Machine())
    make(kernel, "a")
    assert refused(lambda: make(kernel, "a")) == errno.EEXIST
    assert refused(lambda: make(kernel, "a/b")) == errno.EPERM
    assert refused(lambda: make(kernel, "info/b")) == errno.ENODEV
    assert refused(lambda: make(kernel, "b/c")) == errno.ENOENT
    for name in "info", "mon_data", "mon_groups", "a/mon_data":
        assert refused(lambda name=name: kernel.rmdir(tuple(name.split("/")))) == errno.EPERM
    assert refused(lambda: kernel.rmdir(("schemata",))) == errno.ENOTDIR
    assert refused(lambda: kernel.rmdir(("b",))) == errno.ENOENT


def test_code_and_data_have_masks_of_their_own_and_half_the_groups():
    kernel = Kernel(Machine(caches=(Cache(num_closids=4, cdp_capable=True, cdp=True),)))
    assert read(kernel, "info/L3CODE/num_closids") == "2\n"
    make(kernel, "a")
    assert refused(lambda: make(kernel, "b")) == errno.ENOSPC
    assert write(kernel, "a/schemata", "L3CODE:0=f\nL3DATA:0=f0\n") == "ok"
    assert "L3DATA:0=0f0;1=fff\nL3CODE:0=00f;1=fff\n" in read(kernel, "a/schemata")
    assert write(kernel, "a/schemata", "L3:0=f\n").startswith("EINVAL: Unknown or unsupported")


def test_exclusive_groups_share_with_nobody():
    kernel = Kernel(Machine(caches=(Cache(domains=(0,), shareable_bits=0x800),), padded=False))
    make(kernel, "a")
    write(kernel, "a/schemata", "L3:0=f\n")
    assert write(kernel, "a/mode", "exclusive\n") == "EINVAL: Schemata overlaps"  # the root group
    assert write(kernel, "schemata", "L3:0=f0\n") == "ok"
    assert write(kernel, "a/mode", "exclusive\n") == "ok"
    assert write(kernel, "schemata", "L3:0=1f\n") == "EINVAL: Overlaps with exclusive group"
    assert write(kernel, "a/schemata", "L3:0=1f\n") == "EINVAL: Overlaps with other group"
    assert write(kernel, "a/schemata", "L3:0=c00\n") == "EINVAL: Overlaps with other group"  # I/O's
    assert read(kernel, "info/L3/bit_usage") == "0=H000SSSSEEEE\n"
    make(kernel, "b")
    assert read(kernel, "b/schemata").endswith("L3:0=ff0\n")
    kernel.rmdir(("b",))
    assert write(kernel, "a/mode", "locked\n") == "EINVAL: Unknown or unsupported mode"
    assert write(kernel, "a/mode", "shareable\n") == "ok"


def test_a_group_needs_ways_that_nobody_holds_exclusively():
    kernel = Kernel(Machine(caches=(Cache(domains=(0,), pseudo_locked=((0, 0xF00),)),)))
    assert write(kernel, "schemata", "L3:0=f00\n").startswith("EINVAL: CBM overlaps with pseudo")
    make(kernel, "a")
    write(kernel, "schemata", "L3:0=f\n")
    write(kernel, "a/schemata", "L3:0=f0\n")
    assert write(kernel, "a/mode", "exclusive\n") == "ok"
    assert write(kernel, "mode", "exclusive\n") == "ok"
    assert refused(lambda: make(kernel, "b")) == errno.ENOSPC
    assert read(kernel, "info/last_cmd_status") == "No space on L3:0\n"
    assert read(kernel, "info/L3/bit_usage") == "0=PPPPEEEEEEEE\n"


def test_exclusive_needs_a_cache():
    kernel = Kernel(Machine(caches=()))
    make(kernel, "a")
    assert write(kernel, "a/mode", "exclusive\n") == "EINVAL: Cannot be exclusive without CAT/CDP"


def test_tasks_belong_to_one_group_and_return_to_the_root_group():
    kernel = Kernel(Machine())
    make(kernel, "a", "b", "a/mon_groups/m")
    me = os.getpid()
    assert f"{me}\n" in read(kernel, "tasks")
    assert write(kernel, "a/tasks", f"{me}\n") == "ok"
    assert read(kernel, "a/tasks") == f"{me}\n"
    assert f"\n{me}\n" not in read(kernel, "tasks")
    assert write(kernel, "a/mon_groups/m/tasks", "0\n") == "ok"  # 0 is the writer
    assert read(kernel, "a/tasks") == read(kernel, "a/mon_groups/m/tasks") == f"{me}\n"
    assert write(kernel, "b/tasks", f"{me}\n") == "ok"
    assert read(kernel, "a/tasks") == read(kernel, "a/mon_groups/m/tasks") == ""
    assert write(kernel, "a/mon_groups/m/tasks", f"{me}\n").startswith("EINVAL: Can't move task")
    kernel.rmdir(("b",))
    assert f"{me}\n" in read(kernel, "tasks")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("4194304\n", "ESRCH: No task 4194304\nError while processing task 4194304"),
        ("x\n", "EINVAL: Task list parsing error pid x"),
        ("-3\n", "EINVAL: Invalid pid -3"),
        ("\n", "EINVAL: Task list parsing error pid"),
    ],
)
def test_it_answers_a_write_of_tasks_as_the_kernel_does(text, answer):
    kernel = Kernel(Machine())
    make(kernel, "a")
    assert write(kernel, "a/tasks", text) == answer


def test_others_tasks_are_moved_by_root_alone():
    kernel = Kernel(Machine())
    make(kernel, "a")
    node = kernel.node(("a", "tasks"))
    assert isinstance(node, File)
    assert node.write is not None
    stranger = Caller(1, 4242, 4242)
    assert refused(lambda: node.write(f"{os.getpid()}\n", stranger)) == errno.EPERM
    assert kernel.status.startswith(f"No permission to move task {os.getpid()}\n")


def test_cpus_belong_to_one_group():
    kernel = Kernel(Machine(cpus=40))
    make(kernel, "a")
    assert read(kernel, "cpus") == "000000ff,ffffffff\n"
    assert write(kernel, "a/cpus_list", "2-3,33\n") == "ok"
    assert read(kernel, "a/cpus") == "00000002,0000000c\n"
    assert read(kernel, "cpus_list") == "0-1,4-32,34-39\n"
    assert write(kernel, "cpus_list", "0\n") == "EINVAL: Can't drop CPUs from default group"
    assert write(kernel, "a/cpus_list", "99\n") == "EINVAL: Can only assign online CPUs"
    assert write(kernel, "a/cpus", "x\n") == "EINVAL: Bad CPU list/mask"
    assert write(kernel, "a/cpus", "00000000,00000004\n") == "ok"
    assert read(kernel, "cpus_list") == "0-1,3-39\n"
    kernel.rmdir(("a",))
    assert read(kernel, "cpus_list") == "0-39\n"


def test_counters_move_with_tasks_and_can_be_broken():
    kernel = Kernel(Machine(monitoring=Monitoring(broken=((1, "llc_occupancy", "Unavailable"),))))
    make(kernel, "a")
    assert read(kernel, "a/mon_data/mon_L3_00/mbm_total_bytes") == "0\n"
    write(kernel, "a/tasks", f"{os.getpid()}\n")
    time.sleep(0.001)
    total = int(read(kernel, "a/mon_data/mon_L3_00/mbm_total_bytes"))
    assert total > 0
    assert int(read(kernel, "a/mon_data/mon_L3_00/mbm_total_bytes")) > total
    assert 0 < int(read(kernel, "a/mon_data/mon_L3_00/llc_occupancy")) <= 24 << 20
    assert read(kernel, "a/mon_data/mon_L3_01/llc_occupancy") == "Unavailable\n"


@pytest.mark.parametrize("machine", [FULL, L2_AND_L3, Machine(caches=(), monitoring=None)])
def test_a_machine_survives_the_way_to_its_process(machine):
    assert Machine.from_json(machine.to_json()) == machine


def test_the_mount_answers_as_the_rules_do(resctrl):
    assert (resctrl / "info/last_cmd_status").read_text() == "ok\n"
    (resctrl / "a").mkdir()
    with pytest.raises(OSError, match="Invalid argument"):
        (resctrl / "a/schemata").write_text("L3:0=5\n")
    said = (resctrl / "info/last_cmd_status").read_text()
    assert said == "The mask 5 has non-consecutive 1-bits\n"
    with pytest.raises(ProcessLookupError):
        (resctrl / "a/tasks").write_text("4194304\n")
    with pytest.raises(PermissionError):
        (resctrl / "file").write_text("")
    with pytest.raises(PermissionError):
        (resctrl / "a/tasks").unlink()
    with pytest.raises(PermissionError):
        (resctrl / "mon_data").rmdir()
    handle = os.open(resctrl / "a/schemata", os.O_WRONLY)
    with pytest.raises(OSError, match="Argument list too long"):
        os.write(handle, b"\n" * 4097)
    os.close(handle)
    (resctrl / "a").rmdir()
    assert not (resctrl / "a").exists()


def test_no_mount_is_left_by_a_test_that_fails_with_a_file_open(mount_resctrl, tmp_path):
    folder = tmp_path / "other"

    def fail_inside() -> None:
        with mounted(Machine(), folder) as root, (root / "schemata").open():
            assert folder.is_mount()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert not folder.is_mount()
