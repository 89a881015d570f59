"""What holds of every mechanism: a test of one begins with subclassing this.

    class TestThrottle(MechanismContract):
        mechanism = Throttle()

and adds what the mechanism does.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from children import QUIET, process

from lorabench.errors import InputError
from lorabench.host.cgroups import locate
from lorabench.host.checks import run_checks
from lorabench.host.checks.check import Host
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.owner import Owner, read_name
from lorabench.isolation.affinity import pin_threads, thread_affinities
from lorabench.isolation.conditions import Condition, applied, parse_condition
from lorabench.isolation.confine import Workers
from lorabench.isolation.mechanism import MECHANISMS, PLACES, Evidence, Mechanism
from lorabench.isolation.places import Offer

_NONE = Missing("tried", "it was refused", "allow it")


@contextmanager
def workers(program: str) -> Iterator[Workers]:
    """Two servers and a trainer that run a program, pinned as a run has them."""
    allowed = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        pids = [stack.enter_context(process(program)).pid for _ in range(3)]
        first, last = frozenset(allowed[:1]), frozenset(allowed[-1:])
        for pid, cpus in zip(pids, (first, first, last), strict=True):
            pin_threads(pid, cpus)
        yield Workers(dict.fromkeys(pids[:2], first), pids[2], last)


class MechanismContract:
    """Tests that every mechanism passes."""

    mechanism: ClassVar[Mechanism]
    # What it is applied to.
    program: ClassVar[str] = QUIET

    def name(self, place: str) -> str:
        return f"{place}+{self.mechanism.name}"

    def test_its_name_parses_and_is_nobody_elses(self) -> None:
        assert type(self.mechanism) in map(type, MECHANISMS)
        names = [name for m in MECHANISMS for name in (m.name, *m.formerly)]
        for name in (self.mechanism.name, *self.mechanism.formerly):
            assert names.count(name) == 1
            assert re.fullmatch("[a-z]+(-[a-z]+)*", name)
            assert parse_condition(f"pinned+{name}").mechanisms == (self.mechanism.name,)

    def test_the_places_that_it_refuses_are_refused_with_its_reason(self) -> None:
        assert set(self.mechanism.refuses) < set(PLACES)
        for place in PLACES:
            if place in self.mechanism.refuses:
                with pytest.raises(InputError, match=re.escape(self.mechanism.refuses[place])):
                    parse_condition(self.name(place))
            else:
                assert parse_condition(self.name(place)).place == place

    def test_what_it_excludes_excludes_it_for_the_same_reason(self) -> None:
        others = {other.name: other for other in MECHANISMS}
        for name, expected in self.mechanism.excludes.items():
            assert others[name].excludes[self.mechanism.name] == expected
            with pytest.raises(InputError, match=re.escape(expected)):
                parse_condition(f"{self.name('pinned')}+{name}")
        if self.mechanism.scheduling is not None:
            alike = {m.name for m in MECHANISMS if m.scheduling} - {self.mechanism.name}
            assert alike <= set(self.mechanism.excludes)

    def test_the_rows_that_it_rests_on_are_doctors(self) -> None:
        nowhere = Host(
            Files(Path("/nowhere")), None, groups=dict.fromkeys(("cpuset", "cpu"), _NONE)
        )
        assert set(self.mechanism.rows) <= {row.name for row in run_checks(nowhere)}

    def test_a_probe_finds_nothing_missing_or_says_what_why_and_how_to_get_it(
        self, evidence: Evidence
    ) -> None:
        poor = replace(
            evidence,
            topology=replace(evidence.topology, nodes=evidence.topology.nodes[:1]),
            plan=replace(evidence.plan, memory=None, rdt=None),
            cgroups=Offer(_NONE, _NONE),
            resctrl=_NONE,
            tried=dict.fromkeys(("placement", "idle", "batch"), _NONE),
        )
        for given in (evidence, poor):
            found = self.mechanism.probe(given)
            assert found == self.mechanism.probe(given)
            if found is not None:
                assert found.what == self.mechanism.name
                assert found.why
                assert found.enable
        # What rests on rows can be missing; what rests on nothing never is.
        assert (self.mechanism.probe(poor) is not None) == bool(self.mechanism.rows)

    @pytest.mark.parametrize("error", [None, KeyboardInterrupt])
    def test_what_it_does_bears_the_runs_name_and_is_undone(
        self, evidence: Evidence, traces: Callable[[], set[Path]], error: type[BaseException] | None
    ) -> None:
        if (why := self.mechanism.probe(evidence)) is not None:
            pytest.skip(f"{why.what}: {why.why}; {why.enable}")
        condition = Condition("one", "pinned", (self.mechanism.name,))
        with workers(self.program) as running:
            before = traces(), self.state(running)

            def run() -> None:
                with applied(condition, evidence, running):
                    for path in traces() - before[0]:
                        found = read_name(path.name)
                        assert found is not None
                        assert found[0] == Owner.this()
                    self.while_applied(evidence, running)
                    if error is not None:
                        raise error

            if error is None:
                run()
            else:
                with pytest.raises(error):
                    run()
            assert (traces(), self.state(running)) == before

    def state(self, running: Workers) -> object:
        """What a mechanism may change of processes: where they are, and may run."""
        pids = [*running.servers, running.trainer]
        # Where the trainer may run is set anew before each condition.
        cpus = [set(thread_affinities(pid).values()) for pid in running.servers]
        return [locate(Files(), str(pid)) for pid in pids], cpus

    def while_applied(self, evidence: Evidence, running: Workers) -> None:
        """What holds while it is applied; of a mechanism that does nothing here, nothing."""
