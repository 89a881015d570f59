"""Which update strategies there are, for ``freshness`` and for a node's trainer alike.

They are Python entry points of the group ``lorabench.strategies``: a package that names a class
under this group adds a strategy, and nothing here need know of it. One is imported when a name may
mean it, so that another one's broken package is in nobody's way.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from lorabench.errors import InputError
from lorabench.strategies.base import Strategy, StrategySpec

GROUP = "lorabench.strategies"
_OURS = "lorabench"


def strategies() -> dict[str, type[Strategy]]:
    """Return every registered strategy that imports, by the name it is registered under.

    Those of lorabench itself come first.
    """
    found = {}
    for name, entry in _entries().items():
        try:
            found[name] = _load(entry)
        except InputError:
            continue
    return found


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
        It names no such strategy, or one that cannot be used here, or whose package does not
        import.
    """
    for entry in _meant(name):
        kind = _load(entry, option)
        params = kind.read(name) if kind.colocatable or not colocated else None
        if params is not None:
            spec = StrategySpec(
                name, kind, kind.default_rate, kind.default_decay, seed=seed, params=params
            )
            given = learning_rate is not None and spec.learns
            return replace(spec, learning_rate=learning_rate) if given else spec
    known = [kind for kind in strategies().values() if kind.colocatable or not colocated]
    forms = ", ".join(form for kind in known for form in kind.forms)
    raise InputError(f"{option}: found {name!r}, expected some of {forms}")


def _meant(name: str) -> Iterable[EntryPoint]:
    """Return what a name may mean, the closest first: it begins with what one is registered as."""
    known = _entries()
    return [known[one] for one in sorted(known, key=len, reverse=True) if name.startswith(one)]


@cache
def _entries() -> dict[str, EntryPoint]:
    """Return what is registered, by name: lorabench's own in their order, then others.

    Raises
    ------
    InputError
        Two packages register the same name.
    """
    found: dict[str, EntryPoint] = {}
    every = entry_points(group=GROUP)
    for entry in sorted(every, key=lambda one: not one.value.startswith(f"{_OURS}.")):
        before = found.setdefault(entry.name, entry)
        if before.value != entry.value:
            raise InputError(
                f"{GROUP}: found {entry.name!r} registered twice, as {before.value} "
                f"({_package(before)}) and {entry.value} ({_package(entry)}), expected once; "
                "uninstall one of them"
            )
    return found


def _load(entry: EntryPoint, option: str = "--strategies") -> type[Strategy]:
    """Import a strategy.

    Raises
    ------
    InputError
        It does not import, or is none.
    """
    named = f"{option}: found {entry.name!r}, registered as {entry.value} by {_package(entry)}"
    try:
        kind = entry.load()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{named}, which does not import ({reason}); mend or uninstall it") from (
            error
        )
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise InputError(f"{named}, expected a subclass of lorabench.strategies.base.Strategy")
    return kind


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "no package"
