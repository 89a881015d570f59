"""``lorabench kernels``: the hot path against torch and FBGEMM."""

from pathlib import Path
from typing import Annotated

import typer

from lorabench.cli.common import OUTPUT_PANEL, AsJson, Quiet, Strict, Verbose

_RUN = "Benchmark"


def kernels(
    against: Annotated[
        str,
        typer.Option(
            help="Peers, separated by commas: torch, fbgemm. One that is not installed is "
            "reported as unavailable; an empty value compares with nobody.",
            rich_help_panel=_RUN,
        ),
    ] = "torch,fbgemm",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Only the points that have targets: 2 GiB, uniform, pooling 20, 11 rounds.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    groups: Annotated[
        str | None,
        typer.Option(
            "--kernels",
            help="Which, separated by commas: lookup, lora, update, zipf, index, top_rows, gram, "
            "scaling. By default all.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    dim: Annotated[
        str, typer.Option(help="Embedding dims, separated by commas.", rich_help_panel=_RUN)
    ] = "16,32,64,128",
    pooling: Annotated[
        str, typer.Option(help="Rows a bag, separated by commas.", rich_help_panel=_RUN)
    ] = "1,20,100",
    table_mib: Annotated[
        str,
        typer.Option(help="Table sizes in MiB, separated by commas.", rich_help_panel=_RUN),
    ] = "1,64,2048,4096",
    indices: Annotated[
        str,
        typer.Option(
            help="Which rows are looked up: uniform, zipf (exponent 1.05), or both.",
            rich_help_panel=_RUN,
        ),
    ] = "uniform,zipf",
    rank: Annotated[int, typer.Option(help="Rank of the LoRA kernels.", rich_help_panel=_RUN)] = 8,
    rounds: Annotated[
        int,
        typer.Option(
            help="Turns of every contender; fewer than 6 give no verdict.", rich_help_panel=_RUN
        ),
    ] = 21,
    isa: Annotated[
        str | None,
        typer.Option(
            help="Build of our kernels: plain, avx2, avx512. By default the fastest that this "
            "machine runs.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    cpu: Annotated[
        int | None,
        typer.Option(help="CPU to run on; by default the last one allowed.", rich_help_panel=_RUN),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of inputs and orders.", rich_help_panel=_RUN)] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Result document; a suite for `pyperf compare_to` goes beside it as "
            ".pyperf.json. By default a new file in results/.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: AsJson = False,
    strict: Strict = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure the hot path against torch and FBGEMM, side by side in one process.

    All contenders read the same tables, on 4 KiB and on 2 MiB pages, take turns on fresh indices in
    every call, and run on one thread. Prints nanoseconds a row, ratios with 95 % intervals, how far
    lookups are from the machine's random-read limit, and verdicts; writes a result document.

    Example: lorabench kernels --quick -o kernels.json
    """
    # Heavy imports only now, so that --help answers at once.
    from dataclasses import replace

    from lorabench.cli.reporting import Reporter
    from lorabench.experiments.kernels import run as experiment

    reporter = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    config = experiment.KernelsConfig(
        against=_names(against),
        dims=_numbers("--dim", dim),
        poolings=_numbers("--pooling", pooling),
        sizes=tuple(mib << 20 for mib in _numbers("--table-mib", table_mib)),
        laws=_names(indices),
        rank=rank,
        rounds=rounds,
        isa=isa,
        cpu=cpu,
        seed=seed,
    )
    if groups is not None:
        config = replace(config, groups=_names(groups))
    if quick:
        config = experiment.quick(config)
    path = output or reporter.default_path("kernels")
    beside = path.with_suffix(".pyperf.json")
    reporter.check_paths(path, beside)
    with reporter.progress() as observer:
        run = experiment.Kernels(config, observer)
        try:
            run.run()
            document = run.document()
        except BaseException:
            # Interrupted: the cases that were finished are kept, marked as partial.
            if run.begun:
                reporter.save_timings(run.document(partial=True), path, beside)
            raise
        finally:
            run.close()
    result = reporter.save_timings(document, path, beside)
    reporter.show(result, path)
    if strict:
        reporter.gate(result)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from lorabench.errors import InputError

    try:
        return tuple(int(name) for name in _names(text))
    except ValueError:
        raise InputError(
            f"{option}: found '{text}', expected whole numbers separated by commas"
        ) from None
