"""Bench for inference-side model updates: co-located LoRA training beside DLRM serving.

The package is laid out in layers; see ``docs/architecture.md``. Importing it is cheap: torch and
the other heavy libraries are imported by the modules that use them.
"""

from importlib.metadata import version

__version__ = version("lorabench")
