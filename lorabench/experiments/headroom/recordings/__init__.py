"""Recorded CPU use as people have it: from bytes to bounds, in three steps of pure functions.

- *Read*: `content` makes text of bytes; a module a format makes a `table` of it: named columns of
  values at times.
- *Interpret*: `naming` and `promql` say what a name means, `interpretation` gives each column a
  kind, a unit, a host and a CPU, from what the file says, else from options, else it refuses.
- *Estimate*: `estimate` makes loads over time of the columns, with what is unknown in them.

sysstat's formats say themselves what their values mean, and skip the second step.
"""
