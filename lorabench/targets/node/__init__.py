"""A serving node on this machine: servers and a trainer as processes over shared memory."""
