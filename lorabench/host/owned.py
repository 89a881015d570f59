"""How what a run makes on the machine is told from what others made: by its name."""

PREFIX = "lorabench-"
"""What the name of every folder begins with that lorabench makes in a kernel file system."""
