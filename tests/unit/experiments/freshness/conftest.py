"""A stream that drifts so strongly and is so short that a test can replay it."""

from pathlib import Path

import pytest

from lorabench.workload.spec import load_spec

_DRIFT = """
[[drift.phase]]
start_s = 0.0
shared_taste = 60.0
rank = 3
"""


@pytest.fixture(scope="session")
def freshness_spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 rows behind 4,000 to pre-train on; LoRA looks at 4,096 before it learns."""
    text = (Path(__file__).parents[4] / "workloads/tiny.toml").read_text(encoding="utf-8")
    for was, now in (
        ("rows = 60000", "rows = 14000"),
        ("pretrain_rows = 20000", "pretrain_rows = 4000"),
        ("strength = 1.35", "strength = 3.0"),
    ):
        assert was in text
        text = text.replace(was, now)
    path = tmp_path_factory.mktemp("freshness") / "drifting.toml"
    path.write_text(text + _DRIFT, encoding="utf-8")
    assert load_spec(str(path)).rows == 14_000
    return path


@pytest.fixture(scope="session")
def slower_spec(freshness_spec: Path) -> Path:
    """The same with a sixth of the drift: what was learned last is still worth having."""
    text = freshness_spec.read_text(encoding="utf-8")
    assert "shared_taste = 60.0" in text
    path = freshness_spec.with_name("slower.toml")
    path.write_text(text.replace("shared_taste = 60.0", "shared_taste = 10.0"), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
