"""The commands, a folder each: its options, its experiment, which gives findings, its view."""
