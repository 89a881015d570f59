"""MLCommons LoadGen's Server scenario: what a test asks, when its queries come, what came of it.

LoadGen (Reddi et al. 2020, "MLPerf Inference Benchmark") draws a Poisson process of its own and
hands each query over when it is due; its latency too runs from the scheduled arrival. When that
was, it does not tell. But its schedule follows from a seed, so it is drawn here again, by the same
generator and the same arithmetic (``std::mt19937``, ``std::exponential_distribution`` of libstdc++)
and held against the count and the length that LoadGen logs, to the nanosecond: so both sides count
from the same moments, and what one says of a query can be held against what the other says.

Nothing is run here: that is `lorabench.targets.node.load_generator`'s.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError, MachineError
from lorabench.targets.trace import NS

INSTALL = "pip install lorabench[mlperf]"

DETAIL = "mlperf_log_detail.txt"
LOGS = (DETAIL, "mlperf_log_summary.txt")
"""What LoadGen writes that says something; without a trace and accuracy its other two are empty."""

_LINE = ":::MLLOG "

# Of a Poisson process hardly ever so many more come than on average, in standard deviations.
_FAR = 12


def require_loadgen() -> None:
    """Make sure that LoadGen can be had.

    Raises
    ------
    InputError
        It is not installed.
    """
    if find_spec("mlperf_loadgen") is None:
        raise InputError(
            "--load-generator: found mlperf, but mlcommons-loadgen is not installed; expected the "
            f"optional extra mlperf ({INSTALL})"
        )


@dataclass(frozen=True)
class LoadTest:
    """What LoadGen is asked for: its Server scenario, performance only.

    Parameters
    ----------
    qps : float
        Mean arrivals a second.
    duration_ms : int
        Queries come until one is due this late, and so a little longer; at least 1.
    seed : int
        Of its schedule, below 2^32.
    target_latency_ns : int
        What its 99th percentile is held against.
    """

    qps: float
    duration_ms: int
    seed: int
    target_latency_ns: int

    def draw(self) -> tuple[NDArray[np.int64], int]:
        """Draw the schedule that LoadGen will keep to.

        Returns
        -------
        arrivals : int64 [N]
            ns after its start; the first is 0.
        length_ns : int
            When the next would have come, which LoadGen logs.
        """
        until_ns = self.duration_ms * (NS // 1000)
        mean = self.qps * self.duration_ms / 1000
        most = int(mean + _FAR * mean**0.5) + 32
        # What std::mt19937 gives: a double takes two of its numbers, the first of them in the lower
        # half (std::generate_canonical). numpy promises that this stream never changes.
        drawn = np.random.RandomState(self.seed)
        raw = drawn.randint(0, 1 << 32, 2 * most, np.uint32).astype(np.float64)
        uniform = (raw[0::2] + raw[1::2] * 2.0**32) / 2.0**64
        gaps = (-np.log(1.0 - uniform) / self.qps * NS).astype(np.int64)
        at = np.concatenate([[0], np.cumsum(gaps)])
        count = int(np.searchsorted(at, until_ns)) + 1
        return at[:count], int(at[count])


@dataclass(frozen=True)
class LoadTestResult:
    """What LoadGen says of a test.

    Attributes
    ----------
    latency_p50_s, latency_p99_s : float
        From scheduled arrival until it was told of the answer.
    queries : int
        How many it issued; all were answered.
    valid : bool
        Its verdict, by the target latency and duration that it was given.
    early_stopping : bool
        Whether so many queries show, at a confidence of 99 %, that its percentile is below the
        target latency.
    version : str
        Of LoadGen.
    """

    latency_p50_s: float
    latency_p99_s: float
    queries: int
    valid: bool
    early_stopping: bool
    version: str

    def as_document(self) -> dict[str, Any]:
        """Return what a result document says of it beside the metrics."""
        return {
            "queries": self.queries,
            "result": "VALID" if self.valid else "INVALID",
            "early_stopping_met": self.early_stopping,
        }


def read_result(detail: str, test: LoadTest) -> LoadTestResult:
    """Read LoadGen's detailed log, and make sure that it kept to the schedule of `test`.

    Parameters
    ----------
    detail : str
        What `DETAIL` holds.
    test : LoadTest
        What it was asked for.

    Raises
    ------
    MachineError
        The log lacks something, or the test was another one.
    """
    said: dict[str, Any] = {}
    for line in detail.splitlines():
        if line.startswith(_LINE):
            try:
                entry = json.loads(line.removeprefix(_LINE))
                said[entry["key"]] = entry["value"]
            except (ValueError, TypeError, KeyError, RecursionError):
                raise MachineError(
                    f"{DETAIL}: found {line!r:.60}, expected {_LINE}and JSON with key and value"
                ) from None
    arrivals, length_ns = test.draw()
    for key, expected in (
        ("generated_query_count", len(arrivals)),
        ("generated_query_duration", length_ns),
    ):
        if said.get(key) != expected:
            raise MachineError(
                f"{DETAIL}: {key}: found {said.get(key)!r:.60}, expected {expected}, as the "
                "schedule's seed has it; this LoadGen draws another schedule"
            )
    if said.get("result_query_count") != len(arrivals):
        raise MachineError(
            f"{DETAIL}: result_query_count: found {said.get('result_query_count')!r:.60}, "
            f"expected {len(arrivals)}: LoadGen gave up before its schedule's end"
        )
    try:
        return LoadTestResult(
            latency_p50_s=float(said["result_50.00_percentile_latency_ns"]) / NS,
            latency_p99_s=float(said["result_99.00_percentile_latency_ns"]) / NS,
            queries=len(arrivals),
            valid=said["result_validity"] == "VALID",
            early_stopping=bool(said["early_stopping_met"]),
            version=str(said["loadgen_version"]),
        )
    except KeyError as error:
        raise MachineError(f"{DETAIL}: found no {error.args[0]}, expected one") from None
    except (TypeError, ValueError):
        raise MachineError(f"{DETAIL}: found a result that is no number") from None
