"""What `pip install .` gives: a wheel that is whole, installed where no checkout is.

The wheel is built offline by the tools of this environment and installed alone into a fresh one.
Its dependencies come from this environment by a .pth file, behind the wheel's own modules and
without this environment's .pth files, so that the editable install stays out.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


def output_of(*command: str | Path, cwd: Path) -> str:
    """Standard output; this environment's tools are on PATH, and no PYTHONPATH interferes."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh virtual environment with the wheel installed."""
    folder = tmp_path_factory.mktemp("install")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    offline = ("--no-index", "--no-deps")
    into = ("--wheel-dir", "dist", "--config-settings", f"build-dir={folder / 'build'}")
    # What is in the wheel is the question and not how fast it is.
    into += ("--config-settings", "setup-args=-Doptimization=0")
    output_of(*pip, "wheel", *offline, "--no-build-isolation", *into, REPOSITORY, cwd=folder)
    [wheel] = folder.glob("dist/lorabench-*.whl")

    output_of(sys.executable, "-m", "venv", "--without-pip", "env", cwd=folder)
    programs = folder / "env" / "bin"
    output_of(*pip, "--python", programs / "python", "install", *offline, wheel, cwd=folder)
    [site_packages] = folder.glob("env/lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_modules_come_from_the_wheel(programs: Path, tmp_path: Path):
    program = (
        "import lorabench, lorabench._kernels.dispatch as h; print(lorabench.__file__, h.__file__)"
    )
    for file in output_of(programs / "python", "-c", program, cwd=tmp_path).split():
        assert Path(file).is_relative_to(programs.parent)


def test_every_module_is_in_the_wheel(programs: Path):
    [package] = programs.parent.glob("lib/python*/site-packages/lorabench")
    installed = {
        file.relative_to(package)
        for file in package.glob("**/*.py*")
        if "__pycache__" not in file.parts
    }
    sources = REPOSITORY / "lorabench"
    assert installed == {file.relative_to(sources) for file in sources.glob("**/*.py*")}


def test_lorabench_and_python_m_lorabench_are_the_same_program(programs: Path, tmp_path: Path):
    command = output_of(programs / "lorabench", "--help", cwd=tmp_path)
    module = output_of(programs / "python", "-m", "lorabench", "--help", cwd=tmp_path)
    assert "colocate" in command
    assert command.split() == module.replace("python -m lorabench", "lorabench").split()


def test_a_report_finds_its_template_and_its_style(programs: Path, tmp_path: Path):
    document = REPOSITORY / "tests/data/schema1/kernels.json"
    output_of(programs / "lorabench", "report", document, "-o", "page.html", cwd=tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert "<style>:root {" in page
    assert page.count("<svg") > 3


def test_every_preset_is_in_the_wheel(programs: Path, tmp_path: Path):
    program = (
        "from importlib.resources import files\n"
        "for preset in files('lorabench.workload').joinpath('presets').iterdir():\n"
        "    print(preset.name, len(preset.read_bytes()))"
    )
    out = output_of(programs / "python", "-c", program, cwd=tmp_path)
    assert sorted(out.splitlines()) == sorted(
        f"{preset.name} {preset.stat().st_size}" for preset in REPOSITORY.glob("workloads/*.toml")
    )
