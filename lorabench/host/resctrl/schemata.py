"""Schemata: who may use what of a cache or of the memory bandwidth, in the kernel's own format.

Parsed and printed back byte-identical, padding included. Nothing is decided here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

CACHE = re.compile("(L[0-9]+)(CODE|DATA)?")
"""Names of resources that masks divide, with code and data together or apart."""
BANDWIDTH = frozenset({"MB", "SMBA"})
"""Bandwidth of memory, and of slow (CXL) memory on AMD; these values are decimal, masks are not."""


@dataclass(frozen=True)
class Allocation:
    """What a schemata line gives in one domain.

    Attributes
    ----------
    domain : int
        Id of the cache or of the memory controller that is divided.
    value : int
        A capacity bit mask, or a bandwidth.
    """

    domain: int
    value: int
    # As it was printed, padding included: "0", "=  100".
    id_text: str = field(default="", repr=False, compare=False)
    value_text: str = field(default="", repr=False, compare=False)

    def text(self, base: int) -> str:
        """Print it as it was read."""
        value = self.value_text or _number(self.value, base)
        return f"{self.id_text or self.domain}={value}"


@dataclass(frozen=True)
class Line:
    """A line of a schemata file: one resource, all of its domains or some.

    Attributes
    ----------
    resource : str
        ``L3``, ``L2``, ``MB``; with code and data apart ``L3CODE``, ``L3DATA``.
    allocations : tuple of Allocation
        In the order of the file.
    opaque : str or None
        What follows the colon where this module cannot read it: a resource that it does not know,
        or a group that is being set up for pseudo-locking. Printed back, never changed.
    """

    resource: str
    allocations: tuple[Allocation, ...]
    opaque: str | None = None
    # The kernel right-aligns the names: "    L3".
    name_text: str = field(default="", repr=False, compare=False)

    @property
    def base(self) -> int:
        """Number base of the values."""
        return 10 if self.resource in BANDWIDTH else 16

    def __str__(self) -> str:
        shown = self.opaque
        if shown is None:
            shown = ";".join(allocation.text(self.base) for allocation in self.allocations)
        return f"{self.name_text or self.resource}:{shown}"


@dataclass(frozen=True)
class Schemata:
    r"""What a group may use: the content of its file ``schemata``, or a part of it to be written.

    Parsing and printing gives back the same bytes. Two are equal if they say the same, however it
    is spaced.

    Examples
    --------
    >>> schemata = Schemata.parse("    L3:0=0fff;1=0fff\n    MB:0= 100;1= 100\n")
    >>> schemata.domains("MB")
    {0: 100, 1: 100}
    >>> print(schemata, end="")
        L3:0=0fff;1=0fff
        MB:0= 100;1= 100
    >>> print(Schemata.of({"L3": {0: 0xF0}}), end="")
    L3:0=f0
    """

    lines: tuple[Line, ...] = ()
    ends_with_newline: bool = field(default=True, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a schemata file, or a part of one.

        Raises
        ------
        ValueError
            It is none; the message names the line, what was found and what was expected.
        """
        rows = text.split("\n")
        ends = rows[-1] == ""
        if ends:
            rows.pop()
        lines: list[Line] = []
        for number, row in enumerate(rows, 1):
            try:
                line = _parse_line(row)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            if any(line.resource == other.resource for other in lines):
                raise ValueError(f"line {number}: found {line.resource} again, expected it once")
            lines.append(line)
        return cls(tuple(lines), ends)

    @classmethod
    def of(cls, values: Mapping[str, Mapping[int, int]]) -> Self:
        """Make one from resource -> domain -> mask or bandwidth."""
        return cls(
            tuple(
                Line(resource, tuple(Allocation(*pair) for pair in domains.items()))
                for resource, domains in values.items()
            )
        )

    def __str__(self) -> str:
        text = "\n".join(map(str, self.lines))
        return text + "\n" if self.lines and self.ends_with_newline else text

    @property
    def resources(self) -> tuple[str, ...]:
        """Resources that have a line, in the order of the file."""
        return tuple(line.resource for line in self.lines)

    def domains(self, resource: str) -> dict[int, int]:
        """Look up all domains of a resource: domain -> value; empty where it has no line."""
        return {
            a.domain: a.value
            for line in self.lines
            if line.resource == resource
            for a in line.allocations
        }

    def values(self) -> dict[str, dict[int, int]]:
        """Return it as resource -> domain -> value, as `of` takes it."""
        return {line.resource: self.domains(line.resource) for line in self.lines}


def _number(value: int, base: int) -> str:
    return f"{value:x}" if base == 16 else str(value)


def _parse_line(row: str) -> Line:
    found = re.fullmatch(r"([ \t]*)([A-Za-z][A-Za-z0-9_]*):(.*)", row)
    if found is None:
        raise ValueError(f"found {row!r}, expected a resource and domains such as L3:0=fff;1=fff")
    padding, resource, rest = found.groups()
    known = resource in BANDWIDTH or CACHE.fullmatch(resource)
    if not known or rest.strip() == "uninitialized":
        return Line(resource, (), rest, padding + resource)
    base = 10 if resource in BANDWIDTH else 16
    allocations: list[Allocation] = []
    for part in rest.split(";") if rest else ():
        digits = "[0-9]{1,20}" if base == 10 else "[0-9a-fA-F]{1,16}"
        pair = re.fullmatch(f"([ \t]*([0-9]{{1,9}}))=([ \t]*({digits})[ \t]*)", part)
        if pair is None:
            wanted = "0=100" if base == 10 else "0=fff"
            raise ValueError(f"found {part!r} for {resource}, expected a pair such as {wanted}")
        domain = int(pair[2])
        if any(domain == other.domain for other in allocations):
            raise ValueError(f"found domain {domain} of {resource} again, expected it once")
        allocations.append(Allocation(domain, int(pair[4], base), pair[1], pair[3]))
    return Line(resource, tuple(allocations), None, padding + resource)
