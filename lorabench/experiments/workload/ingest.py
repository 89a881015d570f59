"""``lorabench ingest``: given rows as a workload folder."""

from lorabench.bench.command import Command
from lorabench.bench.options import check
from lorabench.bench.progress import rows_progress
from lorabench.experiments.workload import view
from lorabench.experiments.workload.options import FolderOutput, IngestOptions
from lorabench.workload.column_map import load_columns
from lorabench.workload.columns import ColumnsInput
from lorabench.workload.ingest import base_for, ingest
from lorabench.workload.layouts import open_rows
from lorabench.workload.parts import check_target
from lorabench.workload.spec import load_spec
from lorabench.workload.writing import usable_threads


def run(command: Command, options: IngestOptions, output: FolderOutput) -> None:  # noqa: ARG001
    """Take in rows, or go on where a killed run was.

    Raises
    ------
    InputError
        Bad options or input, or a folder that cannot be written to.
    """
    check(options)
    check(output)
    check_target(output.output)
    columns = None if options.columns is None else load_columns(options.columns)
    source = open_rows(options.files, columns)
    if not output.quiet:
        for note in source.notes:
            view.say(note)
    spec = load_spec(options.preset or source.preset)
    if isinstance(source, ColumnsInput):
        spec = base_for(spec, source, options.table_rows)
    with rows_progress(None, quiet=output.quiet) as progress:
        manifest = ingest(
            output.output,
            source,
            spec,
            ids=options.ids,
            form=options.form,
            skip_bad=options.skip_bad,
            jobs=usable_threads(output.jobs),
            progress=progress,
            on_bad=lambda error: view.say(f"left out: {error}"),
        )
    view.show(manifest, progress.rate, output, said=len(source.notes))
