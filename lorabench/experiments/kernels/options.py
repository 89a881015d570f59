"""Options of ``lorabench kernels``."""

from dataclasses import dataclass, replace
from typing import Self

from lorabench.bench.options import RARE, names, numbers, option
from lorabench.errors import InputError
from lorabench.experiments.kernels.labels import GIB, MIB, size_text

KERNELS = ("lookup", "lora", "update", "zipf", "index", "top_rows", "gram", "scaling")
PEERS = ("torch", "fbgemm")
DISTRIBUTIONS = ("uniform", "zipf")

_NAMES, _NUMBERS = "NAME[,NAME]...", "N[,N]..."


@dataclass(frozen=True)
class KernelsOptions:
    """What to measure."""

    kernels: tuple[str, ...] = option(
        KERNELS,
        f"Which: {', '.join(KERNELS)}.",
        parse=names,
        metavar=_NAMES,
        shown="all",
        choices=KERNELS,
    )
    peers: tuple[str, ...] = option(
        PEERS,
        "Whom to compare with: torch, fbgemm. One that is not installed is reported as "
        "unavailable; an empty value compares with nobody.",
        "--peers",
        "--against",
        parse=names,
        metavar=_NAMES,
        choices=PEERS,
    )
    quick: bool = option(
        False,
        "Only the points that have targets: 2 GiB, uniform, pooling 20, 11 rounds.",
        "--quick",
    )
    dims: tuple[int, ...] = option(
        (16, 32, 64, 128),
        "Embedding dims.",
        "--dim",
        parse=numbers,
        metavar=_NUMBERS,
        least=1,
        most=4096,
    )
    poolings: tuple[int, ...] = option(
        (1, 20, 100),
        "Rows a bag.",
        "--pooling",
        parse=numbers,
        metavar=_NUMBERS,
        least=1,
        most=10_000,
    )
    table_mib: tuple[int, ...] = option(
        (1, 64, 2048, 4096),
        "Table sizes in MiB.",
        parse=numbers,
        metavar=_NUMBERS,
        least=1,
        most=1 << 20,
    )
    distributions: tuple[str, ...] = option(
        DISTRIBUTIONS,
        "Which rows are looked up: uniform, zipf (exponent 1.05).",
        "--distribution",
        "--indices",
        parse=names,
        metavar=_NAMES,
        choices=DISTRIBUTIONS,
    )
    rounds: int = option(
        21, "Turns of every candidate; fewer than 6 give no verdict.", least=1, most=10_000
    )
    rank: int = option(8, "Rank of the LoRA kernels.", least=1, most=256, panel=RARE)
    isa: str | None = option(
        None,
        "Build of our kernels: plain, avx2, avx512.",
        metavar="NAME",
        shown="the fastest that this machine runs",
        panel=RARE,
    )
    cpu: int | None = option(
        None, "CPU to run on.", metavar="N", shown="the last one allowed", panel=RARE
    )
    seed: int = option(0, "Of inputs and orders.", least=0, panel=RARE)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of a table."""
        return tuple(mib * MIB for mib in self.table_mib)

    @property
    def large(self) -> int:
        """Bytes of the table that is beyond any cache: 2 GiB, or the largest asked for."""
        return 2 * GIB if 2 * GIB in self.sizes else max(self.sizes)

    @property
    def update_dims(self) -> tuple[int, ...]:
        """Widths that updates are measured at.

        A quick run takes one, 64 or the largest: the peers' set-up takes longer than their work.
        """
        if not self.quick:
            return self.dims
        return (64 if 64 in self.dims else max(self.dims),)

    def cut(self) -> Self:
        """Return these options, under ``--quick`` cut down to the points that have targets."""
        if not self.quick:
            return self
        return replace(
            self,
            dims=tuple(dim for dim in self.dims if dim != 32) or self.dims,
            poolings=(20,),
            table_mib=(2048,),
            distributions=("uniform",),
            rounds=11,
            kernels=tuple(name for name in self.kernels if name != "scaling") or self.kernels,
        )

    def check(self) -> None:
        """Refuse options that are empty, that do not go together or that this machine lacks.

        Raises
        ------
        InputError
            Naming them.
        """
        run = self.cut()
        for flag, listed in (
            ("--dim", run.dims),
            ("--pooling", run.poolings),
            ("--table-mib", run.table_mib),
        ):
            if not listed:
                raise InputError(f"{flag}: found nothing, expected at least one number")
        if not (run.kernels and run.distributions):
            raise InputError("--kernels, --distribution: found nothing, expected at least one name")
        if run.rank > min(run.dims) and {"lora", "update"} & set(run.kernels):
            raise InputError(
                f"--rank: found {run.rank}, expected at most the smallest --dim, {min(run.dims)}"
            )
        written: dict[str, int] = {}
        for mib in run.table_mib:
            other = written.setdefault(size_text(mib * MIB), mib)
            if other != mib:
                raise InputError(
                    f"--table-mib: found {other} and {mib}, expected sizes that are not both "
                    f"written {size_text(mib * MIB)}"
                )
        _check_build(run.isa)


def _check_build(name: str | None) -> None:
    from lorabench._kernels.dispatch import instruction_sets

    if name is not None and name not in instruction_sets():
        raise InputError(
            f"--isa: found '{name}', expected one of {', '.join(instruction_sets())}, "
            "which is what this machine runs"
        )
