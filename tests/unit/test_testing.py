"""The suite that a package of one's own runs: what it passes, and what it catches."""

from pathlib import Path

import pytest
from foreign_strategies import WRONG

from lorabench.errors import InputError
from lorabench.strategies import registry
from lorabench.testing import CheckError, check_strategy


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package that registers strategies; without pip, as pip leaves it."""

    def install(entries: dict[str, str], package: str = "foreign") -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[lorabench.strategies]\n{lines}")
        monkeypatch.syspath_prepend(str(tmp_path))
        registry._entries.cache_clear()

    yield install
    monkeypatch.undo()
    registry._entries.cache_clear()


@pytest.mark.parametrize("hotness", [(), (3, 1)], ids=["one-hot", "multi-hot"])
@pytest.mark.parametrize(
    "name",
    [
        *("none", "full", "delta", "delta-int8", "priority-freq-grad-5", "priority-1", "stream"),
        *("lora", "lora-r4-random", "lora+delta", "memory", "ideal"),
    ],
)
def test_ours_keep_to_it(name: str, hotness: tuple[int, ...]) -> None:
    check_strategy(name, hotness=hotness)


@pytest.mark.usefixtures("with_fbgemm")
def test_the_peer_of_ideal_keeps_to_it() -> None:
    check_strategy("ideal-fbgemm")


def test_a_strategy_of_another_package_is_read_and_checked(register) -> None:
    register({"bias": "foreign_strategies:Bias"})
    check_strategy("bias")


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_every_way_to_go_wrong_is_caught(kind, register) -> None:
    name = kind.forms[0]
    register({name: f"foreign_strategies:{kind.__name__}"})
    with pytest.raises(CheckError, match=f"^{name}: ") as caught:
        check_strategy(name)
    assert WRONG[kind] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_does_not_import_is_in_nobody_s_way(register) -> None:
    register({"broken": "no_such_module:Strategy", "text": "string:digits"})
    assert registry.parse("lora").name == "lora"
    words = r"^--strategies: found 'broken', registered as no_such_module:Strategy by foreign 1.0, "
    with pytest.raises(InputError, match=f"{words}which does not import"):
        registry.parse("broken")
    with pytest.raises(InputError, match=r"'text', .* expected a subclass of lorabench"):
        registry.parse("text")
    with pytest.raises(InputError, match="found 'other', expected some of none, full,"):
        registry.parse("other")


def test_two_packages_of_one_name_are_told(register) -> None:
    register({"bias": "foreign_strategies:Bias"}, "one")
    register({"bias": "foreign_strategies:Wrong"}, "another")
    with pytest.raises(InputError, match="found 'bias' registered twice"):
        registry.parse("none")
