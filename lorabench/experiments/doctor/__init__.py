"""What a machine offers for isolation and for measuring."""
