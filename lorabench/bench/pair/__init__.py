"""Two installed versions run the same command on one machine, interleaved step by step."""

MAX_MINUTES_OF_TWO = 15.0
"""Of `colocate`, both versions together, where nobody says how long: what a gate takes to find 15 %
of p99 (docs/calibrate.md)."""

AFRESH = (
    "a version takes no turns, so that each block was a run of its own, and all had the same "
    "arrivals: intervals do not hold what other arrivals would do"
)
"""What is to be said of pairs whose blocks are runs (`lorabench.bench.pair.afresh`)."""
