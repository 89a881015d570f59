"""resctrl trees that were recorded on real machines: read, and compared with the double's."""

from pathlib import Path

import pytest
import recorded as data
from resctrl_double import Kernel
from resctrl_trees import FULL, L2_AND_L3, files, make

from lorabench.host.resctrl import (
    CacheInfo,
    Schemata,
    monitored_domains,
    read_info,
)

if data.missing():
    pytest.skip(data.missing(), allow_module_level=True)


@pytest.fixture(scope="session", params=["full", "nomb", "l2l3mb"])
def recorded(request, recorded_resctrl) -> Path:
    return recorded_resctrl(request.param)


def test_recorded_schemata_print_back_byte_identical(recorded):
    found = list(recorded.rglob("schemata"))
    assert found
    for path in found:
        assert str(Schemata.parse(path.read_bytes().decode())).encode() == path.read_bytes()


def test_recorded_capabilities_are_read(recorded):
    info = read_info(recorded)
    name = recorded.name.removeprefix("resctrl.")
    assert info.root == Schemata.parse((recorded / "schemata").read_text())
    assert info.caches[0] == CacheInfo(
        name="L3",
        num_closids=15 if name == "l2l3mb" else 16,
        cbm_mask=0xFFFFF,
        min_cbm_bits=2 if name == "nomb" else 1,
        shareable_bits=0xC0001 if name == "l2l3mb" else 0xC0000,
        sparse_masks=False,
        domains=(0, 1) if name == "l2l3mb" else (0, 1, 2, 3),
    )
    assert info.caches[0].ways == 20
    assert [c.name for c in info.caches] == (["L3", "L2"] if name == "l2l3mb" else ["L3"])
    assert info.num_closids == (8 if info.bandwidth else 16)
    if info.bandwidth:
        assert (info.bandwidth.maximum, info.bandwidth.unit) == (100, "percent")
    assert info.monitoring is not None
    assert info.monitoring.features == ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes")
    assert monitored_domains(recorded).keys() <= info.root.domains("L3").keys()


def test_it_has_the_files_of_a_recorded_tree_with_the_same_content(recorded_resctrl):
    root = recorded_resctrl("full")
    kernel = Kernel(FULL)
    make(kernel, "Guaranteed", "mon_groups/example")
    ours = files(kernel.tree())
    folders = {"info", "mon_data", "Guaranteed"}
    theirs = {
        name: path
        for path in root.rglob("*")
        if path.is_file()
        and ((name := str(path.relative_to(root))).split("/")[0] in folders or "/" not in name)
        and "non_goresctrl" not in name
    }
    # The recording is of an older kernel.
    newer = {"info/L3/sparse_masks", "info/MB/thread_throttle_mode"}
    ours = {n: f for n, f in ours.items() if not n.startswith("mon_groups/")}
    assert ours.keys() == theirs.keys() | newer
    for name, path in theirs.items():
        shown, said = ours[name].read(), path.read_text()
        if "mon_data" in name:
            assert shown[:-1].isdecimal()
        elif name.endswith("tasks"):
            assert all(line.isdecimal() for line in shown.splitlines())
        else:
            # Newer kernels list MB first, and end bit_usage with one newline.
            assert sorted(shown.splitlines()) == sorted(said.strip("\n").split("\n")), name
            assert shown.endswith("\n")


def test_it_prints_padded_schemata_as_a_recorded_kernel_does(recorded_resctrl):
    root = recorded_resctrl("l2l3mb")
    kernel = Kernel(L2_AND_L3)
    shown = files(kernel.tree())
    assert shown["schemata"].read() == (root / "schemata").read_text()
    for name in ("L3/cbm_mask", "L3/shareable_bits", "L2/num_closids", "MB/thread_throttle_mode"):
        assert shown[f"info/{name}"].read() == (root / "info" / name).read_text()
