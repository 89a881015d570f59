"""The one way in which a command runs: check, lock, measure, save, show, gate.

Whatever ends a run before its time, what was finished is saved and marked as partial.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from lorabench._kernels.dispatch import instruction_set
from lorabench.bench.command import Command, Output
from lorabench.bench.experiment import Experiment, Findings, Preview
from lorabench.bench.options import check
from lorabench.bench.progress import Relayed, progress
from lorabench.bench.saving import DOCUMENT_BYTES, Saved, beside, save
from lorabench.bench.turns import Measured, open_turns
from lorabench.errors import GateError, InputError, StreamError
from lorabench.host import environment
from lorabench.host.processor import ask
from lorabench.host.topology import Topology, read_topology
from lorabench.isolation.cleanup import run_lock
from lorabench.isolation.undoing import signals_held
from lorabench.report.terminal import left_out, terminal
from lorabench.results import files, schema
from lorabench.results.claims import sentence
from lorabench.results.program import program
from lorabench.results.room import check_room, free_bytes


def run(command: Command, options: Any, output: Output) -> None:
    """Run a command to its end.

    Parameters
    ----------
    command : Command
        Which.
    options : dataclass
        Its options.
    output : Output
        Where its result goes.

    Raises
    ------
    InputError
        The options cannot be run, or the result cannot be written, or not where it was to be.
    StreamError
        What was found cannot be printed; it has been saved.
    GateError
        A claim was missed under ``--strict``.
    """
    check(options)
    errors = terminal(stderr=True)
    console = errors if output.as_json else terminal()
    experiment: Experiment = command.load("experiment")(options)
    if (preview := experiment.preview()) is not None:
        _show_preview(preview, console, as_json=output.as_json)
        return
    path = _path(command, output)
    if path is not None:
        for written in (path, *beside(command, path), *map(Path, experiment.also_written())):
            files.check_writable(written)
        if experiment.keeps_logs():
            files.check_folder(path.with_suffix(command.logs))
        check_room(path, DOCUMENT_BYTES)
        experiment.room = partial(_check_room, path, _say(errors))
    turns = experiment.turns = open_turns(lambda: _measured(experiment))
    with _saved(command, experiment, path) as kept, ExitStack() as stack:
        if experiment.alone:
            for line in left_out({"topology": read_topology().as_document()}):
                _say(errors)(line)
            stack.enter_context(run_lock(_say(errors), within=turns.giver))
        drawn = progress(errors, quiet=output.quiet, verbose=output.verbose)
        experiment.measure(Relayed(stack.enter_context(drawn), turns.stage))
    (saved,) = kept
    try:
        _show(command, saved, console, as_json=output.as_json)
    except StreamError as error:
        if saved.where is not None:
            error.add_note(saved.lost or f"the result is in {saved.where}")
        raise
    if saved.lost:
        raise InputError(saved.lost)
    if output.strict:
        _gate(saved.result)


def _show(command: Command, saved: Saved, console: Console, *, as_json: bool) -> None:
    command.load("view")(saved.result, console)
    if saved.where is not None:
        console.print(f"\nresult: {saved.where}", highlight=False, soft_wrap=True)
    if as_json:
        files.print_json(saved.result.model_dump_json(indent=1, by_alias=True))
    sys.stdout.flush()  # what it does not take is told with where the result is


def _check_room(
    path: Path, say: Callable[[str], None], least_bytes: int, most_bytes: int | None = None
) -> None:
    """Refuse a run whose result has no room, and say where it may have none."""
    check_room(path, DOCUMENT_BYTES + least_bytes)
    free = free_bytes(path)
    if most_bytes is not None and free is not None and free < DOCUMENT_BYTES + most_bytes:
        say(
            f"{path}: {free:,} bytes are free on its disk, and what goes beside it may take up to "
            f"{most_bytes:,}; where it does not fit, the document is kept without it"
        )


def _measured(experiment: Experiment) -> Measured:
    found = experiment.findings()
    return ((), ()) if found is None else (found.table.metrics(), found.rounds)


@contextmanager
def _saved(command: Command, experiment: Experiment, path: Path | None) -> Iterator[list[Saved]]:
    """Save what was found when the context is left, as partial where an exception ends it."""
    kept: list[Saved] = []
    try:
        try:
            yield kept
        except BaseException as error:
            # Interrupted, or a worker died: what was finished is kept, whoever interrupts again.
            with signals_held():
                found = experiment.findings()
                if found is not None and path is not None:
                    made = document(command.name, found, pair=experiment.turns.pair, partial=True)
                    saved = save(command, made, found, path)
                    error.add_note(saved.lost or f"what was finished is in {saved.where}")
            raise
        # The work is done, and describing the machine takes a second.
        with signals_held():
            found = experiment.findings()
            assert found is not None
            made = document(command.name, found, pair=experiment.turns.pair)
            kept.append(save(command, made, found, path))
    finally:
        experiment.close()


def document(
    command: str, found: Findings, *, pair: str | None = None, partial: bool = False
) -> schema.Result:
    """Put a result document together; this is the only place where one is.

    Parameters
    ----------
    command : str
        Whose it is.
    found : Findings
        What it says.
    pair : str, optional
        Which pair of runs it took turns in (`lorabench.bench.turns`).
    partial : bool
        The run was interrupted.
    """
    surroundings = found.machine
    if surroundings is None:
        surroundings = environment.capture(_topology(), ask())
        surroundings["instruction_set"] = instruction_set()
    if pair is not None:
        surroundings["pair"] = pair
    now = datetime.now(UTC)
    return schema.Result(
        command=command,
        id=schema.new_id(now),
        created=now,
        lorabench=program(),
        config=found.config,
        config_hash=schema.config_hash(found.config if found.hashed is None else found.hashed),
        environment=surroundings | found.environment,
        partial=partial or found.partial,
        sequential=found.sequential,
        rounds=list(found.rounds),
        metrics=found.table.metrics(),
        claims=list(found.claims),
        unavailable=[schema.Unavailable(**asdict(lack)) for lack in found.unavailable],
        notes=list(dict.fromkeys(found.notes)),
        series=list(found.series),
    )


def _topology() -> Topology | None:
    """Return this machine's, which what was only computed does without."""
    try:
        return read_topology()
    except InputError:
        return None


def _path(command: Command, output: Output) -> Path | None:
    if output.output is not None:
        path = Path(output.output)
        for ending, what in ((command.beside, "the raw samples"), (command.logs, "logs")):
            if ending and path.suffix == ending:
                raise InputError(
                    f"{path}: found a name that ends in {ending}, where {what} go; "
                    "expected another, such as out.json"
                )
        return path
    if not command.always_saved:
        return None
    return Path("results") / f"{command.name}-{schema.new_id()}.json"


def _say(console: Console) -> Any:
    """Return who prints a line that the user has to know, whatever else is shown or not."""
    return lambda line: console.print(
        f"lorabench: {line}", highlight=False, markup=False, soft_wrap=True
    )


def _show_preview(preview: Preview, console: Console, *, as_json: bool) -> None:
    for line in preview.lines:
        console.print(line, highlight=False, soft_wrap=True)
    if as_json:
        files.print_json(json.dumps(preview.document, indent=1))


def _gate(result: schema.Result) -> None:
    missed = [claim for claim in result.claims if claim.verdict == "missed"]
    if missed:
        raise GateError("; ".join(map(sentence, missed)))
