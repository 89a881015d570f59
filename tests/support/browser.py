"""Debian's Chromium without a screen, driven by the DevTools protocol through a pair of pipes.

No driver and no package: ``--remote-debugging-pipe`` reads messages from descriptor 3 and writes
them to 4, each ended by a zero byte (https://chromedevtools.github.io/devtools-protocol/).
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium")
MISSING = "there is no chromium; on Debian, as root: make test-packages"

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-pipe",
)
_PATIENCE_S = 60.0
_COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """One page of a browser that has never been used before.

    Attributes
    ----------
    complaints : list of str
        What the page said on the console, what was refused or failed, since it was opened.
    """

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None
        self.complaints: list[str] = []
        self._number, self._buffer = 0, b""
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Descriptors 3 and 4 are moved in a shell: those of this process stay where they are.
        moved = f'exec {PROGRAM} "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", moved, "bash", *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        for fd in (theirs_in, theirs_out):
            os.close(fd)
        self._in, self._out, self._session = ours_in, ours_out, ""
        try:
            self._attach()
        except BaseException:
            self._end(0)
            raise

    def _attach(self) -> None:
        """Speak to the page that the browser begins with."""
        pages = self._ask("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in pages if one["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, path: Path) -> None:
        """Show a page, and wait until it is there."""
        self.complaints.clear()
        self._ask("Page.navigate", url=path.absolute().as_uri())
        deadline = time.monotonic() + _PATIENCE_S
        while (
            self.run("document.readyState + location.href") != f"complete{path.absolute().as_uri()}"
        ):
            assert time.monotonic() < deadline, "the page does not load"

    def run(self, script: str) -> Any:
        """Return what a script comes to, in the page; a promise's value when it is kept."""
        found = self._ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def media(self, media: str = "screen", scheme: str = "light") -> None:
        """Show it on another medium, or to somebody who prefers dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._ask("Emulation.setEmulatedMedia", media=media, features=features)

    def size(self, width: int, height: int, scale: float = 1.0) -> None:
        """Make the window so large."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def pages_printed(self) -> bytes:
        """Return the page as it is printed, as PDF."""
        return base64.b64decode(self._ask("Page.printToPDF")["data"])

    def close(self) -> None:
        """End the browser and all its processes."""
        with contextlib.suppress(OSError, AssertionError):
            self._session = ""
            self._ask("Browser.close")
        self._end(_PATIENCE_S)

    def _end(self, patience_s: float) -> None:
        """Wait until the browser has ended; end it and its processes if it has not by then."""
        for fd in (self._in, self._out):
            os.close(fd)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_PATIENCE_S)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("method") in _COMPLAINTS:
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                found: dict[str, Any] = answer["result"]
                return found

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], _PATIENCE_S)
            assert ready, "the browser does not answer"
            more = os.read(self._in, 1 << 16)
            assert more, "the browser ended"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
