"""What the command prints to: full disks, readers that have gone, closed streams, any encoding."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from command import COMMAND

from lorabench.results.schema import Result

DOCTOR = Path(__file__).parents[1] / "data/schema2/doctor.json"


def piped(
    arguments: str, environment: Mapping[str, str], cwd: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `$L` is the command."""
    return subprocess.run(
        ["bash", "-c", arguments],
        capture_output=True,
        check=False,
        timeout=120,
        cwd=cwd,
        env={**environment, "L": str(COMMAND), "DOCUMENT": str(DOCTOR)},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "show $DOCUMENT >/dev/full",
        "export --openmetrics - $DOCUMENT >/dev/full",
        "--help >/dev/full",
        "show $DOCUMENT >&-",
    ],
)
def test_what_stdout_does_not_take_is_one_line_and_an_exit_code(
    environment: dict[str, str], tmp_path: Path, arguments: str
) -> None:
    run = piped(f"$L {arguments}", environment, tmp_path)
    assert run.returncode == 2
    (line,) = run.stderr.decode().splitlines()
    assert line.startswith("lorabench: stdout: cannot be written (")
    assert "expected" in line


def test_a_result_is_kept_and_named_where_stdout_takes_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run = piped("$L headroom --duration 0.2 -q -o r.json >/dev/full", environment, tmp_path)
    assert run.returncode == 2
    assert run.stderr.decode().endswith("; the result is in r.json\n")
    assert Result.model_validate(json.loads((tmp_path / "r.json").read_text())).command


@pytest.mark.parametrize(
    "arguments",
    ["show $DOCUMENT | head -1", "doctor --json | head -1", "doctor --help | true"],
)
def test_a_reader_that_has_enough_ends_it_without_a_word(
    environment: dict[str, str], tmp_path: Path, arguments: str
) -> None:
    run = piped(f"$L {arguments}; exit ${{PIPESTATUS[0]}}", environment, tmp_path)
    assert run.returncode in (0, 128 + signal.SIGPIPE)  # 0 where the pipe took all
    table_beside_json = "--json" in arguments
    assert table_beside_json or run.stderr == b""
    assert not any(word in run.stderr for word in (b"Traceback", b"roken pipe", b"stdout"))


def test_a_dead_stderr_ends_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    observe = "$L headroom --duration 0.2 -v -o r.json 2> >(true)"
    for line, code in (
        (observe, 0),
        ("$L show $DOCUMENT 2>&-", 0),
        ("$L --nonesuch 2>/dev/full", 2),
    ):
        run = piped(line, environment, tmp_path)
        assert run.returncode == code, line
        assert run.stdout or code, line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_json_and_a_table_a_table_in_any_encoding(
    environment: dict[str, str], tmp_path: Path, encoding: str
) -> None:
    name = tmp_path / "für µ→.json"
    said = {**environment, "PYTHONIOENCODING": encoding}
    run = piped(f"$L doctor --json -o '{name}'", said, tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == json.loads(name.read_text(encoding="utf-8"))
    assert "->" in run.stderr.decode(encoding)
    run = piped(f"$L show '{name}'; $L show '{name}x'; $L headroom --help", said, tmp_path)
    assert "für µ" in run.stderr.decode(encoding) or encoding == "ascii"
    assert "+- Input -" in run.stdout.decode(encoding)
    assert run.stdout.decode(encoding).count("->") > 3
    assert b"Traceback" not in run.stderr


def test_a_locale_of_bytes_is_like_an_encoding(environment: dict[str, str], tmp_path: Path) -> None:
    """Neither UTF-8 mode nor a locale's coercion helps, as with LC_ALL=de_DE.ISO-8859-1."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    name = os.fsdecode(b"f\xfcr.json")
    said = {**environment, **plain, "NAME": name}
    run = piped('$L doctor -o "$NAME" && $L show "$NAME" >/dev/null', said, tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.isascii()
    assert rb"result: f\xfcr.json" in run.stdout
    assert (tmp_path / name).exists()
