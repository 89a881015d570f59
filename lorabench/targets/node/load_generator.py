"""MLCommons LoadGen in a process of its own, which hands queries to the servers when they are due.

LoadGen calls back from the thread that started the test, which sleeps in between, and is told of
answers from another; neither holds the interpreter lock while it waits, so they are hardly in each
other's way. A process of its own, because a test cannot be ended from outside: the parent, which
hears a Ctrl-C, ends the process.

Of LoadGen's queries the moment counts and nothing else: which rows one asks for, and which server
it goes to, was drawn before, as in every other case. LoadGen's own sample numbers are not looked
at: a trainer learns from a stream, in which rows come in order and once.
"""

import gc
import os
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO

from lorabench._kernels.serve import set_time_slice, set_timer_slack, sleep_until
from lorabench.targets.loadgen import LOGS
from lorabench.targets.node.exchange import IssuingEnd
from lorabench.targets.node.messages import Go, Issue, Issued, LoadGeneratorSetup, Ready

# The shortest time slice that the kernel gives.
_SLICE_NS = 100_000


def run_load_generator(setup: LoadGeneratorSetup, link: Connection) -> None:
    """Be a load generator until the parent hangs up."""
    import mlperf_loadgen

    set_timer_slack(1)  # LoadGen sleeps until a query is due
    # Beside a trainer on the same core it would otherwise wait for it, and count its own wait.
    with suppress(OSError):
        set_time_slice(_SLICE_NS)
    link.send(Ready())
    while True:
        asked: Issue = link.recv()
        _run(mlperf_loadgen, IssuingEnd(setup.exchange, asked.server, asked.rows), asked, link)


class _Queries:
    """LoadGen's queries on their way to the servers, and the answers on their way back to it.

    Parameters
    ----------
    loadgen : module
        It.
    end : IssuingEnd
        Of what is offered.
    count : int
        How many queries are offered.
    """

    def __init__(self, loadgen: Any, end: IssuingEnd, count: int) -> None:
        self._loadgen, self._end, self._count = loadgen, end, count
        self._responses: list[Any] = []
        self._over = False

    def issue(self, samples: list[Any]) -> None:
        """Hand queries over that are due."""
        for sample in samples:
            response = self._loadgen.QuerySampleResponse(sample.id, 0, 0)
            if len(self._responses) == self._count:
                # It draws another schedule, as its log will tell: nobody is offered this query.
                self._loadgen.QuerySamplesComplete([response])
                continue
            # Whoever hears of the answer looks here: it has to be there before.
            self._responses.append(response)
            self._end.issue()

    def complete(self) -> None:
        """Tell LoadGen of answers until all that is offered is answered, or the test is over."""
        told = 0
        try:
            while told < (len(self._responses) if self._over else self._count):
                answered = self._end.answered()
                if answered:
                    self._loadgen.QuerySamplesComplete([self._responses[n] for n in answered])
                told += len(answered)
        except Exception:  # noqa: BLE001 - LoadGen would wait for ever
            traceback.print_exc()
            os._exit(1)

    def end(self) -> None:
        """Take note that no query will come any more, be it fewer than are offered."""
        self._over = True
        self._end.wake()


def _run(loadgen: Any, end: IssuingEnd, asked: Issue, link: Connection) -> None:
    """Run one test: all of its queries, until all are answered."""
    count = len(asked.server)
    queries = _Queries(loadgen, end, count)
    folder = Path(asked.folder)
    logs: dict[str, BinaryIO] = {}

    def load(_: list[int]) -> None:
        # LoadGen has opened its logs by now: the parent takes their names away once it hears so,
        # and then they are gone with this process.
        for name in LOGS:
            logs[name] = (folder / name).open("rb")
        link.send(Ready())
        go: Go = link.recv()
        sleep_until(go.start_ns)

    completing = threading.Thread(target=queries.complete, daemon=True)
    sut = loadgen.ConstructSUT(queries.issue, lambda: None)
    library = loadgen.ConstructQSL(count, count, load, lambda _: None)
    gc.collect()
    gc.freeze()
    gc.disable()
    completing.start()
    # A file of this name in the working folder would otherwise change the test.
    audit = str(folder / "audit.config")
    settings = _settings(loadgen, asked, count), _logs(loadgen, folder)
    loadgen.StartTestWithLogSettings(sut, library, *settings, audit)
    queries.end()
    completing.join()
    end.close()
    written = {}
    for name, file in logs.items():
        with file:
            written[name] = file.read()
    link.send(Issued(written))
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(sut)
    gc.enable()


def _settings(loadgen: Any, asked: Issue, count: int) -> Any:
    test, settings = asked.test, loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = test.qps
    settings.server_target_latency_ns = test.target_latency_ns
    settings.server_target_latency_percentile = 0.99
    settings.min_duration_ms = test.duration_ms
    settings.min_query_count = 1
    settings.schedule_rng_seed = test.seed
    # One query too many tells that it draws a longer schedule; more would only take time.
    settings.max_query_count = count + 1
    return settings


def _logs(loadgen: Any, folder: Path) -> Any:
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    settings = loadgen.LogSettings()
    settings.log_output = output
    settings.enable_trace = False
    return settings
