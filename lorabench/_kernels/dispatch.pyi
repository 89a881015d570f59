"""Which build of the kernels is in use: one choice for the process."""

def instruction_sets() -> tuple[str, ...]:
    """Which builds of the kernels this machine can run, the fastest first; the last is "plain"."""

def instruction_set() -> str:
    """Which of them is in use: the first one, unless `use_instruction_set` chose another."""

def use_instruction_set(name: str) -> None:
    """Choose the kernels for the whole process; for tests and comparisons."""
