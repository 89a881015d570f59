"""What kernels refuses before anything is run, what it reads, and what --quick leaves of a run."""

import pytest

from lorabench._kernels.adapter import MAX_RANK
from lorabench.bench.options import check, options_of
from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.experiments.kernels.labels import GIB, MIB
from lorabench.experiments.kernels.options import KERNELS, KernelsOptions


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--kernels", "lookups"), "--kernels: found 'lookups', expected some of lookup"),
        (("--peers", "jax"), "--peers: found 'jax', expected some of torch, fbgemm"),
        (("--against", "jax"), "--peers: found 'jax', expected some of torch, fbgemm"),
        (("--distribution", "gauss"), "--distribution: found 'gauss', expected some of uniform"),
        (("--indices", "gauss"), "--distribution: found 'gauss', expected some of uniform"),
        (("--distribution", ""), "--kernels, --distribution: found nothing"),
        (("--dim", "16,x"), "--dim: found '16,x', expected whole numbers separated by commas"),
        (("--dim", "0"), "--dim: found 0, expected 1 to 4096"),
        (("--dim", ""), "--dim: found nothing, expected at least one number"),
        (("--pooling", "20,-1"), "--pooling: found -1, expected 1 to 10000"),
        (("--table-mib", "0"), "--table-mib: found 0, expected 1 to 1048576"),
        (("--table-mib", "2048,2049"), "--table-mib: found 2048 and 2049, expected sizes that"),
        (("--rank", "257"), "--rank: found 257, expected 1 to 256"),
        (("--rank", "17", "--dim", "16,64"), "--rank: found 17, expected at most the smallest"),
        (("--rounds", "0"), "--rounds: found 0, expected 1 to 10000"),
        (("--seed", "-1"), "--seed: found -1, expected at least 0"),
        (("--isa", "sse9"), "--isa: found 'sse9', expected one of .*plain"),
    ],
)
def test_bad_options_are_told(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        app(["kernels", *options], standalone_mode=False)


def test_the_highest_rank_is_that_of_the_kernels() -> None:
    (rank,) = (known for field, known in options_of(KernelsOptions) if field.name == "rank")
    assert rank.most == MAX_RANK


def test_the_default_and_the_quick_run_can_be_run() -> None:
    check(KernelsOptions())
    check(KernelsOptions(quick=True))


def test_a_quick_run_is_cut_down_to_the_points_that_have_targets() -> None:
    whole = KernelsOptions()
    assert whole.cut() == whole
    assert whole.update_dims == whole.dims
    quick = KernelsOptions(quick=True).cut()
    assert quick.sizes == (2 * GIB,)
    assert (quick.dims, quick.poolings, quick.rounds) == ((16, 64, 128), (20,), 11)
    assert quick.kernels == tuple(name for name in KERNELS if name != "scaling")
    assert quick.update_dims == (64,)
    assert KernelsOptions(quick=True, kernels=("scaling",)).cut().kernels == ("scaling",)
    assert quick.cut() == quick


@pytest.mark.parametrize(("mib", "large"), [((1, 64), 64 * MIB), ((1, 2048, 4096), 2 * GIB)])
def test_the_large_table_is_2_gib_or_the_largest(mib: tuple[int, ...], large: int) -> None:
    assert KernelsOptions(table_mib=mib).large == large
