"""How anything is measured; knows nothing of recommendation models."""
