"""Two installed versions run the same command on one machine, interleaved step by step."""
