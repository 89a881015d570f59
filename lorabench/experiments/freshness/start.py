"""Which experiment ``lorabench freshness`` is asked for; only the one that replays loads torch."""

from dataclasses import replace

from lorabench.bench.command import Command, Output
from lorabench.bench.runner import run
from lorabench.errors import InputError
from lorabench.experiments.freshness.cost_options import CostOptions
from lorabench.experiments.freshness.link_options import LinkOptions
from lorabench.experiments.freshness.options import FreshnessOptions


def start(command: Command, options: FreshnessOptions, output: Output) -> None:
    """Run the command.

    Raises
    ------
    InputError
        The options cannot be run, or the result cannot be written.
    GateError
        A claim was missed under ``--strict``.
    """
    if options.cost_only:
        cost = "lorabench.experiments.freshness.cost:CostOnly"
        reckoning = replace(command, options=CostOptions, experiment=cost)
        run(reckoning, CostOptions.of(options), output)
        return
    if options.check_link:
        check = "lorabench.experiments.freshness.check_link:LinkCheck"
        run(replace(command, experiment=check), options, output)
        return
    if options.touch_trace is not None or options.touched != LinkOptions().touched:
        given = "--touched" if options.touch_trace is None else "--touch-trace"
        raise InputError(
            f"{given}: found it without --cost-only, expected both: a replay knows which rows it "
            "touches"
        )
    if options.sweep:
        command = replace(command, experiment="lorabench.experiments.freshness.sweep:Sweep")
    run(command, options, output)
