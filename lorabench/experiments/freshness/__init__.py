"""How a served model ages, and what keeps it fresh."""
