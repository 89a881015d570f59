"""What is said of a calibration itself."""

from lorabench.bench.serving.calibration import Calibration
from lorabench.host.quota import Throttled
from lorabench.targets.service import ServiceTime


def test_a_capacity_that_a_quota_set_is_called_that() -> None:
    service = ServiceTime(100_000.0, 1_000.0)
    assert not list(Calibration(2000.0, 1000.0, service).notes())
    stopped = Calibration(2000.0, 1000.0, service, throttled=Throttled(20, 19, 1.2))
    assert list(stopped.notes()) == [
        "the kernel stopped the servers for a CPU quota in 19 of 20 periods while capacity was "
        "measured: the load is a share of what the quota allows, and not of what the cores can do"
    ]
