"""A real headless Chromium, driven by its own protocol: pages are opened, read, clicked and typed into as people do.

Source: Chrome DevTools Protocol, https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import axe_core_python
from websockets.sync.client import ClientConnection, connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_S, WAIT_S = 20.0, 10.0
AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
PHONE, DESK = (390, 844), (1280, 860)


class Browser:
    """One process with one tab."""

    def __init__(self) -> None:
        assert PROGRAM is not None
        self._folder = tempfile.TemporaryDirectory(prefix="routewright-browser-", ignore_cleanup_errors=True)
        profile = Path(self._folder.name)
        self._process = subprocess.Popen(
            [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
             "--disable-features=Translate,OptimizationHints,MediaRouter", "--disable-sync", "--mute-audio",
             "--renderer-process-limit=1", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            told = profile / "DevToolsActivePort"
            end_s = time.monotonic() + START_S
            while not (told.exists() and told.read_text().count("\n")):
                assert time.monotonic() < end_s, "chromium did not start"
                time.sleep(0.02)
            port, path = told.read_text().split("\n")[:2]
            address = f"ws://127.0.0.1:{port}{path}"
            self._line = ExitStack()
            self.page = Page(
                self._line.enter_context(connect(address, max_size=None, open_timeout=START_S, compression=None))
            )
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def close(self) -> None:
        self._line.close()
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


class Page:
    """The tab. `problems`: what the console complained of, refused content and uncaught exceptions among it."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.base = ""
        self._loads = 0
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.look()

    # --- the protocol ---

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        number = self._number
        sent = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            sent["sessionId"] = self._session
        self._line.send(json.dumps(sent))
        while True:
            message = json.loads(self._line.recv(timeout=30))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loads += 1
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.problems.append(" ".join(str(each.get("value", each.get("description"))) for each in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self._number += 1
            answer = {"id": self._number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            self._line.send(json.dumps({**answer, "sessionId": self._session}))

    def run(self, script: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True,
                           userGesture=True)  # fmt: skip
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, *, within_s: float = WAIT_S) -> Any:
        """Wait until an expression is true; its value."""
        end_s = time.monotonic() + within_s
        while True:
            try:
                value = self.run(script)
            except AssertionError as error:  # the page it ran in has gone
                value, script_error = None, error
                if time.monotonic() > end_s:
                    raise script_error from None
            if value:
                return value
            if time.monotonic() > end_s:
                raise AssertionError(f"not so within {within_s} s: {script}\n{self.text()[:1500]}\n{self.problems}")
            time.sleep(0.03)

    # --- what people do ---

    def open(self, path: str) -> None:
        """Go to a path of `base`, and wait until it is there."""
        loads = self._loads
        found = self._call("Page.navigate", url=path if "://" in path else self.base + path)
        assert not found.get("errorText"), found
        self._loaded(loads)

    def _loaded(self, loads: int) -> None:
        end_s = time.monotonic() + WAIT_S
        while self._loads == loads:
            assert time.monotonic() < end_s, "the page was not loaded"
            self.run("1")
            time.sleep(0.01)

    def text(self) -> str:
        return str(self.run("document.body.innerText"))

    def path(self) -> str:
        return str(self.run("location.pathname"))

    def sees(self, text: str, *, within_s: float = WAIT_S) -> None:
        """Wait until the page shows it."""
        self.until(f"document.body.innerText.includes({json.dumps(text)})", within_s=within_s)

    def click(self, target: str) -> None:
        """What a selector finds, or the visible link or button with this text, by the mouse."""
        place = self.until(f"""(() => {{
            const wanted = {json.dumps(target)};
            if (document.readyState !== "complete") return null;
            let found = null;
            try {{ found = [...document.querySelectorAll(wanted)].find((e) => e.getClientRects().length); }} catch {{}}
            found ??= [...document.querySelectorAll("a, button, summary, label")].find(
                (e) => e.textContent.trim() === wanted && e.getClientRects().length && !e.disabled);
            if (!found) return null;
            found.scrollIntoView({{block: "center", inline: "center"}});
            const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        self._call("Input.dispatchMouseEvent", type="mousePressed", **at)
        self._call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def type(self, selector: str, text: str) -> None:
        """Put text into a field, in place of what it holds."""
        self.until(f"""(() => {{
            const field = document.querySelector({json.dumps(selector)});
            if (!field || !field.getClientRects().length) return false;
            field.focus();
            field.select?.();
            return true;
        }})()""")
        self._call("Input.insertText", text=text)

    def press(self, key: str, code: int, modifiers: int = 0) -> None:
        """One key: its name and Windows code."""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                       modifiers=modifiers, text="\r" if key == "Enter" and kind == "keyDown" else "")  # fmt: skip

    def set(self, selector: str, value: str) -> None:
        """Move a slider or choose from a list."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"""(() => {{
            const field = document.querySelector({json.dumps(selector)});
            field.value = {json.dumps(value)};
            field.dispatchEvent(new Event("input", {{bubbles: true}}));
            field.dispatchEvent(new Event("change", {{bubbles: true}}));
        }})()""")

    def look(self, size: tuple[int, int] = DESK, *, is_dark: bool = False) -> None:
        """The size of the window, and the system's colours."""
        width, height = size
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                   mobile=size == PHONE)  # fmt: skip
        scheme = "dark" if is_dark else "light"
        self._call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
        ])  # fmt: skip

    def picture(self, *, is_whole: bool = True) -> bytes:
        """What it looks like, as PNG."""
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        return base64.b64decode(found["data"])

    def forget(self) -> None:
        """As somebody who has never been here."""
        self._call("Network.clearBrowserCookies")
        self.problems.clear()

    def cookies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("Network.getCookies", urls=[self.base + "/ui"])["cookies"]
        return found

    def faults(self) -> list[str]:
        """What axe-core finds against accessibility that is serious or critical."""
        if not self.run("typeof axe === 'object'"):
            self.run(AXE.read_text("utf-8") + ";0")
        found = self.run("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)")
        return [
            f"{each['id']}: {each['help']}: " + "; ".join(node["html"][:160] for node in each["nodes"][:4])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]

    def first_paint_ms(self) -> float:
        """Of the page that is open: from the start of the navigation to the first content on screen."""
        return float(self.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))


@contextmanager
def browser() -> Iterator[Browser]:
    """One for a module's tests."""
    started = Browser()
    try:
        yield started
    finally:
        started.close()
