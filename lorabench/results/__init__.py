"""Result documents: their schema, the statistics in them, verdicts, files and tables."""
