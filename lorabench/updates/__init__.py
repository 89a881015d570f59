"""How updates travel from a training cluster to those who serve, and what that costs."""
