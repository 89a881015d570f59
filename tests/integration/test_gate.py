"""A gate that can fail: a slower head fails it, and a version held against itself does not.

What is planted is so large that no weather of a machine hides it, and the gates are as wide as
gates can be, so that no weather passes for it.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

from command import Run
from slower_python import slower_python, wrapped_python

DRAWN = "lorabench.experiments.kernels.cases.single:zipf"
KERNELS = (
    *("--", "kernels", "--kernels", "zipf", "--peers", "", "--rounds", "11"),
    *("--table-mib", "1", "--dim", "16"),
)
GATE = ("--gate", "zipf_sample_s[candidate=lorabench]=90%")


def test_a_slower_head_fails_its_gate_now_and_from_what_was_kept(
    lorabench: Run, tmp_path: Path
) -> None:
    # A turn takes a millisecond or two, and a busy machine may withhold some tens now and then.
    head = slower_python(tmp_path / "head", DRAWN, seconds=0.1)
    kept, report = tmp_path / "kept", tmp_path / "gate.xml"
    ran = lorabench("compare", "--run", sys.executable, head, *GATE, "--keep", kept, *KERNELS)
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.splitlines()[-1].endswith(", beyond 90 %")
    again = lorabench(
        *("compare", kept / "base.json", kept / "head.json", *GATE),
        *("--format", "junit", "-o", report),
    )
    assert again.returncode == 1, again.stderr
    (failure,) = ElementTree.parse(report).iter("failure")
    assert failure.attrib["message"].endswith(", beyond 90 %")


def test_a_version_held_against_itself_fails_no_gate(lorabench: Run, tmp_path: Path) -> None:
    base = wrapped_python(tmp_path / "base")
    ran = lorabench(
        "compare", "--run", base, sys.executable, *GATE, "--keep", tmp_path / "kept", *KERNELS
    )
    assert ran.returncode in (0, 4), ran.stderr
