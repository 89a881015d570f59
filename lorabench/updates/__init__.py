"""How updates travel from a training cluster to those who serve: what is sent, and what that costs."""
