"""Result documents: schema, metrics, statistics, claims, files."""
