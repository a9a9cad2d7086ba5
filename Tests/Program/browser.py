"""Debian's Chromium without a screen, in a namespace. The tests control it through a pipe, by the DevTools protocol."""

import base64
import itertools
import json
import os
import select
import subprocess
import time

from support import PATIENCE


class Browser:
    """One page. Keeps its requests, its complaints and its failures."""

    def __init__(self, namespace, directory, width=1200, height=900, dark=False, javascript=True):
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self._numbers = itertools.count(1)
        self._waiting = b""
        self.requests, self.complaints, self.failures = [], [], []

        def descriptors():
            # The protocol wants commands at descriptor 3 and answers at 4. Copy both first: one of them may be 3 or 4 already.
            one, other = os.dup(to_browser), os.dup(from_browser)
            one, other = os.dup(one), os.dup(other)
            os.dup2(one, 3)
            os.dup2(other, 4)

        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync", "--remote-debugging-pipe", f"--user-data-dir={directory}/browser", f"--window-size={width},{height}", "about:blank"],
            preexec_fn=descriptors, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        try:
            target = next(each for each in self._send("Target.getTargets")["targetInfos"] if each["type"] == "page")
            self.session = None
            self.session = self._send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self._send(f"{domain}.enable")
            self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
            self._send("Emulation.setEmulatedMedia",
                       features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
            if not javascript:
                self._send("Emulation.setScriptExecutionDisabled", value=True)
        except BaseException:
            self.close()
            raise

    session = None

    def _send(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._until(lambda each: each.get("id") == number)["result"]

    def _until(self, is_it, seconds=30):
        """Takes messages until `is_it` is true for one, and returns that one."""
        deadline = time.monotonic() + seconds * PATIENCE
        while True:
            while b"\0" in self._waiting:
                line, _, self._waiting = self._waiting.partition(b"\0")
                message = json.loads(line)
                self._note(message)
                if is_it(message):
                    assert "error" not in message, message
                    return message
            assert select.select([self._read], [], [], max(0, deadline - time.monotonic()))[0], "the browser says nothing"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser has ended"
            self._waiting += chunk

    def _note(self, message):
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent": self.requests.append(parameters["request"]["url"])
            case "Network.loadingFailed": self.failures.append(parameters)
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning"): self.complaints.append(parameters["args"])
            case "Runtime.exceptionThrown": self.complaints.append(parameters["exceptionDetails"])
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"): self.complaints.append(parameters["entry"])

    def open(self, url):
        self._send("Page.navigate", url=url)
        self._until(lambda each: each.get("method") == "Page.loadEventFired")

    def ask(self, expression):
        """The value of an expression of JavaScript in the page."""
        result = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def accessibility(self):
        """The page as a screen reader sees it: the (role, name) of each node that it doesn't skip."""
        nodes = self._send("Accessibility.getFullAXTree")["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self._send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def picture(self, path):
        """A picture of the whole page."""
        size = self._send("Page.getLayoutMetrics")["cssContentSize"]
        data = self._send("Page.captureScreenshot", captureBeyondViewport=True,
                          clip={"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1})["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        for descriptor in (self._write, self._read):
            os.close(descriptor)
        self.process.terminate()
        self.process.wait(20 * PATIENCE)
