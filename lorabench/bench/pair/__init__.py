"""Two installed versions run the same command on one machine, interleaved step by step."""

MAX_MINUTES_OF_TWO = 15.0
"""Of `colocate`, both versions together, where nobody says how long: what a gate takes to find 15 %
of p99 (docs/calibrate.md)."""
