"""Which update strategies there are, for ``freshness`` and for a node's trainer alike.

A new one is a module with a `Strategy` and its line here.
"""

from dataclasses import replace

from lorabench.errors import InputError
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.strategies.fbgemm import FbgemmIdeal
from lorabench.strategies.ideal import Ideal
from lorabench.strategies.lora import Lora
from lorabench.strategies.none import Frozen
from lorabench.strategies.priority import Priority
from lorabench.strategies.shipping import Deltas, Full, QuantisedDeltas
from lorabench.strategies.stream import Stream

STRATEGIES: tuple[type[Strategy], ...] = (
    Frozen,
    Full,
    Deltas,
    QuantisedDeltas,
    Priority,
    Stream,
    Lora,
    Ideal,
    FbgemmIdeal,
)


def parse(
    name: str,
    learning_rate: float | None = None,
    *,
    seed: int = 0,
    option: str = "--strategies",
    colocated: bool = False,
) -> StrategySpec:
    """Read a strategy's name.

    Parameters
    ----------
    name : str
        Of one of the forms that the strategies have.
    learning_rate : float, optional
        Of a strategy that learns; its own by default.
    seed : int
        Of all that it draws while it learns.
    option : str
        Where the name was given.
    colocated : bool
        Only those that can learn in a node's trainer process.

    Raises
    ------
    InputError
        It names no such strategy, or one that cannot be used here.
    """
    known = [kind for kind in STRATEGIES if kind.colocatable or not colocated]
    for kind in known:
        params = kind.read(name)
        if params is not None:
            spec = StrategySpec(
                name, kind, kind.default_rate, kind.default_decay, seed=seed, params=params
            )
            given = learning_rate is not None and spec.learns
            return replace(spec, learning_rate=learning_rate) if given else spec
    forms = ", ".join(form for kind in known for form in kind.forms)
    raise InputError(f"{option}: found {name!r}, expected some of {forms}")
