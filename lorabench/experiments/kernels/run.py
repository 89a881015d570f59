"""The hot path against what people would use instead, on this machine, in one process.

What is compared, at which points, and what a fair reading of it is: ``docs/kernels.md``. The loop
is `lorabench.bench.timing`, our work `lorabench.experiments.kernels.ours`, the peers'
`lorabench.experiments.kernels.peers`, what is measured `lorabench.experiments.kernels.cases`.
Figures are medians over rounds; a ratio's rounds are paired.
"""

from functools import partial

import psutil

from lorabench._kernels.dispatch import instruction_set, instruction_sets, use_instruction_set
from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.errors import MachineError
from lorabench.experiments.kernels import peers, targets
from lorabench.experiments.kernels.cases import steps
from lorabench.experiments.kernels.comparison import Comparison
from lorabench.experiments.kernels.labels import GIB, size_text
from lorabench.experiments.kernels.options import KernelsOptions
from lorabench.experiments.kernels.ours import TableMemory
from lorabench.host import environment
from lorabench.host.missing import Missing
from lorabench.host.topology import read_topology
from lorabench.isolation.affinity import process_on
from lorabench.model import fbgemm

# Beside the tables: torch, the peers' own copies of an update, the adapter.
_RESERVE_BYTES = 5 * GIB

_INSTALL = {
    "torch": "pip install torch==2.13.0",
    "fbgemm": fbgemm.INSTALL,
}


class KernelComparison(Experiment):
    """One run: holds the memory, goes through the steps, gathers metrics and claims.

    As `Experiment`.

    Raises
    ------
    MachineError
        The CPU is not this process's to use.
    """

    options: KernelsOptions

    def __init__(self, options: KernelsOptions) -> None:
        super().__init__(options.cut())
        allowed = sorted(read_topology().allowed)
        self._cpu = allowed[-1] if options.cpu is None else options.cpu
        if self._cpu not in allowed:
            raise MachineError(f"--cpu: found {self._cpu}, expected one of {allowed}")
        self._unavailable: list[Missing] = []
        self._run = Comparison(self.options, ())
        self._isa = instruction_set()
        self._finished = False

    def measure(self, observer: Observer) -> None:
        """Go through all steps.

        Raises
        ------
        MachineError
            The tables do not fit.
        """
        self._run.sizes, self._unavailable = _fitting(self.options.sizes, self.turns.to_open)
        with process_on(frozenset({self._cpu})):
            self._measure(observer)

    def _measure(self, observer: Observer) -> None:
        run = self._run
        run.peers = tuple(peer for peer in dict.fromkeys(self.options.peers) if self._usable(peer))
        if run.peers:
            peers.use_one_thread()
        before = instruction_set()
        if self.options.isa is not None:
            use_instruction_set(self.options.isa)
        self._isa = instruction_set()
        try:
            listed = list(steps(run))
            for pages in ("4k", "2m"):
                run.memory[pages] = TableMemory(pages, max(run.sizes))
            for number, step in enumerate(listed, start=1):
                observer.case(number, len(listed), step.text)
                run.begin = partial(self._next_turn, step.text, (number - 1) / len(listed))
                step.measure()
            self._finished = True
        finally:
            use_instruction_set(before)

    def _next_turn(self, step: str, done: float, number: int) -> None:
        self.turns.next(f"{step}, round {number + 1}", done)

    def findings(self) -> Findings | None:
        """Return what the steps so far have written down."""
        run = self._run
        if not (run.table.rows or run.series):
            return None
        return Findings(
            resolved(self.options, "table_mib")
            | {"sizes": list(self.options.sizes), "isa": self._isa, "cpu": self._cpu},
            table=run.table,
            claims=targets.judge(run.table, finished=self._finished),
            series=run.series,
            unavailable=self._unavailable,
            environment={
                "instruction_sets": list(instruction_sets()),
                "peers": {peer: peers.version(peer) for peer in run.peers},
                "pages": {
                    pages: environment.pages(memory.method, [memory.sizes])
                    for pages, memory in run.memory.items()
                },
                "system_checks": environment.system_checks(),
            },
        )

    def close(self) -> None:
        """Let go of the tables."""
        for memory in self._run.memory.values():
            memory.close()

    def _usable(self, peer: str) -> bool:
        why = peers.unavailable(peer)
        if why is not None:
            self._unavailable.append(Missing(what=peer, why=why, enable=_INSTALL[peer]))
        return why is None


def _fitting(sizes: tuple[int, ...], runs: int) -> tuple[tuple[int, ...], list[Missing]]:
    """Return the sizes of which two tables fit into memory, and what is to be said of the others.

    Of another of two `runs`, which takes turns with this one and has yet to begin, they are to fit
    as well: it would otherwise go through fewer sizes.

    Raises
    ------
    MachineError
        None fits.
    """
    available = psutil.virtual_memory().available // runs
    fit = tuple(size for size in sizes if 2 * size + _RESERVE_BYTES <= available)
    if not fit:
        raise MachineError(
            f"--table-mib: found {size_text(min(sizes))} and {size_text(available)} of memory "
            f"available, expected twice the table and {size_text(_RESERVE_BYTES)} more"
        )
    return fit, [
        Missing(
            what=f"tables of {size_text(size)}",
            why=f"two of them and {size_text(_RESERVE_BYTES)} to run do not fit into "
            f"the {size_text(available)} that are available",
            enable="free memory, or use a larger machine",
        )
        for size in sizes
        if size not in fit
    ]
