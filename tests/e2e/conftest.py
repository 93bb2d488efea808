"""A real browser for the pages: Debian's Chromium, told what to do over the WebDriver protocol."""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from support import environments

WAIT_S = 20.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def install():
    """Install the browser and its driver where they are missing."""
    try:
        environments.programs(["chromium", "chromedriver"])
    except environments.InstallError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def system_ports():
    """The ports of `edgewise up`, which are always the same, for one module at a time."""
    with Path(tempfile.gettempdir(), "edgewise-e2e-up.lock").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


class Browser:
    """A headless browser; every method is one command of the WebDriver protocol or a few."""

    def __init__(self, driver_url, profile):
        self.url = driver_url
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1400"]
        options = {"args": [*arguments, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        created = self.command("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.url += f"/session/{created['sessionId']}"

    def command(self, method, path, body=None):
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                pytest.fail(f"{method} {path}: {error.read().decode()[:2000]}")

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.command("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def press(self, *keys):
        """Press keys one after another, wherever the focus is."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.command("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]})

    def type(self, selector, text):
        self.command("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def focused(self):
        """The id, or else the tag, of the element with the focus."""
        return self.run("const one = document.activeElement; return one.id || one.tagName.toLowerCase()")

    def wait(self, script, *arguments, timeout_s=WAIT_S):
        """The first true value of a script."""
        ends_s = time.monotonic() + timeout_s
        while not (found := self.run(script, *arguments)):
            assert time.monotonic() < ends_s, f"never true: {script}\n{self.text('body')[:3000]}"
            time.sleep(0.02)
        return found

    def console(self):
        return [(entry["level"], entry["message"]) for entry in self.command("POST", "/se/log", {"type": "browser"})]

    def strangers(self, server, *, asked):
        """The URLs asked for since the last call that are not the server's, nor of the browser's own first tab.

        Args:
            asked: a path that was certainly asked for.
        """
        entries = self.command("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        urls = [one["request"]["url"] for one in sent if not one["request"]["url"].startswith("chrome://")]
        assert f"{server.rest_url}{asked}" in urls
        return [url for url in urls if not url.startswith((f"{server.rest_url}/", "data:", "blob:"))]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.command("GET", "/screenshot")))

    def close(self):
        self.command("DELETE", "")


@pytest.fixture(scope="session")
def driver():
    """The address of a running chromedriver."""
    install()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(["chromedriver", "--port=0"], stdout=output, stderr=subprocess.STDOUT)
        try:
            ends_s = time.monotonic() + WAIT_S
            while b"started successfully on port " not in (said := os.pread(output.fileno(), 65536, 0)):
                assert process.poll() is None, said
                assert time.monotonic() < ends_s, said
                time.sleep(0.02)
            port = int(said.split(b"started successfully on port ")[1].split(b".")[0])
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def browser(driver, tmp_path):
    browser = Browser(driver, tmp_path / "profile")
    yield browser
    # What a failed test needs to be understood; the path is printed with its output.
    with contextlib.suppress(Exception):
        browser.screenshot(tmp_path / "page.png")
        print(f"screenshot: {tmp_path / 'page.png'}")
    browser.close()
