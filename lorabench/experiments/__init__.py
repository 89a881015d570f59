"""The experiments: each takes a config and returns one result document."""
