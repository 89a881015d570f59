"""Processors, cores and packages from ``/proc/cpuinfo``: what is left where there is no sysfs.

Sandboxes hide ``/sys``, and copies of a machine can have ``/proc`` alone. x86 numbers cores and
packages there; other architectures list processors and nothing else.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.files import read_text
from lorabench.host.formats import CpuSet

# "processor : 0", and s390's "processor 0: version = FF".
_PROCESSOR = re.compile(r"processor[ \t]*(?::[ \t]*([0-9]{1,6})|([0-9]{1,6}):)")
_FIELD = re.compile(r"(physical id|core id)[ \t]*:[ \t]*([0-9]{1,9})")


@dataclass(frozen=True)
class Processors:
    """What is listed there: cores and packages, each by its first CPU."""

    cores: tuple[CpuSet, ...]
    packages: tuple[CpuSet, ...]


def read_cpuinfo(sysroot: Path = Path("/")) -> Processors | None:
    """Read ``/proc/cpuinfo``; None where it lists no processor.

    A processor without a core's number counts as a core of its own, and all without a package's as
    one package.
    """
    try:
        text = read_text(sysroot / "proc/cpuinfo") or ""
    except InputError:
        return None
    fields: dict[int, dict[str, int]] = {}
    cpu = -1
    for line in text.splitlines():
        if processor := _PROCESSOR.match(line):
            cpu = int(processor[1] or processor[2])
            fields[cpu] = {}
        elif cpu >= 0 and (found := _FIELD.match(line)):
            fields[cpu][found[1]] = int(found[2])
    cores: dict[object, set[int]] = {}
    packages: dict[object, set[int]] = {}
    for cpu, known in fields.items():
        package, core = known.get("physical id"), known.get("core id")
        cores.setdefault(("of", cpu) if core is None else (package, core), set()).add(cpu)
        packages.setdefault(package, set()).add(cpu)
    return Processors(_by_first(cores), _by_first(packages)) if fields else None


def _by_first(groups: dict[object, set[int]]) -> tuple[CpuSet, ...]:
    return tuple(sorted(map(frozenset, groups.values()), key=min))
