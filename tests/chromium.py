"""A headless Chromium driven over its own DevTools pipe: no driver program, no port, no dependency."""

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lacking import lacking
from PIL import Image

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
PATIENCE = 30  # seconds for one answer

# Windows' virtual key codes, which DevTools asks for, and the text that a key types.
KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "PageUp": (33, ""),
    "PageDown": (34, ""),
    "End": (35, ""),
    "Home": (36, ""),
}


class Page:
    """One page; `messages` holds what it complained of, `requests` every address it asked for."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._buffer = commands, answers, b""
        self._last, self._session = 0, ""
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """Closes the page; its browser goes on."""
        self._session = ""
        self.send("Target.closeTarget", targetId=self._target)

    def send(self, method: str, **parameters: Any) -> Any:
        """Sends a command and waits for its answer."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"Chromium did not answer in {PATIENCE} s"
            data = os.read(self._answers, 1 << 20)
            assert data, "Chromium ended"
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("sessionId") != self._session:
            return  # of the browser, or the last word of a page that is closed
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.messages.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.messages.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.messages.append(str(parameters["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression is true."""
        asked = f"""new Promise((done, failed) => {{
            const until = performance.now() + {1000 * PATIENCE - 2000};
            const look = () => ({condition}) ? done(true)
                : performance.now() > until ? failed("in vain") : requestAnimationFrame(look);
            look();
        }})"""
        assert self.run(asked), condition

    def open(self, path: Path, width: int = 1500, height: int = 1000, fragment: str = "") -> None:
        """Opens a file from disk at `fragment` (with its #), and waits until it has loaded.

        A page whose script draws says so by `data-ready` on its body: "false" as written, then "true".
        """
        self.resize(width, height)
        address = path.absolute().as_uri()
        # From an empty page, so that another fragment of the same file loads it anew too.
        self.send("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank' && document.readyState === 'complete'")
        self.send("Page.navigate", url=address + fragment)
        self.wait(
            f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'"
            " && document.body.dataset.ready !== 'false'"
        )

    def resize(self, width: int, height: int) -> None:
        """Gives the page a window of so many CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str, media: str = "") -> None:
        """Asks for the "light" or the "dark" colour scheme, as the reader's system would; `media` may be "print"."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self) -> Image.Image:
        """What the window shows, in RGB."""
        # Twice: what the page asked for last is then surely painted.
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        data = self.send("Page.captureScreenshot", format="png")["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    def pdf(self) -> bytes:
        """What would be printed, on the paper that the page asks for."""
        return base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True)["data"])

    def press(self, key: str) -> None:
        """Presses and releases a key, named as in KeyboardEvent.key: one of `KEYS`."""
        code, text = KEYS[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def point(self, x: float, y: float) -> None:
        """Moves the mouse."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Moves the mouse and presses its left button once."""
        self.point(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


@contextmanager
def chromium(profile: Path) -> Iterator[tuple[int, int]]:
    """A new Chromium with an empty profile: where it reads commands, and writes answers, for a `Page`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        lacking("Chromium", "REPLICATION_REQUIRE_CHROMIUM", "apt-get install chromium")
    ours, theirs = os.pipe(), os.pipe()

    def take_pipes() -> None:
        # Chromium reads commands from 3 and writes answers to 4; the pipe's own numbers may be in the way.
        commands, answers = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1]))
        os.dup2(commands, 3)
        os.dup2(answers, 4)

    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(3, 4),
        preexec_fn=take_pipes,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ours[0])
    os.close(theirs[1])
    try:
        yield ours[1], theirs[0]
    finally:
        process.terminate()
        process.wait(PATIENCE)
        os.close(ours[1])
        os.close(theirs[0])
