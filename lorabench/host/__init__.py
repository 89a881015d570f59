"""Reads the machine, this one or a recorded one, and changes nothing."""
