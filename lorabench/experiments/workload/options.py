"""Options of ``lorabench generate`` and ``lorabench ingest``."""

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Literal

from lorabench.bench.options import INPUT, OUTPUT, RARE, Workload, again, option
from lorabench.errors import InputError


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate."""

    workload: str = option(
        MISSING,
        "Name of a preset, or a spec file.",
        "WORKLOAD",
        metavar="PRESET|SPEC.toml",
        panel=INPUT,
    )
    rows: int | None = option(None, "Rows to generate.", metavar="N", shown="the spec's", least=1)
    minutes: float | None = option(
        None,
        "Minutes of workload time to generate, at the spec's mean rate of rows.",
        metavar="M",
    )
    scale: float = option(
        1.0,
        "Shrink every cardinality to F times itself; features of ten ids keep them.",
        metavar="F",
    )
    like: Path | None = option(
        None,
        "Fit ids, counts and click rate to raw Criteo rows, and show how well they fit.",
        metavar="FILE.tsv",
    )
    seed: int = option(0, "Same seed, same bytes.", metavar="N", least=0)
    form: Literal["arrow", "parquet", "criteo-tsv"] = option(
        "arrow",
        "Of the parts; criteo-tsv is for other programs, too, but has no times.",
        "--format",
        choices=("arrow", "parquet", "criteo-tsv"),
        panel=OUTPUT,
    )

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises
        ------
        InputError
            Naming them.
        """
        if self.like is not None and self.scale != 1:
            raise InputError(
                "--like, --scale: found both, expected one: the sample gives the scale"
            )
        if self.rows is not None and self.minutes is not None:
            raise InputError("--rows, --minutes: found both, expected one of them")


@dataclass(frozen=True)
class IngestOptions:
    """What to take in, and how."""

    files: tuple[Path, ...] = option(
        MISSING,
        "Raw Criteo lines, or CSV or Parquet of a known layout or with --columns; text may be "
        "gzipped. In order of time. - is raw lines on stdin. Or processed rows of the reference "
        "DLRM or of TorchRec: a file, or a folder.",
        "FILES",
        metavar="FILE...",
        panel=INPUT,
    )
    preset: str | None = option(
        None,
        "Gives the model, the rate of the rows and, for hashing, the cardinalities.",
        metavar="NAME|SPEC.toml",
        shown="criteo-kaggle; avazu for its layout",
        panel=INPUT,
    )
    columns: Path | None = option(
        None,
        "Which columns of Parquet or CSV files are label, time, dense and sparse.",
        metavar="MAP.toml",
        panel=INPUT,
    )
    suggest_columns: bool = option(
        False, "Print a column map to start from, take in nothing.", panel=INPUT
    )
    ids: Literal["hash", "exact"] = option(
        "hash",
        "hash: into the preset's tables, in constant memory. exact: numbered as they appear; "
        "memory grows with the ids.",
        choices=("hash", "exact"),
        panel=INPUT,
    )
    skip_bad: int = option(
        0, "Leave out, and name, up to N bad lines.", metavar="N", least=0, panel=INPUT
    )
    sort: bool = option(
        False,
        "Put rows in order of time; takes their room on disk again.",
        panel=INPUT,
    )
    form: Literal["arrow", "parquet"] = option(
        "arrow", "Of the parts.", "--format", choices=("arrow", "parquet"), panel=OUTPUT
    )
    wrap_ids: bool = again(Workload, "wrap_ids", default=False)
    table_rows: int = option(
        1_000_000,
        "With --columns, if the preset has another number of features: rows to hash each one's ids "
        "to.",
        metavar="N",
        least=1,
        most=2**31 - 3,
        panel=RARE,
    )


@dataclass(frozen=True)
class FolderOutput:
    """Where a workload goes."""

    output: Path = option(
        MISSING,
        "New folder to write; after a kill the same command goes on with it.",
        "--output",
        "-o",
        metavar="DIR",
        panel=OUTPUT,
    )
    jobs: int | None = option(
        None,
        "Threads; no influence on the bytes.",
        metavar="N",
        shown="one a usable CPU",
        least=1,
        panel=OUTPUT,
    )
    as_json: bool = option(
        False, "Print the manifest on stdout, all else on stderr.", "--json", panel=OUTPUT
    )
    quiet: bool = option(False, "No progress.", "--quiet", "-q", panel=OUTPUT)


@dataclass(frozen=True)
class IngestOutput:
    """Where rows that are taken in go; a suggested map goes to stdout."""

    output: Path | None = again(
        FolderOutput,
        "output",
        help="New folder to write; after a kill the same command goes on with it.",
        shown="required",
    )
    jobs: int | None = again(FolderOutput, "jobs")
    as_json: bool = again(FolderOutput, "as_json", default=False)
    quiet: bool = again(FolderOutput, "quiet", default=False)
