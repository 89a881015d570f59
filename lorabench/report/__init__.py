"""Renders results; knows nothing of how they came about."""
