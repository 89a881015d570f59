"""``lorabench ingest``: given rows as a workload folder."""

from lorabench.bench.command import Command
from lorabench.bench.options import check
from lorabench.bench.progress import rows_progress
from lorabench.errors import InputError
from lorabench.experiments.workload import view
from lorabench.experiments.workload.options import FolderOutput, IngestOptions, IngestOutput
from lorabench.workload.column_map import load_columns
from lorabench.workload.columns import ColumnsInput
from lorabench.workload.head import read_head
from lorabench.workload.ingest import base_for, ingest
from lorabench.workload.layouts import STDIN, open_rows
from lorabench.workload.parts import check_target
from lorabench.workload.spec import load_spec
from lorabench.workload.suggest import suggest
from lorabench.workload.writing import usable_threads


def run(command: Command, options: IngestOptions, output: IngestOutput) -> None:  # noqa: ARG001
    """Take in rows, or go on where a killed run was; or print a column map to start from.

    Raises
    ------
    InputError
        Bad options or input, or a folder that cannot be written to.
    """
    check(options)
    check(output)
    if options.suggest_columns:
        _suggest(options, output)
        return
    if output.output is None:
        raise InputError("--output: found none, expected a new folder for the workload (-o DIR)")
    _ingest(options, FolderOutput(output.output, output.jobs, output.as_json, output.quiet))


def _suggest(options: IngestOptions, output: IngestOutput) -> None:
    given = {
        "--columns": options.columns is not None,
        "--output": output.output is not None,
        "--json": output.as_json,
    }
    beside = next((name for name, is_given in given.items() if is_given), None)
    if beside is not None or len(options.files) > 1:
        found = "several files" if beside is None else beside
        raise InputError(
            f"--suggest-columns: found {found} beside it, expected one file: the map goes to stdout"
        )
    (path,) = options.files
    head = None if path == STDIN else read_head(path)
    if head is None:
        raise InputError(
            f"{path}: found no table (stdin, an empty or binary file, or one column), expected a "
            "CSV or Parquet file to suggest a map for"
        )
    print(suggest(head), end="")  # noqa: T201


def _ingest(options: IngestOptions, output: FolderOutput) -> None:
    check_target(output.output)
    columns = None if options.columns is None else load_columns(options.columns)
    source = open_rows(options.files, columns, ordered=not options.sort)
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
            sort=options.sort,
            jobs=usable_threads(output.jobs),
            progress=progress,
            on_bad=lambda error: view.say(f"left out: {error}"),
        )
    view.show(manifest, progress.rate, output, said=len(source.notes))
