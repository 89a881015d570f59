"""The co-located trainer, and the brief pre-training that a run starts from."""
