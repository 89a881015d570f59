"""How a serving node is measured: the cases, what is calibrated, rounds, metrics of a record."""
