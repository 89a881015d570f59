"""Update strategies: how a served model takes in what its labels teach."""
