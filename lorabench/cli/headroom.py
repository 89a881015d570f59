"""``lorabench headroom``: how idle a serving host is, and how much of that training may use."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorabench.cli.common import AsJson, OutputWithRaw, Quiet, Strict, Verbose, parse_rank
from lorabench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lorabench.cli.reporting import Reporter
    from lorabench.isolation.conditions import Condition
    from lorabench.results.schema import Result

_PASSIVE = "Observe (the default)"
_TRACE = "Or read a recording"
_ACTIVE = "Or measure usable headroom, with the server running"

_PASSIVE_S = 60.0


def headroom(
    pid: Annotated[
        int | None,
        typer.Option(
            help="Observe this process, by its stat and schedstat alone.", rich_help_panel=_PASSIVE
        ),
    ] = None,
    cgroup: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Observe this control group: a path below /sys/fs/cgroup.",
            rich_help_panel=_PASSIVE,
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            help="Seconds to observe (60), or measured seconds of each condition (5).",
            rich_help_panel=_PASSIVE,
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Judge a recording of a production host: sadf -d FILE -- -u ALL, or an export of "
            "Prometheus.",
            rich_help_panel=_TRACE,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|SPEC.toml", help="Serve this workload.", rich_help_panel=_ACTIVE
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Serve these rows: a folder from generate or ingest, or raw Criteo rows.",
            rich_help_panel=_ACTIVE,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Serve your own tables and MLPs.", rich_help_panel=_ACTIVE),
    ] = None,
    load: Annotated[
        float | None,
        typer.Option(
            help="Offered load as a share of the measured capacity (0.5).", rich_help_panel=_ACTIVE
        ),
    ] = None,
    qps: Annotated[
        float | None,
        typer.Option(help="Offered load in queries/s, instead of --load.", rich_help_panel=_ACTIVE),
    ] = None,
    slo_ms: Annotated[
        float | None,
        typer.Option(help="p99 to keep, in ms.", rich_help_panel=_ACTIVE),
    ] = None,
    slo_ratio: Annotated[
        float | None,
        typer.Option(
            help="p99 to keep, over p99 without training (1.10).", rich_help_panel=_ACTIVE
        ),
    ] = None,
    duties: Annotated[
        str | None,
        typer.Option(
            metavar="D,D,...",
            help="Shares of the time in which the trainer may run, six or more, from 0 to 1 "
            "(0,0.1,0.25,0.5,0.75,1).",
            rich_help_panel=_ACTIVE,
        ),
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(
            help="Where the trainer runs, separated by commas (pinned,shared): pinned, on cores "
            "that do not serve; shared, on those that do; with + more, as of colocate.",
            rich_help_panel=_ACTIVE,
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of all duties (8).", rich_help_panel=_ACTIVE)
    ] = None,
    warmup: Annotated[
        float | None,
        typer.Option(
            help="Seconds discarded at the start of a condition, after the first labels (1).",
            rich_help_panel=_ACTIVE,
        ),
    ] = None,
    label_delay: Annotated[
        float | None,
        typer.Option(
            help="Seconds from an answer to its label (the workload's).", rich_help_panel=_ACTIVE
        ),
    ] = None,
    servers: Annotated[
        int | None,
        typer.Option(help="Server processes, one a core.", rich_help_panel=_ACTIVE),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="Of the adapter (auto).", rich_help_panel=_ACTIVE),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of rows, arrivals, orders, weights, resampling.")] = 0,
    output: OutputWithRaw = None,
    as_json: AsJson = False,
    strict: Strict = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Observe how idle a serving host is, or measure how much training its p99 leaves room for.

    Without options it watches this host for a minute and changes nothing. With --preset or --data
    it serves a load itself and trains beside it at several duties.

    Example: lorabench headroom --pid 4711 --duration 600
    """
    # Heavy imports only now, so that --help answers at once; torch only for measuring.
    from lorabench.cli.reporting import Reporter

    observing = {"--pid": pid, "--cgroup": cgroup}
    measuring = {
        "--checkpoint": checkpoint,
        "--load": load,
        "--qps": qps,
        "--slo-ms": slo_ms,
        "--slo-ratio": slo_ratio,
        "--duties": duties,
        "--conditions": conditions,
        "--rounds": rounds,
        "--warmup": warmup,
        "--label-delay": label_delay,
        "--servers": servers,
        "--rank": rank,
    }
    reporter = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    path = output or reporter.default_path("headroom")
    if trace is not None:
        serving = {"--duration": duration, "--preset": preset, "--data": data}
        _refuse({**observing, **serving, **measuring}, "with --trace", "--trace alone")
        result = _read(trace, reporter, path)
    elif preset is not None or data is not None:
        _refuse(observing, "with --preset or --data", "one or the other")
        given = {
            "load": load,
            "qps": qps,
            "slo_s": None if slo_ms is None else slo_ms / 1e3,
            "slo_ratio": slo_ratio,
            "duties": None if duties is None else _duties(duties),
            "conditions": None if conditions is None else _conditions(conditions),
            "rounds": rounds,
            "duration_s": duration,
            "warmup_s": warmup,
            "label_delay_s": label_delay,
            "servers": servers,
            "rank": None if rank is None else parse_rank(rank),
            "seed": seed,
        }
        inputs = (preset, data, checkpoint)
        result = _measure({k: v for k, v in given.items() if v is not None}, inputs, path)
    else:
        _refuse(measuring, "without --preset or --data", "one of these, to have a load to serve")
        result = _observe(_PASSIVE_S if duration is None else duration, pid, cgroup, reporter, path)
    reporter.show(result, path)
    if strict:
        reporter.gate(result)


