"""The one way in which a command runs: check, lock, measure, save, show, gate.

Whatever ends a run before its time, what was finished is saved and marked as partial.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from lorabench._kernels.dispatch import instruction_set
from lorabench.bench.command import Command, Output
from lorabench.bench.experiment import Experiment, Findings, Preview
from lorabench.bench.options import check
from lorabench.bench.progress import Relayed, progress
from lorabench.bench.turns import Measured, open_turns
from lorabench.errors import GateError, InputError
from lorabench.host import environment
from lorabench.host.processor import ask
from lorabench.host.topology import read_topology
from lorabench.isolation.cleanup import run_lock
from lorabench.isolation.undoing import signals_held
from lorabench.report.pyperf import write_suite
from lorabench.report.terminal import terminal
from lorabench.results import files, schema
from lorabench.results.claims import sentence
from lorabench.results.program import program


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
        The options cannot be run, or the result cannot be written.
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
        for written in (path, *_beside(command, path), *map(Path, experiment.also_written())):
            files.check_writable(written)
        if experiment.keeps_logs():
            files.check_folder(path.with_suffix(command.logs))
    turns = experiment.turns = open_turns(lambda: _measured(experiment))
    with _saved(command, experiment, path) as results, ExitStack() as stack:
        if experiment.alone:
            stack.enter_context(run_lock(_say(errors), within=turns.giver))
        drawn = progress(errors, quiet=output.quiet, verbose=output.verbose)
        experiment.measure(Relayed(stack.enter_context(drawn), turns.stage))
    (result,) = results
    command.load("view")(result, console)
    if path is not None:
        console.print(f"\nresult: {path}", highlight=False, soft_wrap=True)
    if output.as_json:
        print(result.model_dump_json(indent=1, by_alias=True))  # noqa: T201
    if output.strict:
        _gate(result)


def _measured(experiment: Experiment) -> Measured:
    found = experiment.findings()
    return ((), ()) if found is None else (found.table.metrics(), found.rounds)


@contextmanager
def _saved(
    command: Command, experiment: Experiment, path: Path | None
) -> Iterator[list[schema.Result]]:
    """Save what was found when the context is left, as partial where an exception ends it."""
    results: list[schema.Result] = []
    try:
        try:
            yield results
        except BaseException:
            # Interrupted, or a worker died: what was finished is kept, whoever interrupts again.
            with signals_held():
                found = experiment.findings()
                if found is not None and path is not None:
                    made = document(command.name, found, pair=experiment.turns.pair, partial=True)
                    _save(command, made, found, path)
            raise
        # The work is done, and describing the machine takes a second.
        with signals_held():
            found = experiment.findings()
            assert found is not None
            made = document(command.name, found, pair=experiment.turns.pair)
            results.append(_save(command, made, found, path))
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
        surroundings = environment.capture(read_topology(), ask())
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


def _save(
    command: Command, result: schema.Result, found: Findings, path: Path | None
) -> schema.Result:
    """Write what lies beside, then the document that may name it; return that document."""
    if path is None:
        return result
    for beside in _beside(command, path):
        if command.beside == ".npz":
            digest = files.write_raw(beside, found.raw)
            raw = schema.RawFile(name=beside.name, sha256=digest)
            result = result.model_copy(update={"raw": raw})
        else:
            write_suite(result, beside)
    folder = path.with_suffix(command.logs)
    if found.logs:
        hashes = files.write_folder(folder, found.logs)
        result = result.model_copy(
            update={"logs": schema.LogFolder(name=folder.name, sha256=hashes)}
        )
    elif command.logs:
        files.remove_logs(folder)  # they would be those of another result
    files.write_result(result, path)
    return result


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


def _beside(command: Command, path: Path) -> Iterator[Path]:
    if command.beside:
        yield path.with_suffix(command.beside)


def _say(console: Console) -> Any:
    """Return who prints a line that the user has to know, whatever else is shown or not."""
    return lambda line: console.print(
        f"lorabench: {line}", highlight=False, markup=False, soft_wrap=True
    )


def _show_preview(preview: Preview, console: Console, *, as_json: bool) -> None:
    for line in preview.lines:
        console.print(line, highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps(preview.document, indent=1))  # noqa: T201


def _gate(result: schema.Result) -> None:
    missed = [claim for claim in result.claims if claim.verdict == "missed"]
    if missed:
        raise GateError("; ".join(map(sentence, missed)))
