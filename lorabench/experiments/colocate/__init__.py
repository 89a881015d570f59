"""p99 of a serving node with and without a trainer beside its servers."""
