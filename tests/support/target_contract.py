"""What holds of everything that can be put under load: a test class of a target derives from this.

It gives `target` and, for each case that the target can be taken through, its parameters.
"""

from dataclasses import fields
from typing import Any

import numpy as np

from lorabench.targets.load import Schedule, Traffic
from lorabench.targets.target import Answers, Record, Target

SERVERS = 2
QUERY_ROWS = 4
DURATION_S = 0.5


def schedule(qps: float = 300.0, seed: int = 0) -> Schedule:
    """A tiny schedule for two servers, its queries of one size."""
    traffic = Traffic("poisson", QUERY_ROWS)
    return Schedule.draw(traffic, qps, DURATION_S, servers=SERVERS, seed=(seed,))


class TargetContract:
    """Derive, and give the fixtures `target` and `case`."""

    def test_a_record_has_a_value_a_query_and_a_prediction_a_row(
        self, target: Target[Any], case: object
    ) -> None:
        asked = schedule()
        record = target.measure(case, asked)
        assert record.schedule is asked
        for column in (record.started, record.done, record.batch, record.epoch):
            assert column.shape == (len(asked),)
        assert record.prediction.shape == (asked.total_rows,)

    def test_queries_are_answered_in_time_and_in_order_or_marked_as_not(
        self, target: Target[Any], case: object
    ) -> None:
        record = target.measure(case, schedule())
        served = record.served
        assert served.any()
        assert (record.started >= record.scheduled)[served].all(), "never before its arrival"
        assert (record.done > record.started)[served].all()
        assert (record.batch[served] >= 1).all()
        assert (record.batch[~served] == 0).all()
        for server in range(SERVERS):
            mine = served & (record.server == server)
            assert (np.diff(record.started[mine]) >= 0).all()
            assert (np.diff(record.done[mine]) >= 0).all()

    def test_latencies_run_from_the_scheduled_arrival(
        self, target: Target[Any], case: object
    ) -> None:
        record = target.measure(case, schedule())
        latency = record.latencies((0.0, DURATION_S))
        assert len(latency) == record.served.sum()
        assert (latency > 0).all()
        np.testing.assert_allclose(
            latency, (record.done - record.scheduled)[record.served] / 1e9, rtol=0, atol=1e-12
        )

    def test_predictions_are_probabilities_where_there_is_an_answer(
        self, target: Target[Any], case: object
    ) -> None:
        record = target.measure(case, schedule())
        answered = np.repeat(record.served, record.rows)
        assert ((record.prediction[answered] > 0) & (record.prediction[answered] < 1)).all()

    def test_epochs_only_grow_on_a_server(self, target: Target[Any], case: object) -> None:
        record = target.measure(case, schedule())
        for server in range(SERVERS):
            epoch = record.epoch[record.served & (record.server == server)]
            assert (np.diff(epoch) >= 0).all()
        assert (record.epoch >= (0 if record.train is not None else -1))[record.served].all()

    def test_a_record_is_nobody_elses_memory(self, target: Target[Any], case: object) -> None:
        first = target.measure(case, schedule())
        kept = {field.name: getattr(first, field.name).copy() for field in fields(Answers)}
        second = target.measure(case, schedule(qps=900.0, seed=1))
        for name, column in kept.items():
            np.testing.assert_array_equal(getattr(first, name), column)
            assert not np.shares_memory(getattr(first, name), getattr(second, name))

    def test_a_schedule_without_queries_is_an_empty_record(
        self, target: Target[Any], case: object
    ) -> None:
        record: Record = target.measure(case, schedule(qps=0.0))
        assert len(record.done) == len(record.prediction) == len(record.late_ns) == 0
