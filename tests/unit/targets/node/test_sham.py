"""What a sham takes: a share of the time, in pieces, and nothing but CPU time."""

import time

import pytest

from lorabench.targets.node.settings import Sham
from lorabench.targets.node.sham import Calculation


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("share", "threads"), [(0.1, 1), (0.7, 1), (1.5, 2)])
def test_it_keeps_to_its_share_of_the_time_whatever_a_piece_really_takes(
    share: float, threads: int
) -> None:
    clock, cpu = Clock(), Clock()
    sham = Calculation(Sham(0.0002, share), threads, clock=clock, cpu=cpu)
    for _ in range(1000):
        clock.now += 0.0001
        cpu.now += 0.00035 * sham.step()
    sham.close()
    assert cpu.now == pytest.approx(share * 0.1, abs=0.0004)


def test_without_a_share_it_does_nothing() -> None:
    clock = Clock()
    clock.now = 5.0
    assert Calculation(Sham(0.001, 0.0), 1, clock=clock).step() == 0


def test_a_piece_takes_the_cpu_time_that_it_should_on_each_thread() -> None:
    clock = Clock()
    sham = Calculation(Sham(0.02, 1.0), 2, clock=clock)
    clock.now = 1.0
    begun = time.process_time()
    assert sham.step() == 1
    assert time.process_time() - begun >= 0.019
    sham.close()
