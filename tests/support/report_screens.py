"""Pictures of a report as people see it: by day, by night, on a telephone, and a part of it.

``make report-screens`` calls it; the part is what ``docs/report.png`` is.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from browser import MISSING, PROGRAM, Browser
from command import COMMAND

_WIDE, _NARROW, _MOST = 900, 400, 9000
_HEAD, _PART = 820, 1640


def main(folder: Path, results: list[str]) -> None:
    """Report results, or the newest one, and write the pictures into a folder."""
    if PROGRAM is None:
        sys.exit(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    subprocess.run([COMMAND, "report", *results, "-o", page], check=True)
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            for name, width, scheme in (
                ("light", _WIDE, "light"),
                ("dark", _WIDE, "dark"),
                ("narrow", _NARROW, "light"),
            ):
                browser.media(scheme=scheme)
                browser.size(width, _HEAD)
                browser.open(page)
                height = browser.run("document.documentElement.scrollHeight")
                browser.size(width, min(height, _MOST))
                _write(folder / f"{name}.png", browser.picture())
            browser.media()
            browser.size(_WIDE, _PART)
            browser.open(page)
            browser.run("document.querySelector('#p99-by-condition')?.scrollIntoView(); 0")
            _write(folder / "part.png", browser.picture())
        finally:
            browser.close()


def _write(path: Path, picture: bytes) -> None:
    path.write_bytes(picture)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
