"""What subcommands share: saving, showing, gating."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lorabench.cli.reporting import Reporter
from lorabench.errors import GateError
from lorabench.host.missing import Missing
from lorabench.host.resctrl import Schemata
from lorabench.isolation.plan import MemoryPlan, Plan, RdtPlan
from lorabench.memory import MemoryPolicy
from lorabench.results.schema import Claim, Program, Result, Verdict


def result_with(*verdicts: Verdict) -> Result:
    claims = [
        Claim(
            id=f"claim.{number}",
            statement="a <= 1",
            target=1.0,
            measured=None,
            ci95=None,
            verdict=verdict,
            basis="measured-real",
            reason="so it was",
        )
        for number, verdict in enumerate(verdicts)
    ]
    return Result(
        command="colocate",
        id="x",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        lorabench=Program(version="0"),
        config={},
        config_hash="0",
        environment={},
        rounds=[],
        metrics=[],
        claims=claims,
        unavailable=[],
        series=[],
    )


def reporter(*, as_json: bool = False) -> Reporter:
    return Reporter(as_json=as_json, quiet=True, verbose=False)


def test_a_missed_claim_fails_the_gate_and_is_named() -> None:
    with pytest.raises(GateError, match=r"claim\.1 missed: a <= 1") as caught:
        reporter().gate(result_with("met", "missed", "inconclusive"))
    assert caught.value.exit_code == 1


def test_what_was_not_missed_passes_the_gate() -> None:
    reporter().gate(result_with("met", "inconclusive", "unavailable"))


def test_a_saved_document_names_its_raw_samples_by_hash(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    saved = reporter().save(result_with("met"), {"a": np.arange(3)}, path)
    assert saved.raw is not None
    assert saved.raw.name == "out.npz"
    assert saved.raw.sha256 == hashlib.sha256((tmp_path / "out.npz").read_bytes()).hexdigest()
    assert json.loads(path.read_text())["raw"]["name"] == "out.npz"


def test_json_goes_to_stdout_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporter(as_json=True).show(result_with("met"), tmp_path / "out.json")
    found = capsys.readouterr()
    assert json.loads(found.out)["id"] == "x"
    assert "claim.0 met" in found.err


def test_no_progress_is_drawn_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Reporter(as_json=False, quiet=False, verbose=False)
    with shown.progress() as observer:
        observer.stage("working", 0.5)
        observer.condition(1, 2, "solo")
    assert capsys.readouterr().err == ""


PLAN = Plan(
    (0, 1, 4),
    (8, 9),
    ("because it is so",),
    MemoryPlan(
        MemoryPolicy("interleave", (0, 1)),
        MemoryPolicy("bind", (0,)),
        (MemoryPolicy("bind", (0,)), MemoryPolicy("bind", (0,)), MemoryPolicy("bind", (1,))),
    ),
    RdtPlan(Schemata(), Schemata.of({"L3": {0: 0xF}, "MB": {0: 50}})),
)


def test_a_plan_is_printed_with_all_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    reporter().plan(PLAN, [Missing("numa", "there is one node", "run elsewhere")])
    assert capsys.readouterr().out.splitlines() == [
        "servers on CPUs 0-1,4 (3)",
        "trainer on CPUs 8-9 (2)",
        "tables: interleave over nodes 0, 1",
        "adapter: bind to node 0",
        "replay rings of servers 0-1: bind to node 0",
        "replay ring of server 2: bind to node 1",
        "resctrl group of the servers: none is needed",
        "resctrl group of the trainer: L3:0=f  MB:0=50",
        "because",
        "  because it is so",
        "numa is unavailable: there is one node; to have it, run elsewhere",
    ]


def test_a_plan_as_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    reporter(as_json=True).plan(PLAN, [])
    printed = capsys.readouterr()
    assert json.loads(printed.out) == PLAN.as_document()
    assert printed.err.startswith("servers on CPUs 0-1,4")
