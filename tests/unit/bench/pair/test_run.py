"""Two versions at one machine: whose turn it is, when both have had enough, what may go wrong."""

import re
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_version import fake_python, log_of
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.pair import MAX_MINUTES_OF_TWO
from lorabench.bench.pair.afresh import ColocateArguments
from lorabench.bench.pair.process import SideError
from lorabench.bench.pair.run import Pair, run_pair
from lorabench.bench.turns import Ended, Measured
from lorabench.errors import InputError, LorabenchError
from lorabench.results.files import read_result, write_result
from lorabench.results.schema import Metric, Program, Queries, Result, Round

PLAN = {"kept": {"qps": 50}, "looks": [2, 4], "level": 0.01}
TURNS = "steps(4, told['side']); leave()"
PLANNED = f"""
note(f"{{told['side']}} keeps to {{told['kept']}}")
end = steps(4, told['side'], planned={PLAN!r} if told['side'] == 'base' else None)
note(f"{{told['side']}} ended {{end and end['ended']}}")
leave()
"""


class Watching:
    """Remembers stages; comes with Ctrl-C at one of them."""

    def __init__(self, interrupting: str = "") -> None:
        self.told: list[str] = []
        self._at = interrupting

    def stage(self, text: str, done: float) -> None:
        self.told.append(text)
        if text == self._at:
            raise KeyboardInterrupt

    def case(self, number: int, total: int, text: str) -> None:
        raise AssertionError("a pair has stages alone")


def result(*digests: str, qps: float = 50.0) -> Result:
    rounds = [
        Round(
            index=number,
            order=["solo"],
            schedule_sha256={"solo": digest},
            queries={"solo": Queries(offered=1, served=1)},
            saturated=[],
            wraps=0,
            steal_s={},
            involuntary_switches={},
        )
        for number, digest in enumerate(digests)
    ]
    offered = Metric(
        name="offered_qps",
        condition="solo",
        unit="1/s",
        better="higher",
        values=[qps],
        estimate=qps,
        ci95=None,
    )
    return Result(
        command="colocate",
        id="20260101T000000-000000",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        lorabench=Program(version="0.0"),
        config={},
        config_hash="",
        environment={},
        rounds=rounds,
        metrics=[offered],
        claims=[],
        unavailable=[],
        series=[],
    )


Run = Callable[..., Pair]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a pair of fakes, each given by its code."""
    monkeypatch.setenv("LORABENCH_RUN_DIR", str(tmp_path))

    def run(
        base: str,
        head: str,
        *arguments: str,
        documents: Sequence[Result] = (result("a", "b"), result("a", "b")),
        turns: bool = True,
        wrapped: bool = False,
        **options: Any,
    ) -> Pair:
        pythons = [
            fake_python(tmp_path / name, code, document, turns=turns, wrapped=wrapped)
            for name, code, document in zip(("base", "head"), (base, head), documents, strict=True)
        ]
        given = {"decided": lambda *_: False, "observer": Watching(), "say": print} | options
        return run_pair(*pythons, arguments or ("colocate",), folder=tmp_path / "kept", **given)

    return run


def log(folder: Path) -> list[str]:
    return log_of(folder / "fake").read_text().splitlines()


def test_both_go_step_by_step_and_never_at_once(run: Run, tmp_path: Path) -> None:
    pair = run(TURNS, TURNS, seed=1)
    lines = log(tmp_path)
    begun, ended = lines[::2], lines[1::2]
    assert [line.replace("begins", "ends") for line in begun] == ended
    steps = [line.split(" begins ") for line in begun]
    assert [step for _, step in steps] == [str(n) for n in (1, 1, 2, 2, 3, 3, 4, 4)]
    firsts = [side for side, _ in steps[::2]]
    assert all(
        {one, other} == {"base", "head"}
        for (one, _), (other, _) in zip(steps[::2], steps[1::2], strict=True)
    )
    assert set(firsts) == {"base", "head"}  # drawn, and so not always the same
    assert (pair.notes, pair.interrupted) == ((), False)


def test_head_keeps_to_what_base_has_planned(run: Run, tmp_path: Path) -> None:
    run(PLANNED, PLANNED)
    assert "base keeps to None" in log(tmp_path)
    assert "head keeps to {'qps': 50}" in log(tmp_path)
    assert "head ended None" in log(tmp_path)  # all of its steps


def test_verdicts_are_looked_at_when_planned_and_end_both(run: Run, tmp_path: Path) -> None:
    asked = []

    def decided(base: Sequence[Measured], head: Sequence[Measured], level: float) -> bool:
        asked.append(level)
        return True

    run(PLANNED, PLANNED, decided=decided)
    assert asked == [0.01]
    assert {"base ended known", "head ended known", "base ends 2"} <= set(log(tmp_path))
    assert "base begins 3" not in log(tmp_path)


def test_looks_come_at_the_ends_of_blocks_and_either_begins_half_of_a_block(
    run: Run, tmp_path: Path
) -> None:
    asked = []

    def decided(*found: Any) -> bool:
        asked.append(found[2])
        return True

    # Blocks of two steps, and a look after the first one of them.
    code = PLANNED.replace("'looks': [2, 4]", "'steps': 2, 'looks': [1]")
    run(code, code, decided=decided)
    lines = log(tmp_path)
    assert asked == [0.01]
    assert {"base ended known", "base ends 2", "head ends 2"} <= set(lines)
    assert "base begins 3" not in lines
    first = [line.split()[0] for line in lines if "begins" in line]
    assert first in (["base", "head", "head", "base"], ["head", "base", "base", "head"])


def test_time_holds_for_both_together(run: Run, tmp_path: Path) -> None:
    code = PLANNED.replace("'level'", "'most_s': 1e-3, 'level'")
    run(code, code)
    assert {"base ended time", "head ended time", "head ends 1"} <= set(log(tmp_path))
    assert "base begins 2" not in log(tmp_path)


@pytest.mark.parametrize(
    ("code", "line", "exit_code"),
    [
        ("sys.stderr.write('lorabench: --load: bad'); sys.exit(2)", "exit code 2: --load: bad", 2),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL", 2),
        ("raise RuntimeError('it broke')", "exit code 1: RuntimeError: it broke", 2),
        ("lines.write('no JSON\\n'); lines.flush(); hear()", "found b'no JSON", 2),
        ("say(walk='step 1'); hear()", "found a message that does not fit", 2),
        ("say(wait='a', done='much'); hear()", "found a message that does not fit", 2),
        ("signal.pause()", "no sign within 0 s", 2),
        ("steps(1, 'head')", "left no document", 2),
        ("steps(3, 'head'); leave()", "'step 4' to come of base and nothing of head", 2),
        ("say(wait='window 1', done=0); hear()", "of base and 'window 1' of head", 2),
    ],
)
def test_a_side_that_fails_is_one_line(run: Run, code: str, line: str, exit_code: int) -> None:
    silence_s = 0.3 if "pause" in code else 60.0
    with pytest.raises(SideError, match=re.escape(line)) as found:
        run(TURNS, code, silence_s=silence_s)
    assert found.value.exit_code == exit_code
    assert "\n" not in str(found.value)


def test_a_side_that_does_not_stop_is_found_out(run: Run) -> None:
    code = f"say(wait='step 1', done=0, planned={PLAN | {'looks': [1]}!r}); hear()\n" + (
        "while True: say(wait='step 2', done=0, metrics=[]); hear()"
    )
    with pytest.raises(SideError, match="found it going on, expected it to stop"):
        run(code, code, decided=lambda *_: True)


KEEPS = """
try:
    steps(4, told["side"])
