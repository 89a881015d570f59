"""The hot path against what people would use instead."""
