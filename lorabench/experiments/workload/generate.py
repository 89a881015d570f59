"""``lorabench generate``: a generated workload in a folder."""

from pathlib import Path

from lorabench.bench.command import Command
from lorabench.bench.options import check
from lorabench.bench.progress import rows_progress
from lorabench.errors import InputError
from lorabench.experiments.workload import view
from lorabench.experiments.workload.options import FolderOutput, GenerateOptions
from lorabench.report.terminal import terminal
from lorabench.workload.like import compare, fit_spec, sample_criteo
from lorabench.workload.parts import check_target
from lorabench.workload.spec import WorkloadSpec, load_spec, with_rows, with_scale
from lorabench.workload.store import check_format
from lorabench.workload.writing import needed_room, usable_threads, write_generated


def run(command: Command, options: GenerateOptions, output: FolderOutput) -> None:  # noqa: ARG001
    """Generate a workload, or go on with one that was left unfinished.

    Raises
    ------
    InputError
        The options contradict each other, the disk has no room, or the folder cannot be written to.
    """
    check(options)
    check(output)
    spec = _spec(options)
    check_format(spec, options.form)
    check_target(output.output)
    if options.like is not None:
        spec = _fitted(spec, options.like, options.seed, quiet=output.quiet)
    room = needed_room(output.output, spec, options.form)
    if not output.quiet:
        view.say(view.needs(spec, options.form, room))
    room.check()
    with rows_progress(spec.rows, quiet=output.quiet) as progress:
        manifest = write_generated(
            output.output,
            spec,
            options.seed,
            form=options.form,
            jobs=usable_threads(output.jobs),
            progress=progress,
        )
    view.show(manifest, progress.rate, output)


def _spec(options: GenerateOptions) -> WorkloadSpec:
    spec, rows = load_spec(options.workload), options.rows
    if options.minutes is not None:
        wanted = options.minutes * 60 * spec.rows_per_s
        if not 0 < wanted < 2**62:
            raise InputError(f"--minutes: found {options.minutes:g}, expected a number above 0")
        rows = max(1, round(wanted))
    if rows is not None:
        spec = with_rows(spec, rows)
    return with_scale(spec, options.scale)


def _fitted(spec: WorkloadSpec, like: Path, seed: int, *, quiet: bool) -> WorkloadSpec:
    sample = sample_criteo(like)
    fitted = fit_spec(sample, spec, f"like {like.name}")
    if not quiet:
        view.render_fit(compare(sample, fitted, seed), sample.rows, terminal(stderr=True))
    return fitted
