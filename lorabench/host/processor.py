"""The processor, by py-cpuinfo, which takes over a second, most of it asleep.

It counts the clock's ticks for that long. Whoever has other things to do meanwhile asks in the
background; this module imports nothing heavy, so that one can ask before one's own imports.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def describe() -> dict[str, Any]:
    """Ask py-cpuinfo: model, maker, architecture, clock and flags; None for what it cannot tell."""
    import cpuinfo

    found = cpuinfo.get_cpu_info()
    return {
        key: found.get(key)
        for key in ("brand_raw", "vendor_id_raw", "arch", "hz_actual_friendly", "flags")
    }


def ask() -> Future[dict[str, Any]]:
    """Ask in the background; the answer is what `describe` gives."""
    pool = ThreadPoolExecutor(1)
    asked = pool.submit(describe)
    pool.shutdown(wait=False)
    return asked
