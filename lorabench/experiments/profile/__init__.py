"""How low-rank embedding updates are."""