finally:
    leave()
"""


def test_ctrl_c_ends_both_and_keeps_what_they_have(run: Run, tmp_path: Path) -> None:
    pair = run(KEEPS, KEEPS, observer=Watching("step 3"))
    assert pair.interrupted
    assert "base ends 2" in log(tmp_path)
    assert "base begins 3" not in log(tmp_path)


def test_runs_that_ignore_sigint_are_ended_all_the_same(run: Run, tmp_path: Path) -> None:
    """In the background of a script SIGINT is ignored, and that is handed down."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pair = run(KEEPS, KEEPS, observer=Watching("step 2"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert pair.interrupted
    assert "base begins 2" not in log(tmp_path)


def test_runs_behind_a_wrapper_that_is_no_exec_keep_what_they_have(
    run: Run, tmp_path: Path
) -> None:
    pair = run(KEEPS, KEEPS, observer=Watching("step 3"), wrapped=True)
    assert pair.interrupted
    assert "base ends 2" in log(tmp_path)


def test_ctrl_c_before_anything_is_finished_is_ctrl_c(run: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(TURNS, TURNS, observer=Watching("step 1"))


def test_an_older_document_does_not_pass_for_this_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/base.json").write_text("of another pair")
    with pytest.raises(SideError, match="base: exit code 9"):
        run("sys.exit(9)", TURNS)


def test_arrivals_that_differ_are_told(run: Run) -> None:
    pair = run(TURNS, TURNS, documents=(result("a", "b"), result("a", "c")))
    assert "arrivals differed between base and head 1 times in 2 pairs" in pair.notes[0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["freshness"], "--run: found 'freshness' to run, expected one of colocate, kernels"),
        (["colocate", "-o", "x"], "-o: found it among the options of both runs"),
        (["colocate", "--output=x"], "--output: found it"),
        (["kernels", "--strict"], "expected a gate"),
        (["colocate", "--dry-run"], "nothing is measured"),
    ],
)
def test_what_cannot_be_run_as_a_pair_is_refused(
    run: Run, arguments: list[str], line: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(line)):
        run(TURNS, TURNS, *arguments)
    assert not (tmp_path / "kept").exists()


