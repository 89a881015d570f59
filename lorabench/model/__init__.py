"""What is served: embedding tables in shared memory, the DLRM's dense net."""
