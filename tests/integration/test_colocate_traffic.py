"""``lorabench colocate`` under other traffic, and with kept vectors: short runs of each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import SHORT, Run

from lorabench.results.files import read_result
from lorabench.results.schema import Result

pytestmark = pytest.mark.slow


def reuse_of(result: Result) -> dict[str, Any]:
    """What became of kept vectors; the net saving is what was saved without what it cost."""
    found = {(m.name, m.condition): m.values for m in result.metrics}
    assert ("reuse_net_bytes", "pinned") not in found
    names = ("bytes_saved", "bytes_written", "bytes_read", "net_bytes")
    saved, written, read, net = (found[f"reuse_{name}", "pinned+reuse"][0] for name in names)
    assert net == saved - written - read
    notes = [note for r in result.rounds for note in r.notes]
    nothing = any("pinned+reuse: nothing was kept for reuse (0 bytes)" in note for note in notes)
    return {"saved": saved, "written": written, "read": read, "net": net, "nothing": nothing}


# Long enough for a machine whose trainer begins late.
REUSE = (*SHORT[2:], "--conditions", "pinned,pinned+reuse", "--duration", 3)


def test_bursts_of_mlperf_sizes_are_learnt_from_and_single_ids_not_kept_for_reuse(
    lorabench: Run, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    traffic = ("--arrivals", "bursts", "--query-rows", "mlperf")
    run = lorabench("colocate", "--preset", "tiny", *REUSE, *traffic, "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    assert result.config["traffic"]["arrivals"] == "bursts"
    raw = np.load(path.with_suffix(".npz"))
    rows = raw["block0/pinned/rows"]
    assert set(rows.tolist()) <= {100, 200, 300, 400, 500, 600, 700}
    assert len(set(rows.tolist())) > 2
    start, first = raw["block0/pinned/first_sample"], raw["block0/pinned/trained_first"]
    ours = first >= start[0]
    assert ours.any()
    query = np.searchsorted(start, first[ours], side="right") - 1
    delay = result.config["experiment"]["label_delay_s"] * 1e9
    np.testing.assert_array_equal(
        raw["block0/pinned/label_ns"][ours], raw["block0/pinned/done_ns"][query] + delay
    )
    assert max(result.config["workload"]["spec"]["sparse"]["hotness"]) == 1
    reuse = reuse_of(result)
    assert reuse == {"saved": 0, "written": 0, "read": 0, "net": 0, "nothing": True}


def test_reuse_of_bags_is_counted_net(lorabench: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    run = lorabench("colocate", "--preset", "tiny-multihot", *REUSE, "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    reuse = reuse_of(result)
    assert not reuse["nothing"]
    spec = result.config["workload"]["spec"]
    kept = [hotness for hotness in spec["sparse"]["hotness"] if hotness > 2]
    row = 4 * spec["model"]["dim"]
    sample = len(kept) * row + 8
    # What was written in the warm-up is read in the block, and at the end of it some is left.
    ring = result.config["experiment"]["replay_bytes"]
    assert 0 < reuse["read"] <= reuse["written"] + ring
    assert reuse["written"] > 0
    assert reuse["read"] % sample == reuse["written"] % sample == 0
    # The tables stand still, so that all that is taken is up to date; the guard may let some pass.
    assert 0 < reuse["saved"] <= reuse["read"] / sample * sum(kept) * row
    assert reuse["net"] > 0
    raw = np.load(path.with_suffix(".npz"))
    for condition in ("pinned", "pinned+reuse"):
        assert len(raw[f"block0/{condition}/trained_first"]) > 0


def test_a_log_of_whole_seconds_is_refused_and_spread_where_that_is_asked_for(
    lorabench: Run, refuse: Run, tmp_path: Path
) -> None:
    log, path = tmp_path / "access", tmp_path / "out.json"
    log.write_text("".join(f"{1_700_000_000 + i // 50}\n" for i in range(2000)))
    asked = ("colocate", *SHORT, "--arrivals", log)
    refused = refuse(*asked)
    assert refused.returncode == 2
    assert f"{log}, line 2: found 2,000 of 2,000 arrivals at the moment" in refused.stderr
    assert "--spread-ties" in refused.stderr
    assert refuse(*asked, "--spread-ties", "--keep-ties").returncode == 2
    run = lorabench(*asked, "--spread-ties", "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    (note,) = [note for note in result.notes if "recorded arrivals" in note]
    assert "spread within their steps" in note
    assert "spread within their steps" in " ".join(run.stdout.split())
    assert result.config["traffic"]["parameters"]["tied"] == 2000
    assert result.config["experiment"]["spread_ties"] is True
    scheduled = np.load(path.with_suffix(".npz"))["block0/solo/scheduled_ns"]
    assert len(np.unique(scheduled)) > 0.99 * len(scheduled)
