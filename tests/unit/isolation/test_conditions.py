"""Names of conditions: what they are made of, what is refused, what a machine leaves of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.host.missing import Missing
from lorabench.isolation.conditions import BUNDLES, Condition, parse_condition, resolve
from lorabench.isolation.mechanism import MECHANISMS, PLACES
from lorabench.isolation.scheduling import BATCH, IDLE, NORMAL

NAMES = [mechanism.name for mechanism in MECHANISMS]
MISSING = {name: Missing(name, f"no {name} here", f"get {name}") for name in NAMES}


def test_places_mechanisms_and_bundles_are_read() -> None:
    assert parse_condition("naive") == Condition("naive", "naive")
    shared = parse_condition("shared+throttle+idle")
    assert shared == Condition("shared+throttle+idle", "shared", ("idle", "throttle"))
    assert shared.scheduling == IDLE
    assert parse_condition("pinned+batch").scheduling == BATCH
    assert parse_condition("pinned").scheduling == NORMAL
    assert parse_condition("isolated") == Condition("isolated", "pinned", BUNDLES["isolated"])


def test_a_push_is_applied_in_pinned_where_no_place_is_named() -> None:
    found = parse_condition("delta-apply")
    assert found == Condition("delta-apply", "pinned", ("delta-apply",))
    assert parse_condition("pinned+delta-apply").mechanisms == found.mechanisms
    stream = parse_condition("stream-apply+throttle+batch")
    assert (stream.place, stream.name) == ("pinned", "stream-apply+throttle+batch")
    assert stream.mechanisms == ("batch", "throttle", "stream-apply")
    assert (found.applies, stream.applies) == ("delta", "stream")
    assert parse_condition("shared+idle").applies is None


def test_a_push_is_applied_in_a_bundle_with_all_of_it_that_goes_with_that() -> None:
    isolated = parse_condition("isolated+delta-apply")
    kept = tuple(name for name in BUNDLES["isolated"] if name != "reuse")
    assert isolated == Condition("isolated+delta-apply", "pinned", (*kept, "delta-apply"))
    missing = {name: MISSING[name] for name in ("numa", "rdt")}
    fitted = resolve(isolated, missing)
    assert isinstance(fitted, Condition)
    assert fitted.mechanisms == ("cgroup", "batch", "throttle", "delta-apply")
    assert isinstance(resolve(parse_condition("rdt+stream-apply"), missing), tuple)


def test_the_old_name_of_a_mechanism_is_still_read() -> None:
    old, new = parse_condition("pinned+rerank"), parse_condition("pinned+rank-change")
    assert old.mechanisms == new.mechanisms == ("rank-change",)
    assert old == new
    assert old.name == "pinned+rank-change"
    with pytest.raises(InputError, match="expected each mechanism once"):
        parse_condition("pinned+rerank+rank-change")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "found '', expected naive, pinned, shared, numa, rdt, isolated"),
        ("solo", "found 'solo', expected naive"),
        ("idle", "found 'idle', expected naive"),
        ("isolated+idle", "found 'isolated\\+idle', expected naive"),
        ("pinned+", "found '' in 'pinned\\+', expected some of numa, rdt"),
        ("pinned+magic", "found 'magic' in 'pinned\\+magic'"),
        ("pinned+idle+idle", "expected each mechanism once"),
        ("shared+idle+batch", "expected one scheduling class, batch or idle"),
        ("naive+rdt", "expected pinned with numa, rdt or cgroup"),
        ("shared+rdt", "expected pinned with numa or rdt"),
        ("shared+throttle+numa", "expected pinned with numa or rdt"),
        ("delta-apply+stream-apply", "expected one push"),
        ("isolated+delta-apply+batch", "expected naive"),
        ("delta-apply+reuse", "expected no reuse or rank-change beside delta-apply"),
        ("delta-apply+delta-apply", "expected each mechanism once"),
    ],
)
def test_what_is_no_condition_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--conditions: .*{message}"):
        parse_condition(name)


@given(st.text(max_size=30) | st.lists(st.sampled_from([*PLACES, *NAMES])).map("+".join))
def test_any_text_is_a_condition_or_one_clear_line(text: str) -> None:
    try:
        condition = parse_condition(text)
    except InputError as error:
        message = str(error)
    else:
        assert condition.name == text
        assert condition.place in PLACES
        assert list(condition.mechanisms) == [m for m in NAMES if m in condition.mechanisms]
        return
    assert message.startswith("--conditions: found ")
    assert message.isprintable()


@pytest.mark.parametrize(
    "present", [set(c) for n in range(3) for c in itertools.combinations(("numa", "rdt"), n)]
)
def test_a_bundle_keeps_what_the_machine_offers_but_not_without_its_own(present: set[str]) -> None:
    missing = {m: reason for m, reason in MISSING.items() if m not in present | {"throttle"}}
    isolated = resolve(parse_condition("isolated"), missing)
    assert isinstance(isolated, Condition)
    assert set(isolated.mechanisms) == present | {"throttle"}
    for name in ("numa", "rdt"):
        found = resolve(parse_condition(name), missing)
        if name in present:
            assert isinstance(found, Condition)
            assert set(found.mechanisms) <= present
        else:
            assert found == (Missing(name, f"no {name} here", f"get {name}"),)


def test_a_composition_is_whole_or_unavailable_with_every_reason() -> None:
    wanted = parse_condition("pinned+numa+rdt+throttle")
    missing = {m: MISSING[m] for m in ("numa", "rdt")}
    found = resolve(wanted, missing)
    assert [reason.what for reason in found] == [wanted.name] * 2
    assert [reason.why for reason in found] == ["no numa here", "no rdt here"]
    assert resolve(wanted, {"idle": MISSING["idle"]}) == wanted