def test_another_run_is_refused_while_a_pair_runs_and_a_pair_while_one_runs(
    run: Run, tmp_path: Path
) -> None:
    from lorabench.isolation.cleanup import run_lock

    with run_lock(print), pytest.raises(LorabenchError, match="a run is under way"):
        run(TURNS, TURNS)


OLD = """
note(" ".join(["/".join(output.split("/")[-2:]), *arguments[1:arguments.index("-o")]]))
leave()
"""


def test_a_version_without_turns_is_started_anew_for_each_block(run: Run, tmp_path: Path) -> None:
    asked = []
    arguments = ("colocate", "--decide", "--seed", "3", "--max-minutes=0.0001")
    pair = run(
        OLD, OLD, *arguments, turns=False, decided=lambda *found: asked.append(found) or True
    )
    lines = log(tmp_path)
    assert lines[0] == "kept/base-load.json --seed 3 --rounds 1 --duration 0.5"
    assert len(pair.base) == len(pair.head) == len(asked[0][0]) > 0
    assert {"base/001.json", "head/001.json"} == {line.split()[0] for line in lines[1:3]}
    assert {line.partition(" ")[2] for line in lines[1:]} == {"--seed 3 --rounds 1 --qps 50.0"}
    assert "takes no turns" in pair.notes[0]


def test_so_many_rounds_are_so_many_runs_of_an_old_version(run: Run, tmp_path: Path) -> None:
    old, mine = tmp_path / "kept/base/003.json", tmp_path / "kept/base/mine.json"
    write_result(result("a").model_copy(update={"environment": {"pair_block": 3}}), old)
    write_result(result("a"), mine)
    pair = run(OLD, OLD, "colocate", "--rounds", "2", "--qps", "7", turns=False)
    assert len(pair.base) == len(pair.head) == 2
    assert len(log(tmp_path)) == 4
    # Of an earlier pair there is none left, and what is none of a pair's still is.
    names = [path.name for path in sorted((tmp_path / "kept/base").iterdir())]
    assert names == ["001.json", "002.json", "mine.json"]
    kept = [read_result(tmp_path / f"kept/{side}/002.json") for side in ("base", "head")]
    assert kept == [pair.base[1], pair.head[1]]
    assert kept[0].environment == kept[1].environment
    assert kept[0].environment["pair_block"] == 2


def test_ctrl_c_keeps_whole_pairs_of_an_old_version(run: Run) -> None:
    arguments = ("colocate", "--rounds", "9", "--qps", "7")
    pair = run(OLD, OLD, *arguments, turns=False, observer=Watching("pair 3"))
    assert pair.interrupted
    assert len(pair.base) == len(pair.head) == 2


def test_ctrl_c_in_the_first_pair_of_an_old_version_is_ctrl_c(run: Run) -> None:
    arguments = ("colocate", "--rounds", "9", "--qps", "7")
    with pytest.raises(KeyboardInterrupt):
        run(OLD, OLD, *arguments, turns=False, observer=Watching("pair 1"))


def test_what_fails_in_a_fresh_run_is_one_line_and_leaves_nothing_of_it(
    run: Run, tmp_path: Path
) -> None:
    with pytest.raises(SideError, match="base: exit code 3: no cores"):
        run("leave(); sys.stderr.write('no cores'); sys.exit(3)", OLD, "colocate", turns=False)
    assert not list((tmp_path / "kept").iterdir())


GIVEN = (
    *(["--rounds", "3"], ["--rounds=3"], ["--max-minutes", "2.5"], ["--decide"]),
    *(["--qps", "5"], ["--qps=5"], ["--preset", "tiny"], ["--rounds-up"]),
)


@given(st.lists(st.sampled_from(GIVEN), max_size=8))
def test_how_long_a_command_goes_on_is_taken_out_of_it_and_nothing_else(
    options: list[list[str]],
) -> None:
    found = ColocateArguments.read(["colocate", *(word for one in options for word in one)])
    length = ("--rounds", "--max-minutes", "--decide")
    left = [one for one in options if one[0].partition("=")[0] not in length]
    assert list(found.arguments) == ["colocate", *(word for one in left for word in one)]
    rounds = any(one[0].partition("=")[0] == "--rounds" for one in options)
    assert found.rounds == (3 if rounds else None)
    minutes = 2.5 if ["--max-minutes", "2.5"] in options else MAX_MINUTES_OF_TWO
    assert found.most_s == 60 * minutes
    assert found.has("--qps") == any(one[0].startswith("--qps") for one in options)


@pytest.mark.parametrize("word", ["--rounds", "--rounds=", "--max-minutes=long"])
def test_a_length_that_is_no_number_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="expected a number"):
        ColocateArguments.read(["colocate", word])


def test_an_old_version_runs_no_other_command(run: Run) -> None:
    with pytest.raises(InputError, match="found kernels and a version that takes no turns"):
        run(OLD, OLD, "kernels", turns=False)


def test_what_ends_a_run_is_what_a_document_can_say() -> None:
    from typing import get_args

    from lorabench.results.schema import Sequential

    assert get_args(Ended) == get_args(Sequential.model_fields["ended"].annotation)
