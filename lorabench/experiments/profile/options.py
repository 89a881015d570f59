"""Options of ``lorabench profile``."""

from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.options import INPUT, RARE, Workload, numbers, option
from lorabench.errors import InputError

LEAST_WINDOW = 64


@dataclass(frozen=True)
class ProfileOptions(Workload):
    """What to measure."""

    old: Path | None = option(
        None,
        "Compare two snapshots of trained tables instead of training: files of torch.save, "
        "safetensors or numpy.save, or folders of such or of shards.",
        "--from",
        metavar="OLD",
        panel=INPUT,
    )
    new: Path | None = option(None, "The same tables, later.", "--to", metavar="NEW", panel=INPUT)
    variance: float = option(0.8, "Share of the variance to be explained.", above=0, below=1)
    dims: tuple[int, ...] = option(
        (),
        "Embedding dims, one model each.",
        "--dim",
        metavar="D[,D]...",
        parse=numbers,
        shown="the workload's",
        least=1,
    )
    window: int | None = option(
        None,
        "Samples of a window.",
        shown="what the stream has room for, at most 262,144",
        least=LEAST_WINDOW,
    )
    windows: int = option(8, "Windows that are summarised.", least=1)
    seed: int = option(0, "Of generated rows, initial weights and chosen samples.", least=0)
    warmup_windows: int = option(
        2,
        "Windows before those, shown apart: model and optimiser settle.",
        least=0,
        panel=RARE,
    )
    optimizer: str = option(
        "adagrad",
        "Of the tables; adagrad is row-wise.",
        choices=("adagrad", "sgd"),
        metavar="adagrad|sgd",
        panel=RARE,
    )
    learning_rate: float | None = option(
        None, "Of the tables.", shown="the optimiser's", above=0, below=float("inf"), panel=RARE
    )
    batch: int = option(2048, "Samples a training step.", least=1, panel=RARE)
    signal_samples: int = option(
        16_384,
        "Samples of a window whose gradients the signal is taken from.",
        least=LEAST_WINDOW,
        panel=RARE,
    )

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises
        ------
        InputError
            Naming them.
        """
        if (self.old is None) != (self.new is None):
            alone = "--to" if self.old is None else "--from"
            raise InputError(f"{alone}: found it alone, expected --from and --to")
        if self.old is not None and (self.columns is not None or self.wrap_ids):
            beside = "--wrap-ids" if self.columns is None else "--columns"
            raise InputError(f"--from: found {beside} beside it, expected it with --data")
        if self.old is not None and (self.preset is not None or self.data is not None):
            raise InputError(
                "--from: found --preset or --data beside it, expected one or the other"
            )
