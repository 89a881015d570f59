"""Where a run's processes run: a plan for the machine, and what puts and keeps them there."""
