"""The parsing half: trees that the test writes."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from resctrl_double import Machine, Monitoring
from resctrl_trees import FULL, L2_AND_L3, write_tree

from lorabench.errors import InputError
from lorabench.host.resctrl import (
    CacheInfo,
    MemoryBandwidthInfo,
    MonitoringInfo,
    Schemata,
    clustered_nodes,
    find_mount,
    groups,
    monitored_domains,
    read_counters,
    read_info,
    read_node_counters,
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="module", params=["L3 and MB", "L3, L2 and MB"])
def shown(request, tmp_path_factory) -> tuple[Machine, Path]:
    """A machine, and its tree with two groups, as its kernel shows it."""
    machine = FULL if request.param == "L3 and MB" else L2_AND_L3
    folder = tmp_path_factory.mktemp("resctrl")
    return machine, write_tree(machine, folder, "theirs", "theirs/mon_groups/one", "lorabench-1-x")


def test_schemata_that_a_kernel_shows_print_back_byte_identical(shown):
    _, root = shown
    found = list(root.rglob("schemata"))
    assert len(found) == 3
    for path in found:
        assert str(Schemata.parse(path.read_text())) == path.read_text()


def test_groups_that_a_kernel_shows_are_listed(shown):
    _, root = shown
    assert set(groups(root)) == {"theirs", "lorabench-1-x"}


def test_capabilities_that_a_kernel_shows_are_read(shown):
    machine, root = shown
    info = read_info(root)
    assert info.root == Schemata.parse((root / "schemata").read_text())
    assert [cache.name for cache in info.caches] == [cache.name for cache in machine.caches]
    for ours, theirs in zip(info.caches, machine.caches, strict=True):
        assert (ours.ways, ours.num_closids) == (theirs.ways, theirs.num_closids)
        assert (ours.shareable_bits, ours.domains) == (theirs.shareable_bits, theirs.domains)
    assert info.num_closids == 8
    assert info.bandwidth is not None
    assert (info.bandwidth.maximum, info.bandwidth.unit) == (100, "percent")
    assert (info.monitoring is not None) == (machine.monitoring is not None)
    if info.monitoring is not None:
        assert info.monitoring.features == ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes")
        assert monitored_domains(root).keys() <= info.root.domains("L3").keys()


masks = st.integers(0, 2**32 - 1)
widths = st.integers(0, 12)


@st.composite
def printed_schemata(draw) -> tuple[str, dict[str, dict[int, int]]]:
    """A schemata as some kernel might print it, and what it says."""
    names = draw(
        st.lists(
            st.sampled_from(["L3", "L2", "MB", "SMBA", "L3CODE", "L3DATA", "L2CODE", "L2DATA"]),
            unique=True,
        )
    )
    rows, values = [], {}
    for name in names:
        domains = draw(st.dictionaries(st.integers(0, 300), masks, max_size=5))
        width = draw(widths)
        values[name] = domains
        pairs = (
            f"{domain}={value:{width}d}" if "MB" in name else f"{domain}={value:0{width}x}"
            for domain, value in domains.items()
        )
        rows.append(f"{' ' * draw(widths)}{name}:{';'.join(pairs)}")
    return "".join(row + "\n" for row in rows), values


@given(printed_schemata())
def test_what_a_kernel_prints_is_read_and_printed_back_byte_identical(printed):
    text, values = printed
    schemata = Schemata.parse(text)
    assert str(schemata) == text
    assert schemata.values() == values
    assert schemata == Schemata.of(values)
    assert Schemata.parse(str(Schemata.of(values))) == schemata


@given(st.text(alphabet="L3MB2CODE:;=0123456789abf \t\n-x"))
def test_any_text_is_read_and_printed_back_or_refused_with_its_line(text):
    refusal = ""
    try:
        printed = str(Schemata.parse(text))
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert re.match("line [0-9]+: found .*, expected", refusal)
    else:
        assert printed == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L3 0=f\n", "line 1: found 'L3 0=f', expected a resource and domains"),
        ("MB:0=100\nL3:0=fg\n", "line 2: found '0=fg' for L3, expected a pair such as 0=fff"),
        ("MB:0=f\n", "line 1: found '0=f' for MB, expected a pair such as 0=100"),
        ("L3:0=f;0=3\n", "line 1: found domain 0 of L3 again"),
        ("L3:0=f\nL3:1=3\n", "line 2: found L3 again"),
    ],
)
def test_a_bad_schemata_is_refused_with_what_was_found(text, message):
    with pytest.raises(ValueError, match="line") as refused:
        Schemata.parse(text)
    assert str(refused.value).startswith(message)


def test_what_is_not_understood_is_kept_as_it_is():
    text = "GPU:0=x;1=y\nL2:uninitialized\nL3:0=f\n"
    schemata = Schemata.parse(text)
    assert str(schemata) == text
    assert schemata.values() == {"GPU": {}, "L2": {}, "L3": {0: 15}}


def test_code_and_data_are_resources_of_their_own(tmp_path):
    files = {"schemata": "L3DATA:0=ff\nL3CODE:0=f\n"}
    for name in "L3CODE", "L3DATA":
        files |= {f"info/{name}/num_closids": "8\n", f"info/{name}/cbm_mask": "ff\n"}
    info = read_info(write(tmp_path, files))
    assert [c.name for c in info.cache("L3")] == ["L3CODE", "L3DATA"]
    assert info.num_closids == 8


def test_a_machine_with_l2_alone(tmp_path):
    files = {
        "schemata": "L2:0=ff;1=ff\n",
        "info/L2/num_closids": "4\n",
        "info/L2/cbm_mask": "ff\n",
    }
    info = read_info(write(tmp_path, files))
    assert info.bandwidth is None
    assert info.monitoring is None
    assert info.caches == (CacheInfo("L2", 4, 0xFF, 1, 0, False, (0, 1)),)
    assert info.cache("L3") == ()


def test_a_machine_with_bandwidth_alone_and_most_files_absent(tmp_path):
    info = read_info(write(tmp_path, {"schemata": "MB:0=100\n", "info/MB/num_closids": "4\n"}))
    assert info.caches == ()
    assert info.bandwidth == MemoryBandwidthInfo("MB", 4, domains=(0,))


def test_a_machine_that_only_monitors(tmp_path):
    files = {"info/L3_MON/num_rmids": "256\n", "info/L3_MON/mon_features": "llc_occupancy\n"}
    info = read_info(write(tmp_path, files | {"mon_data/mon_L3_01/llc_occupancy": "0\n"}))
    assert info.root == Schemata()
    assert info.num_closids == 1
    assert info.monitoring is not None
    assert info.monitoring == MonitoringInfo(256, ("llc_occupancy",))
    assert list(monitored_domains(tmp_path)) == [1]


def test_amd_bandwidth_counts_eighths_of_a_gigabyte_a_second(tmp_path):
    files = {
        "schemata": "MB:0=2048;1=2048\nL3:0=ffff;1=ffff\n",
        "info/MB/num_closids": "16\n",
        "info/MB/bandwidth_gran": "1\n",
        "info/MB/min_bandwidth": "0\n",
        "info/MB/delay_linear": "0\n",
        "info/L3_MON/num_rmids": "256\n",
        "info/L3_MON/mon_features": "mbm_total_bytes\nmbm_total_bytes_config\n",
    }
    info = read_info(write(tmp_path, files))
    assert info.bandwidth is not None
    assert (info.bandwidth.maximum, info.bandwidth.unit) == (2048, "1/8 GB/s")
    assert info.bandwidth.rounded(17) == 17
    assert info.monitoring is not None
    assert info.monitoring.features == ("mbm_total_bytes",)


@pytest.mark.parametrize(
    "trace", [{"schemata": "MB:0=4294967295\n"}, {"mba_MBps_event": "mbm_local_bytes\n"}]
)
def test_bandwidth_in_megabytes_is_recognised(tmp_path, trace):
    files = {"schemata": "MB:0=500\n", "info/MB/num_closids": "8\n"}
    bandwidth = read_info(write(tmp_path, files | trace)).bandwidth
    assert bandwidth is not None
    assert bandwidth.unit == "MB/s"
    assert bandwidth.rounded(1234) == 1234
    assert bandwidth.refusal(1234) is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "found no folder info, expected a mounted resctrl file system"),
        ({"info/L3/num_closids": "4\n", "schemata": "L3 ff\n"}, "schemata: line 1: found 'L3 ff'"),
    ],
)
def test_a_half_missing_tree_is_refused_by_the_file(tmp_path, files, message):
    with pytest.raises(InputError) as refused:
        read_info(write(tmp_path, files))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"info/L3/num_closids": None}, "L3/num_closids: found no such file, expected one"),
        (
            {"info/L3/num_closids": "many\n"},
            "L3/num_closids: found 'many', expected a whole number",
        ),
        ({"info/MB/bandwidth_gran": "\n"}, "MB/bandwidth_gran: found '', expected a whole number"),
        ({"info/L3_MON/num_rmids": "x\n"}, "L3_MON/num_rmids: found 'x'"),
        (
            {"info/L3_MON/available_mbm_cntrs": "0=a\n"},
            "available_mbm_cntrs: found '0=a', expected a",
        ),
    ],
)
def test_a_file_that_does_not_parse_takes_its_own_resource_away(tmp_path, files, why):
    whole = read_info(write_tree(FULL, tmp_path))
    (name,) = files
    path = tmp_path / name
    path.unlink() if files[name] is None else path.write_text(files[name])
    info = read_info(tmp_path)
    resource = name.split("/")[1]
    (dropped,) = info.dropped
    assert dropped.what == f"resctrl's {resource}"
    assert why in dropped.why
    assert info.caches == (() if resource == "L3" else whole.caches)
    assert info.bandwidth == (None if resource == "MB" else whole.bandwidth)
    assert info.monitoring == (None if resource == "L3_MON" else whole.monitoring)


def test_counters_of_amd_s_that_are_assigned_one_by_one(tmp_path):
    machine = Machine(monitoring=Monitoring(counters=8))
    found = read_info(write_tree(machine, tmp_path, "a", "b")).monitoring
    assert found is not None
    assert found.assigned
    # The root group and two more have two a domain each.
    assert found.free_counters == {0: 2, 1: 2}
    assert (found.countable(1), found.countable(2)) == (True, False)
    (tmp_path / "info/L3_MON/mbm_assign_mode").write_text("mbm_event\n[default]\n")
    found = read_info(tmp_path).monitoring
    assert found is not None
    assert found.countable(100)
    assert read_counters(tmp_path / "b")[0, "mbm_total_bytes"] is not None


def test_clusters_have_counters_of_their_own_below_those_of_the_cache(tmp_path):
    machine = Machine(monitoring=Monitoring(nodes=((0, 1), (2, 3))))
    root = write_tree(machine, tmp_path)
    assert list(monitored_domains(root)) == [0, 1]
    assert list(clustered_nodes(monitored_domains(root)[1])) == [2, 3]
    assert {(domain, node) for domain, node, _ in read_node_counters(root)} == {
        *((0, 0), (0, 1), (1, 2), (1, 3))
    }
    assert read_node_counters(write_tree(FULL, tmp_path / "plain")) == {}


def test_masks_that_the_kernel_would_refuse():
    cache = CacheInfo("L3", 16, 0xFFF, min_cbm_bits=2)
    assert cache.refusal(0xF0) is None
    assert "out of range" in str(cache.refusal(0x1000))
    assert "out of range" in str(cache.refusal(0))
    assert "has a gap" in str(cache.refusal(0b1101100))
    assert "expected at least 2" in str(cache.refusal(0x8))
    sparse = CacheInfo("L3", 16, 0xFFF, min_cbm_bits=0, sparse_masks=True)
    assert sparse.refusal(0b1101100) is None
    assert sparse.refusal(0) is None


@given(st.integers(0, 2**20 - 1))
def test_a_mask_is_contiguous_if_and_only_if_its_bits_are(mask):
    cache = CacheInfo("L3", 16, 2**20 - 1)
    digits = f"{mask:b}"
    contiguous = "1" in digits and "01" not in digits.rstrip("0")
    assert (cache.refusal(mask) is None) == contiguous


def test_bandwidth_is_rounded_up_within_its_range():
    bandwidth = MemoryBandwidthInfo("MB", 8, bandwidth_gran=10, min_bandwidth=10)
    assert [bandwidth.rounded(v) for v in (0, 10, 11, 95, 100, 130)] == [10, 10, 20, 100, 100, 100]
    assert bandwidth.refusal(11) is None
    assert "expected 10 to 100 (percent)" in str(bandwidth.refusal(5))


def test_a_schemata_that_does_not_fit_the_machine_is_refused_before_it_is_written(tmp_path):
    files = {
        "schemata": "L3:0=ff;1=ff\n",
        "info/L3/num_closids": "4\n",
        "info/L3/cbm_mask": "ff\n",
    }
    info = read_info(write(tmp_path, files))
    assert info.refusals(Schemata.of({"L3": {0: 0xF, 1: 0xF0}})) == ()
    assert info.refusals(Schemata.of({"MB": {0: 50}, "L3": {2: 1, 1: 5}})) == (
        "found resource MB, expected one of this machine's: L3",
        "found domain 2 of L3, expected one of 0, 1",
        "domain 1: mask 5 of L3 has a gap; expected bits side by side",
    )


FILES = [
    *("schemata", "mon_data/mon_L3_00/llc_occupancy"),
    *(f"info/L3/{n}" for n in ("num_closids", "cbm_mask", "min_cbm_bits", "sparse_masks")),
    *(f"info/MB/{n}" for n in ("num_closids", "bandwidth_gran", "min_bandwidth", "delay_linear")),
    *("info/L3_MON/num_rmids", "info/L3_MON/mon_features", "info/last_cmd_status"),
]
noise = st.one_of(st.text("0123456789abfx=;:L3MB -,\n", max_size=20), st.binary(max_size=20))
numbers = st.integers(0, 2**70).map(str)
LONG = "9" * 5000  # int() refuses to read that


@example(dict.fromkeys(FILES, LONG))
@example({"schemata": f"MB:0={LONG}\nL3:{LONG}=f\n"})
@given(st.dictionaries(st.sampled_from(FILES), st.one_of(noise, numbers)))
def test_a_tree_of_any_content_is_read_or_refused_in_one_line_with_the_file(contents):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "info").mkdir()
        for name, content in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            (root / name).write_bytes(data)
        refusal = folder
        try:
            read_info(root)
        except InputError as error:
            refusal = str(error)
        assert refusal.startswith(folder)
        assert "\n" not in refusal
        assert len(read_counters(root)) <= 1


@given(st.text())
def test_any_table_of_mounts_is_read(text):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "proc").mkdir()
        (Path(folder) / "proc/mounts").write_text(text, errors="surrogatepass")
        found = find_mount(Path(folder))
        assert found is None or "resctrl" in text
