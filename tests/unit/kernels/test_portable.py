"""The C headers by themselves: every build here, and the plain one on aarch64 where it can be run.

The program under test is C (tests/stress/portable.c): no Python, so that it can be cross-compiled.
"""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUILDS = {
    "plain": (4, ()),
    "avx2": (8, ("-mavx2", "-mfma", "-mbmi2")),
    "avx512": (16, ("-march=x86-64-v4",)),
}
# As in meson.build: without contraction a seed draws the same ranks everywhere.
EXACT = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")


def build(folder: Path, compiler: str, builds: list[str], *flags: str) -> Path:
    common = [compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "kernels"]
    objects = []
    for name in builds:
        lanes, isa = BUILDS[name]
        for source, more in (("isa", ()), ("draws", EXACT)):
            made = folder / f"{source}_{name}.o"
            defines = (f"-DLB_ISA={name}", f"-DLB_LANES={lanes}")
            file = ROOT / "kernels" / "dispatch" / f"{source}.c"
            subprocess.run([*common, *defines, *isa, *more, "-c", file, "-o", made], check=True)
            objects.append(made)
    program = folder / "portable"
    main = ROOT / "tests" / "stress" / "portable.c"
    subprocess.run([*common, *flags, main, *objects, "-o", program, "-lm"], check=True)
    return program


def zipf_sums(*command: str | Path) -> dict[str, int]:
    run = subprocess.run([*command, "10"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = (line.split(": zipf ") for line in run.stdout.splitlines())
    return {name: int(total) for name, total in lines}


# What every machine draws from this seed.
RANKS = 12775864486532705435


@pytest.mark.slow
def test_every_build_that_runs_here_agrees_with_plain_loops(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "found no C compiler; expected cc or gcc"
    builds = list(BUILDS) if platform.machine() == "x86_64" else ["plain"]
    found = zipf_sums(build(tmp_path, compiler, builds))
    assert "plain" in found
    assert set(found.values()) == {RANKS}


@pytest.mark.slow
def test_the_plain_build_agrees_with_plain_loops_on_aarch64(tmp_path: Path) -> None:
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip(
            "aarch64 is NOT tested: as root, apt-get install gcc-aarch64-linux-gnu "
            "libc6-dev-arm64-cross qemu-user"
        )
    program = build(tmp_path, compiler, ["plain"], "-static")
    assert zipf_sums(emulator, program) == {"plain": RANKS}
