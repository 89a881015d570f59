"""``lorabench ingest``: given rows as a workload folder."""

from lorabench.bench.command import Command
from lorabench.bench.options import check
from lorabench.bench.progress import rows_progress
from lorabench.errors import InputError
from lorabench.experiments.workload import view
from lorabench.experiments.workload.options import FolderOutput, IngestOptions, IngestOutput
from lorabench.workload.given import open_input
from lorabench.workload.head import read_head
from lorabench.workload.ingest import ingest
from lorabench.workload.layouts import STDIN
from lorabench.workload.parts import check_target
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
    source, spec = open_input(
        options.files,
        options.columns,
        options.preset,
        table_rows=options.table_rows,
        ordered=not options.sort,
        wrap=options.wrap_ids,
    )
    if source.rows_given and options.ids == "exact":
        raise InputError(
            f"--ids exact: found {source.name}, whose ids are rows of tables already, expected "
            "rows to number"
        )
    if not output.quiet:
        for note in source.notes:
            view.say(note)
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
