"""The hot path (seam)."""
