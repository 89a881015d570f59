"""The house stays as docs/architecture.md shows it: imports go one way, and start-up stays light.

The layers are import-linter's contracts in pyproject.toml, read from the sources. What a start
really loads is asked of a fresh interpreter.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorabench._kernels import dispatch

REPOSITORY = Path(__file__).parents[2]

# Each takes longer to import than the whole of `lorabench --help` may take.
HEAVY = {"torch", "scipy.stats", "cpuinfo"}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # The editable install's import hook hides the package's folder from import-linter. Told to
    # skip its build folder, which is where the extension lies, it steps aside.
    build_folder = str(Path(dispatch.__file__).parent)
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        env={"MESONPY_EDITABLE_SKIP": build_folder} | os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_keep_to_the_layers():
    report = lint_imports(REPOSITORY)
    assert report.returncode == 0, report.stdout + report.stderr


@pytest.mark.parametrize(
    ("module", "source", "contract"),
    [
        ("model/intruder", "import lorabench.lora", "imports go one way"),
        ("isolation/intruder", "import lorabench.model", "imports go one way"),
        ("attic/__init__", "", "imports go one way"),
        ("model/intruder", "import lorabench.results", "results are used by"),
        ("report/intruder", "import lorabench.model", "report and results know nothing"),
        ("experiments/doctor/intruder", "import lorabench.experiments.profile", "each other"),
        ("bench/rounds", "import lorabench.targets", "bench knows nothing"),
        ("cli/intruder", "import lorabench.results", "cli has no logic"),
        ("isolation/intruder", "def late():\n    import torch.nn", "no torch"),
    ],
)
def test_a_breach_of_the_layers_is_caught(tmp_path: Path, module: str, source: str, contract: str):
    """The contracts can fail: on a copy of the package's skeleton with one bad import."""
    (tmp_path / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    package = REPOSITORY / "lorabench"
    # The modules that contracts name, too.
    named = [*package.glob("*.py"), *package.glob("**/__init__.py"), *package.glob("bench/*.py")]
    for module_file in named:
        copy = tmp_path / module_file.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    assert lint_imports(tmp_path).returncode == 0
    intruder = tmp_path / "lorabench" / f"{module}.py"
    intruder.parent.mkdir(exist_ok=True)
    intruder.write_text(source)
    report = lint_imports(tmp_path)
    assert report.returncode == 1, report.stdout + report.stderr
    broken = [line for line in report.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(contract in line for line in broken), report.stdout


@pytest.mark.parametrize(
    "start",
    [
        "import lorabench.cli",
        "sys.argv[1:] = ['--help']; import lorabench.cli; lorabench.cli.main()",
    ],
    ids=["import", "help"],
)
def test_starting_up_loads_nothing_heavy(start: str):
    program = f"import sys\ntry:\n    {start}\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    loaded = set(run.stderr.split())
    assert "lorabench.cli" in loaded
    assert not loaded & HEAVY


MODULES = sorted((REPOSITORY / "lorabench").rglob("*.py"))
MOST_LINES = 400
MOST_FUNCTION_LINES = 60


def test_a_module_is_short_or_says_why_not():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            head = ast.get_docstring(ast.parse(text)) or ""
            assert f"Longer than {MOST_LINES} lines:" in head, path


def test_a_function_is_short():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                assert lines <= MOST_FUNCTION_LINES, f"{path}: {node.name}: {lines} lines"
