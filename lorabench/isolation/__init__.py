"""The machine: its topology, a plan for it, and what puts processes where the plan says."""
