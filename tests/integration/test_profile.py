"""profile by the installed command: a stream, real rows, two snapshots, and bad input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from command import Run

from lorabench.results.files import read_result

pytestmark = pytest.mark.slow


def test_every_table_gets_its_three_spectra(lorabench: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    run = lorabench(
        *("profile", "--preset", "tiny", "--dim", "8,32", "--window", 4096, "--windows", 6),
        *("--variance", 0.7, "-o", path),
    )
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    assert [claim.id for claim in result.claims] == ["lowrank.variance[V=0.7]"] * 2
    narrow, wide = result.claims
    assert (narrow.verdict, narrow.target) == ("unavailable", 0)
    assert wide.target == 1
    assert wide.verdict in ("met", "missed", "inconclusive")
    assert wide.ci95 is not None
    assert "planted synthetic rows" in wide.reason
    for name in ("rank_at_70", "gradient_rank_at_70", "rank_fraction_at_95", "signal_share"):
        for table in ("C1", "C26"):
            metric = result.metric(name, f"D32/{table}")
            assert metric is not None
            assert len(metric.values) == 6
    for by in ("adagrad", "sgd", "adagrad-emptied"):
        rank = result.metric("weighted_rank_at_70", f"D32/all/{by}")
        assert rank is not None
        assert rank.labels["optimizer"] == by
        assert f"{rank.estimate:.2f}" in wide.reason
        assert f"{rank.estimate:.2f} by {by}" in " ".join(run.stdout.split())
    explained = next(
        s for s in result.series if (s.name, s.condition) == ("explained_variance", "D32/C3")
    )
    assert len(explained.y) == 32
    assert explained.y == sorted(explained.y)
    assert explained.y[-1] == pytest.approx(1)
    assert "C26" in run.stdout
    assert "█" in run.stdout


def test_few_raw_rows_are_profiled_and_called_too_few(
    lorabench: Run, tmp_path: Path, criteo_rows: Path
) -> None:
    path = tmp_path / "out.json"
    run = lorabench("profile", "--data", criteo_rows, "--preset", "tiny", "--dim", 64, "-o", path)
    assert run.returncode == 0, run.stderr
    (claim,) = read_result(path).claims
    assert (claim.verdict, claim.basis) == ("inconclusive", "measured-real")
    assert "too few for a verdict" in claim.reason


def test_the_difference_of_two_snapshots_has_its_own_rank(lorabench: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    old = {f"emb_l.{f}.weight": rng.standard_normal((500, 64)) for f in range(2)}
    new = {name: table.copy() for name, table in old.items()}
    new["emb_l.1.weight"][:100] += rng.standard_normal((100, 3)) @ rng.standard_normal((3, 64))
    new["emb_l.1.weight"] = np.concatenate([new["emb_l.1.weight"], rng.normal(size=(20, 64))])
    for name, prefix, tensors in (("old", "", old), ("new", "module.", new)):
        held = {f"{prefix}{key}": torch.from_numpy(value).float() for key, value in tensors.items()}
        torch.save(held, tmp_path / name)
    path = tmp_path / "out.json"
    run = lorabench("profile", "--from", tmp_path / "old", "--to", tmp_path / "new", "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    (claim,) = result.claims
    assert (claim.verdict, claim.basis) == ("met", "measured-real")
    assert claim.measured is not None
    assert claim.measured <= 3
    still, moved = (f"emb_l.{f}.weight" for f in range(2))
    assert result.metric("rows_changed", still).values == [0.0]  # type: ignore[union-attr]
    assert result.metric("rows_changed", moved).values == [100.0]  # type: ignore[union-attr]
    assert result.metric("rank_at_95", moved).values[0] <= 3  # type: ignore[union-attr,operator]
    assert result.metric("rows_new", moved).values == [20.0]  # type: ignore[union-attr]
    assert "rows that are new, as they are" in run.stdout


def test_bad_input_is_one_line(refuse: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((4, 5), np.float32))
    bad = np.zeros((4, 3), np.float32)
    bad[2, 1] = np.nan
    np.save(tmp_path / "c.npy", bad)
    preset = ("--preset", "tiny")
    pair = ("--from", tmp_path / "a.npy", "--to")
    for arguments, expected in (
        ((*preset, "--variance", 1.2), "--variance: found 1.2, expected above 0 and below 1"),
        ((*preset, "--window", 10**9), "--window: found 1000000000, expected at most the"),
        (
            (*preset, "--optimizer", "sgd", "--learning-rate", 1e12, "--windows", 1),
            "training diverged",
        ),
        ((*pair, tmp_path / "b.npy"), "found dim 5, expected 3"),
        ((*pair, tmp_path / "c.npy"), "c.npy: table: found nan in row 2, expected finite"),
    ):
        path = tmp_path / "out.json"
        run = refuse("profile", *arguments, "-o", path)
        assert run.returncode == 2, (arguments, run.stderr)
        *progress, said = run.stderr.splitlines()
        assert all(line.startswith("lorabench: ") for line in progress), run.stderr
        assert expected in said
        assert not path.exists()


@pytest.mark.parametrize("kind", ["constant", "random"])
def test_labels_that_teach_nothing_give_no_verdict(
    kind: str, lorabench: Run, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60_000) if kind == "random" else np.zeros(60_000, np.int64)
    ids = rng.integers(0, 1000, (60_000, 2))
    rows = zip(labels, *ids.T, strict=True)
    (tmp_path / "rows.csv").write_text(
        "label,a,b\n" + "".join(f"{label},{a},{b}\n" for label, a, b in rows)
    )
    (tmp_path / "map.toml").write_text('label = "label"\nsparse = ["a", "b"]\n')
    taken = lorabench(
        "ingest", tmp_path / "rows.csv", "--columns", tmp_path / "map.toml", "-o", tmp_path / "rows"
    )
    assert taken.returncode == 0, taken.stderr
    path = tmp_path / "out.json"
    run = lorabench(
        *("profile", "--data", tmp_path / "rows", "--dim", 64, "--window", 4096, "--windows", 6),
        *("-o", path),
    )
    assert run.returncode == 0, run.stderr
    (claim,) = read_result(path).claims
    if kind == "constant":
        assert claim.verdict == "unavailable"
        assert "all 24,576 labels were negative: there was nothing to learn" in claim.reason
    else:
        assert claim.verdict == "inconclusive"
        assert "the loss did not fall below that of predicting the mean" in claim.reason
