"""Child processes to do something to, and what is left of them."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lorabench.host.owner import domain, read_name

QUIET = "print(flush=True); input()"

# Starts short-lived threads without end, beside five that stay.
RESTLESS = """
import sys, threading, time
stay = threading.Event()
for _ in range(5):
    threading.Thread(target=stay.wait, daemon=True).start()
def breed():
    while True:
        threading.Thread(target=time.sleep, args=(0.001,), daemon=True).start()
        time.sleep(0.0005)
threading.Thread(target=breed, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def process(program: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that prints a line once it is ready and ends when its stdin does."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            yield child
        finally:
            child.kill()


def traces(points: Iterable[str | Path]) -> set[Path]:
    """List what runs of this test have made below these folders, and no other tests' runs."""
    # Another run's groups come and go meanwhile, and os.walk passes over what has gone.
    found = (
        Path(folder, name)
        for point in points
        for folder, folders, files in os.walk(point)
        for name in (*folders, *files)
        if name.startswith("lorabench-")
    )
    return {p for p in found if (who := read_name(p.name)) and who[0].domain == domain()}
