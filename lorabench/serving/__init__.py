"""The open-loop server and its latency records."""
