"""Bench for inference-side model updates: co-located LoRA training beside DLRM serving.

The package is laid out in layers; see ``docs/architecture.md``. Importing it is cheap: torch and
the other heavy libraries are imported by the modules that use them.
"""

__version__: str


def __getattr__(name: str) -> str:
    """Return the version when it is asked for: what looks it up is slow to import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("lorabench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
