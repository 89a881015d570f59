"""``lorabench colocate``: p99 with and without a co-located LoRA trainer."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lorabench.cli.common import AsJson, OutputWithRaw, Quiet, Strict, Verbose, parse_rank

_DATA = "Input"
_RUN = "Experiment"


def colocate(
    preset: Annotated[
        str | None,
        typer.Option(
            help="Workload preset: tiny, demo, criteo-kaggle, or a .toml file of your own. With "
            "--data it names the tables and the model alone.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Rows to serve: a folder that `lorabench generate` wrote, or a raw Criteo TSV "
            "file, plain or gzipped.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Serve your own tables and MLPs: a file of torch.save with the names of the "
            "reference DLRM. Without it a model is briefly pre-trained (and cached).",
            rich_help_panel=_DATA,
        ),
    ] = None,
    conditions: Annotated[
        str,
        typer.Option(
            help="What to run beside solo, separated by commas: a place for the trainer (naive: "
            "wherever the OS puts it; pinned: on cores of its own; shared: on the servers' cores) "
            "and mechanisms joined to it by + (numa, rdt, cgroup, batch, idle, throttle, reuse, "
            "rerank), or a bundle: numa, rdt, isolated (all that this machine offers).",
            rich_help_panel=_RUN,
        ),
    ] = "naive,pinned,isolated",
    rounds: Annotated[
        int, typer.Option(help="Rounds; fewer than 6 give no verdict.", rich_help_panel=_RUN)
    ] = 8,
    duration: Annotated[
        float,
        typer.Option(
            help="Measured seconds of a condition, after its warm-up.", rich_help_panel=_RUN
        ),
    ] = 5.0,
    load: Annotated[
        float,
        typer.Option(
            help="Offered load as a share of the measured capacity.", rich_help_panel=_RUN
        ),
    ] = 0.5,
    qps: Annotated[
        float | None,
        typer.Option(help="Offered load in queries/s, instead of --load.", rich_help_panel=_RUN),
    ] = None,
    arrivals: Annotated[
        str,
        typer.Option(
            metavar="LAW|FILE",
            help="poisson, bursts, diurnal or spike (--load is then their peak), or a file of "
            "recorded times: seconds, and maybe a comma and the query's rows.",
            rich_help_panel=_RUN,
        ),
    ] = "poisson",
    query_rows: Annotated[
        str,
        typer.Option(
            metavar="N|mlperf",
            help="Candidate rows a query, or MLPerf's DLRM sizes: 100 to 700, mean 270.",
            rich_help_panel=_RUN,
        ),
    ] = "32",
    max_batch: Annotated[
        int, typer.Option(help="Most queries scored together.", rich_help_panel=_RUN)
    ] = 4,
    servers: Annotated[
        int | None,
        typer.Option(
            help="Server processes, one a core; by default all cores but the trainer's.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    serving_cpus: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="CPUs of the servers, such as 0-3,8, instead of the plan's choice.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    trainer_cpus: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="CPUs of the trainer, likewise.", rich_help_panel=_RUN),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Take this plan, JSON as --dry-run --json prints it, instead of making one.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    slo_ms: Annotated[
        float | None,
        typer.Option(
            help="Latency above which a query is late to a throttle. Default: 1.1 times the p99 "
            "of solo.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    rank: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Rank of the adapter; auto, 4 to 16, follows the signal in the gradients.",
            rich_help_panel=_RUN,
        ),
    ] = "auto",
    memory_budget: Annotated[
        float,
        typer.Option(
            help="LoRA state as a share of the table bytes, at most.", rich_help_panel=_RUN
        ),
    ] = 0.02,
    label_delay: Annotated[
        float | None,
        typer.Option(
            help="Seconds from an answer to its label. Default: the workload's own.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    warmup: Annotated[
        float,
        typer.Option(
            help="Seconds discarded at the start of a condition, after the first labels.",
            rich_help_panel=_RUN,
        ),
    ] = 1.0,
    replay_bytes: Annotated[
        int, typer.Option(help="Bytes of each server's replay ring.", rich_help_panel=_RUN)
    ] = 16 << 20,
    wait: Annotated[
        Literal["block", "spin"],
        typer.Option(
            help="What a server does between arrivals; spinning hides what the scheduler does.",
            rich_help_panel=_RUN,
        ),
    ] = "block",
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with 3 if this condition cannot be run here; may be repeated.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of rows, arrivals, orders, weights.", rich_help_panel=_RUN)
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and stop.", rich_help_panel=_RUN)
    ] = False,
    output: OutputWithRaw = None,
    as_json: AsJson = False,
    strict: Strict = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure p99 with and without a LoRA trainer co-located with the servers.

    Serves an open-loop stream of queries from shared embedding tables, alone (solo) and beside a
    trainer that learns from what was just served and publishes to the servers, with and without
    isolation. Prints latency, its ratio to solo with a 95 % interval, and verdicts; writes a result
    document with everything that is needed to believe them.

    Example: lorabench colocate --preset demo -o out.json
    """
    # Heavy imports (torch, numpy) only now, so that --help answers at once.
    from lorabench.cli.reporting import Reporter
    from lorabench.errors import InputError
    from lorabench.experiments.colocate import run as experiment
    from lorabench.isolation.journal import Journal
    from lorabench.isolation.machine import inspect_machine

    reporter = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    config = experiment.ColocateConfig(
        conditions=tuple(name.strip() for name in conditions.split(",") if name.strip()),
        rounds=rounds,
        duration_s=duration,
        load=load,
        qps=qps,
        rank=parse_rank(rank),
        seed=seed,
        servers=servers,
        serving_cpus=serving_cpus,
        trainer_cpus=trainer_cpus,
        slo_s=None if slo_ms is None else slo_ms / 1e3,
        arrivals=arrivals,
        query_rows=query_rows,
        max_batch=max_batch,
        label_delay_s=label_delay,
        warmup_s=warmup,
        replay_bytes=replay_bytes,
        memory_budget=memory_budget,
        wait=wait,
    )
    config.check()
    given = [
        name
        for name, value in (
            ("--servers", servers),
            ("--serving-cpus", serving_cpus),
            ("--trainer-cpus", trainer_cpus),
        )
        if value is not None
    ]
    if plan is not None and given:
        raise InputError(f"{given[0]}: found it beside --plan, expected one of the two")
    required = tuple(require or ())
    if dry_run:
        machine = inspect_machine(config.request(), required, plan_file=plan)
        reporter.plan(machine.plan, machine.unavailable(config.parsed_conditions()))
        return
    path = output or reporter.default_path("colocate")
    reporter.check_path(path)
    with (
        Journal.open("lorabench colocate", reporter.say) as journal,
        reporter.progress() as observer,
    ):
        # What a killed run left, groups that are taken for one, has been undone by now.
        machine = inspect_machine(config.request(), required, plan_file=plan)
        run = experiment.Colocate.from_input(
            config, machine, preset=preset, data=data, checkpoint=checkpoint, observer=observer
        )
        try:
            run.run(journal)
        except BaseException:
            # Interrupted, or a worker died: what was finished is kept, marked as partial.
            if run.outcome.rounds:
                reporter.save(run.document(partial=True), run.outcome.raw, path)
            raise
    result = reporter.save(run.document(partial=False), run.outcome.raw, path)
    reporter.show(result, path)
    if strict:
        reporter.gate(result)
