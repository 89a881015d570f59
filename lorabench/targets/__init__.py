"""What can be put under load, and the load."""
