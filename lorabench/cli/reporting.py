"""What every subcommand does with an experiment: show progress, save, print, gate.

Progress goes to stderr and is drawn only now and then by the conductor itself, between two waits: a
thread that redraws ten times a second would be a neighbour that the experiment did not ask for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lorabench.errors import GateError, InputError
from lorabench.experiments.colocate import view as table
from lorabench.experiments.doctor import view as doctor_table
from lorabench.experiments.headroom import view as headroom_table
from lorabench.experiments.profile import view as profile_table
from lorabench.results.claims import sentence
from lorabench.results.files import check_writable, write_raw, write_result
from lorabench.results.schema import RawFile, Result, new_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lorabench.host.missing import Missing
    from lorabench.isolation.plan import Plan


_RENDERERS = {
    "colocate": table.render,
    "doctor": doctor_table.render,
    "headroom": headroom_table.render,
    "profile": profile_table.render,
}


def _plan_lines(plan: "Plan") -> Iterator[str]:
    """Put a plan into words: cores, memory, caches and bandwidth, reasons."""
    from lorabench.host.topology import format_cpu_list

    yield f"servers on CPUs {format_cpu_list(plan.serving_cpus)} ({len(plan.serving_cpus)})"
    yield f"trainer on CPUs {format_cpu_list(plan.trainer_cpus)} ({len(plan.trainer_cpus)})"
    if plan.memory is not None:
        yield f"tables: {plan.memory.tables}"
        yield f"adapter: {plan.memory.adapter}"
        servers_of: dict[str, list[int]] = {}
        for server, policy in enumerate(plan.memory.replay):
            servers_of.setdefault(str(policy), []).append(server)
        for ring, servers in servers_of.items():
            rings = "replay ring of server" if len(servers) == 1 else "replay rings of servers"
            yield f"{rings} {format_cpu_list(servers)}: {ring}"
    if plan.rdt is not None:
        for who, schemata in (("servers", plan.rdt.serving), ("trainer", plan.rdt.trainer)):
            lines = "  ".join(line.strip() for line in str(schemata).splitlines())
            yield f"resctrl group of the {who}: {lines or 'none is needed'}"
    yield "because"
    yield from (f"  {reason}" for reason in plan.reasons)


class Observer:
    """Draws the progress of a run, if there is anybody to see it."""

    def __init__(self, progress: Progress | None, log: Console | None) -> None:
        self._progress = progress
        self._log = log
        self._task = None if progress is None else progress.add_task("preparing", total=None)

    def stage(self, text: str, done: float) -> None:
        """Show a stage whose share `done` is known."""
        if self._log is not None and done in (0.0, 1.0):
            self._log.print(f"{text}{' …' if done == 0.0 else ': done'}", highlight=False)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text, total=1.0, completed=done)
            self._progress.refresh()

    def condition(self, number: int, total: int, text: str) -> None:
        """Show that condition `number` of `total` begins."""
        if self._log is not None:
            self._log.print(f"{number}/{total} {text}", highlight=False)
        if self._progress is not None and self._task is not None:
            if number == 1:
                self._progress.reset(self._task)
            self._progress.update(
                self._task, description=text, total=float(total), completed=float(number - 1)
            )
            self._progress.refresh()


class Reporter:
    """Where a subcommand's output goes.

    Parameters
    ----------
    as_json : bool
        The document goes to stdout, all else to stderr.
    quiet : bool
        No progress.
    verbose : bool
        One line a step on stderr instead of a bar.
    """

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._verbose = verbose
        self._errors = Console(stderr=True)
        self._out = self._errors if as_json else Console()

    def default_path(self, command: str) -> Path:
        """Name a new result document in ``results/``."""
        return Path("results") / f"{command}-{new_id()}.json"

    def check_path(self, path: Path) -> None:
        """Find out before the work begins whether the document and its raw samples can be written.

        Raises
        ------
        InputError
            They cannot, or one would overwrite the other.
        """
        if path.suffix == ".npz":
            raise InputError(
                f"{path}: found a name that ends in .npz, where the raw samples go; "
                "expected another, such as out.json"
            )
        self.check_paths(path, path.with_suffix(".npz"))

    def check_paths(self, *paths: Path) -> None:
        """Find out before the work begins whether all of these can be written.

        Raises
        ------
        InputError
            One cannot.
        """
        for path in paths:
            check_writable(path)

    @contextmanager
    def progress(self) -> Iterator[Observer]:
        """Show progress while the context lasts."""
        if self._verbose and not self._quiet:
            yield Observer(None, self._errors)
        elif self._quiet or not self._errors.is_terminal:
            yield Observer(None, None)
        else:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            with Progress(
                *columns, console=self._errors, auto_refresh=False, transient=True
            ) as bar:
                yield Observer(bar, None)

    def say(self, line: str) -> None:
        """Print a line that the user has to know, whatever else is shown or not."""
        self._errors.print(f"lorabench: {line}", highlight=False, markup=False, soft_wrap=True)

    def plan(self, plan: "Plan", unavailable: "Sequence[Missing]") -> None:
        """Print where everything would run, with what, and why; as JSON a document to read back."""
        for line in _plan_lines(plan):
            self._out.print(line, highlight=False, soft_wrap=True)
        for missing in unavailable:
            self._out.print(
                f"{missing.what} is unavailable: {missing.why}; to have it, {missing.enable}",
                highlight=False,
                soft_wrap=True,
            )
        if self._as_json:
            print(json.dumps(plan.as_document(), indent=1))  # noqa: T201

    def save(
        self, result: Result, raw: "Mapping[str, NDArray[np.generic[Any]]]", path: Path
    ) -> Result:
        """Write the raw samples, then the document that names them; return that document."""
        beside = path.with_suffix(".npz")
        digest = write_raw(beside, raw)
        result = result.model_copy(update={"raw": RawFile(name=beside.name, sha256=digest)})
        write_result(result, path)
        return result

    def save_timings(self, result: Result, path: Path, beside: Path) -> Result:
        """Write the pyperf suite, then the document; return the document."""
        from lorabench.report.pyperf import write_suite

        write_suite(result, beside)
        write_result(result, path)
        return result

    def show(self, result: Result, path: Path | None) -> None:
        """Print the result and where it is, if it is anywhere."""
        _RENDERERS[result.command](result, self._out)
        if path is not None:
            self._out.print(f"\nresult: {path}", highlight=False, soft_wrap=True)
        if self._as_json:
            print(result.model_dump_json(indent=1, by_alias=True))  # noqa: T201

    def gate(self, result: Result) -> None:
        """Fail if a claim was missed.

        Raises
        ------
        GateError
            Naming the claims.
        """
        missed = [claim for claim in result.claims if claim.verdict == "missed"]
        if missed:
            raise GateError("; ".join(map(sentence, missed)))
