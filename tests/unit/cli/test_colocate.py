"""The subcommand's options against the experiment's own defaults."""

import inspect
from dataclasses import fields

from lorabench.cli.colocate import colocate
from lorabench.cli.options import parse_rank
from lorabench.experiments.colocate.run import ColocateConfig

# Options whose names lose the unit that a field's name carries.
NAMES = {"duration_s": "duration", "label_delay_s": "label_delay", "warmup_s": "warmup"}


def test_an_option_left_out_is_the_experiments_default() -> None:
    options = inspect.signature(colocate).parameters
    config = ColocateConfig()
    compared = 0
    for field in fields(config):
        name = NAMES.get(field.name, field.name)
        if name not in options:
            continue
        default = options[name].default
        if name == "conditions":
            default = tuple(default.split(","))
        if name == "rank":
            default = parse_rank(default)
        assert default == getattr(config, field.name), name
        compared += 1
    assert compared >= 14
