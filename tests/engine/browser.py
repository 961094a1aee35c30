"""Chromium without a window, driven over a pair of pipes: enough to open a page, press its buttons and read it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from servers import wait_for

NAMES = ["chromium", "chromium-browser", "google-chrome"]


class Browser:
    """One browser with one page. Speaks the DevTools protocol as NUL-terminated JSON on the descriptors 3 and 4."""

    def __init__(self, profile: Path):
        binary = next((found for found in map(shutil.which, NAMES) if found), None)
        assert binary, f"no browser: none of {', '.join(NAMES)} is installed; apt-get install chromium"
        from_us, self._out = os.pipe()
        self._in, to_us = os.pipe()

        def descriptors():
            # both may be 3 or 4 already
            read, write = os.dup(from_us), os.dup(to_us)
            os.dup2(read, 3)
            os.dup2(write, 4)

        # the sandbox needs rights that root in a container may not have; the page is our own
        command = [binary, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=descriptors,
        )
        os.close(from_us)
        os.close(to_us)
        self._last, self._rest, self._session = 0, b"", None
        self.requested: list[str] = []
        self.complaints: list[str] = []
        [page] = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self._session = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **parameters) -> dict:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._notice(answer)

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 16)
            assert more, "the browser ended"
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _notice(self, event: dict) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"]["text"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"])[:500])

    def open(self, address: str) -> None:
        self._call("Page.navigate", url=address)

    def ask(self, script: str):
        """The value of an expression on the page."""
        result = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, what: str, script: str, seconds: float = 30):
        """The first value of an expression that is true."""
        return wait_for(what, lambda: self.ask(script), seconds)

    def press(self, selector: str) -> None:
        """Presses the first element that fits, once it is there."""
        self.until(selector, f"!!document.querySelector({json.dumps(selector)})")
        self.ask(f"document.querySelector({json.dumps(selector)}).click()")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)