def _duties(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--duties: found {text!r}, expected numbers with commas between, such as "
            "0,0.1,0.25,0.5,0.75,1"
        ) from None


def _conditions(text: str) -> "tuple[Condition, ...]":
    from lorabench.bench.serving.options import conditions

    return conditions(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _refuse(options: "Mapping[str, object]", where: str, expected: str) -> None:
    """Refuse an option that says nothing in this mode.

    Raises
    ------
    InputError
        One was given.
    """
    for option, value in options.items():
        if value is not None:
            raise InputError(f"{option}: found it {where}, expected {expected}")


def _observe(
    duration_s: float, pid: int | None, cgroup: str | None, reporter: "Reporter", path: Path
) -> "Result":
    from lorabench.experiments.headroom.observe import Observation, ObservationConfig

    config = ObservationConfig(duration_s, pid, cgroup)
    config.check()
    reporter.check_path(path)
    with reporter.progress() as observer:
        run = Observation(config, observer.stage)
        try:
            run.run()
        except KeyboardInterrupt:
            # What was seen until now is kept, marked as partial.
            if run.observed:
                reporter.save(run.document(partial=True), run.raw, path)
            raise
    return reporter.save(run.document(), run.raw, path)


def _read(trace: Path, reporter: "Reporter", path: Path) -> "Result":
    from lorabench.experiments.headroom.observe import from_trace

    reporter.check_path(path)
    result, raw = from_trace(trace)
    return reporter.save(result, raw, path)


def _measure(
    given: "dict[str, Any]",
    inputs: tuple[str | None, Path | None, Path | None],
    path: Path,
) -> "Result":
    from lorabench.bench.command import Command, Output
    from lorabench.bench.runner import run
    from lorabench.experiments.headroom.sweep import DutySweepOptions
    from lorabench.results.files import read_result

    preset, data, checkpoint = inputs
    options = DutySweepOptions(preset=preset, data=data, checkpoint=checkpoint, **given)
    command = Command(
        "headroom",
        "",
        DutySweepOptions,
        experiment="lorabench.experiments.headroom.sweep:DutySweep",
        view="lorabench.experiments.headroom.view:render",
        beside=".npz",
    )
    run(command, options, Output(output=str(path)))
    return read_result(path)
