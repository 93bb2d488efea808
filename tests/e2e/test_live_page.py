"""The gateway's live page in a real browser, while the link to the cloud is cut and heals."""

import json
import re
import threading
import urllib.request

import pytest

BODY = b'{"instances":[[0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]]}'
WAIT_S = 60.0


class Link:
    """`edgewise link` with its control API."""

    def __init__(self, server):
        self.server = server
        self.target = "http://" + re.search(r"link=(\S+)", server.ready_line)[1]
        self.control = re.search(r"control=(\S+)", server.ready_line)[1]

    def put(self, **state):
        data = json.dumps(state).encode()
        request = urllib.request.Request(f"{self.control}/state", data=data, method="PUT")
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            answer.read()


@pytest.fixture(scope="module")
def link(start_server, tiny_repository):
    cloud = start_server("--repository", str(tiny_repository), "--tier", "cloud")
    words = ("--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{cloud.rest_port}", "--control", "127.0.0.1:0")
    return Link(start_server(*words, "--profile", "4g", command="link"))


@pytest.fixture(scope="module")
def edge(start_server, tiny_repository):
    return start_server("--repository", str(tiny_repository))


@pytest.fixture(scope="module")
def gateway(start_gateway, link, edge):
    return start_gateway("--cloud", link.target, "--edge", edge.rest_url)


@pytest.fixture
def load(gateway):
    """Asks again and again in threads; counts what was not answered."""
    ending = threading.Event()
    lost = []

    def ask():
        while not ending.wait(0.02):
            try:
                request = urllib.request.Request(f"{gateway.rest_url}/v1/models/tiny:predict", data=BODY)
                urllib.request.urlopen(request, timeout=WAIT_S).close()
            except OSError as error:
                lost.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield lost
    ending.set()
    for thread in threads:
        thread.join()


def badge(browser, site, state):
    """Wait until the page shows a link in a state."""
    script = "return document.querySelector(arguments[0])?.innerText.includes(arguments[1])"
    browser.wait(script, f"#site-{site} .badge", state, timeout_s=WAIT_S)


def share(browser, site):
    """Wait until the page says that a site answers everything."""
    script = "return document.querySelector('#share').ariaLabel.includes(arguments[0])"
    browser.wait(script, f"{site} 100 %", timeout_s=WAIT_S)


def colours(browser):
    """How many seconds of the timeline show answers of the cloud, and of the edge."""
    return browser.run("return ['c0', 'e0'].map(one => document.querySelectorAll('#timeline .' + one).length)")


def test_a_cut_is_on_the_page_as_it_happens(browser, gateway, link, load, tmp_path):
    browser.open(f"{gateway.rest_url}/")
    badge(browser, "cloud", "UP")
    badge(browser, "edge", "UP")
    share(browser, "cloud")
    before = colours(browser)
    assert before[0] >= 1

    link.put(fault="blackhole")
    badge(browser, "cloud", "DOWN")
    share(browser, "edge")
    during = colours(browser)
    assert during[0] > 0
    assert during[1] >= 3
    assert "lost" in browser.text("#said")
    changed = browser.text("#changes")
    assert "DOWN" in changed
    assert "silence" in changed
    # A state is told by a word and a sign, not by its colour alone.
    assert "✕" in browser.text("#site-cloud .badge")
    assert browser.run("return document.querySelectorAll('#site-cloud .band.DOWN').length") >= 1
    browser.screenshot(tmp_path / "cut.png")
    print(f"screenshot in the cut: {tmp_path / 'cut.png'}")

    link.put(fault=None)
    badge(browser, "cloud", "UP")
    share(browser, "cloud")
    assert load == []
    assert browser.console() == []
    assert browser.strangers(gateway, asked="/edgewise/v1/links") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_telephone(browser, gateway, load, scheme):
    def devtools(command, **params):
        browser.command("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    devtools("Emulation.setDeviceMetricsOverride", width=400, height=900, deviceScaleFactor=1, mobile=True)
    devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(f"{gateway.rest_url}/")
    badge(browser, "cloud", "UP")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    # Contrast of text, as WCAG 2.2 has it: 4.5 to 1, for small print and each state's word.
    ratios = browser.run(CONTRAST)
    assert len(ratios) > 10
    for text, ratio in ratios:
        assert ratio >= 4.5, (text, ratio)


CONTRAST = """
const channel = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(channel);
  return .2126 * r + .7152 * g + .0722 * b; };
const ground = node => { for (; node; node = node.parentElement) {
  const colour = getComputedStyle(node).backgroundColor; if (!colour.endsWith(", 0)")) return colour; } return "rgb(255,255,255)"; };
const probe = ["UP", "SUSPECT", "DOWN", "PROBING", "RAMP"].map(state => {
  const one = document.createElement("b"); one.className = state; one.innerText = state;
  document.querySelector("main section").append(one); return one; });
const found = [...document.querySelectorAll("h1, h2, h3, .soft, dt, dd, .badge"), ...probe].filter(node => node.innerText.trim());
const ratios = found.map(node => { const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
  return [node.innerText.slice(0, 30), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]; });
probe.forEach(one => one.remove());
return ratios;
"""


def test_a_gateway_with_keys_asks_for_one_and_keeps_it_to_itself(browser, start_gateway, edge, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("me the-right-key\n")
    gateway = start_gateway("--edge", edge.rest_url, "--api-keys", str(keys))
    browser.open(f"{gateway.rest_url}/")
    browser.wait("return !document.querySelector('#key').hidden")
    assert browser.text("#sites") == ""
    browser.type("#word", "a-wrong-key\ue007")
    browser.wait("return document.querySelector('#note').innerText.includes('not known')")
    browser.run("document.querySelector('#word').value = ''")
    browser.type("#word", "the-right-key\ue007")
    badge(browser, "edge", "UP")
    assert browser.run("return document.querySelector('#key').hidden")
    assert browser.run("return localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert "the-right-key" not in browser.run("return location.href")
    assert gateway.stop() == 0


def test_a_gateway_that_ends_is_told(browser, start_gateway, edge):
    gateway = start_gateway("--edge", edge.rest_url)
    browser.open(f"{gateway.rest_url}/")
    badge(browser, "edge", "UP")
    gateway.stop(9)
    browser.wait("return document.querySelector('#note').innerText.includes('does not answer')")
