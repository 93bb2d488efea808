"""A study's report in a real browser, from its file, as people open it."""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise

import pytest

from e2e.conftest import Browser
from edgewise.study import report
from support import study_results

WIDTHS_PX = (400, 1100)
# The longest is begun first and looked at last.
NAMES = ("tradeoff", "quick", "outage", "hostile", "hollow", "empty", "architectures", "inversion")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report by its name, written once, while others are looked at."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as writers:
        made = {
            name: writers.submit(report.write, tmp_path_factory.mktemp(name), getattr(study_results, name)())
            for name in NAMES
        }
        yield lambda name: made[name].result(100)


@pytest.fixture(scope="module")
def browser(driver, tmp_path_factory):
    """One for all tests; each sets the screen and opens its page."""
    browser = Browser(driver, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def devtools(browser, command, **params):
    browser.command("POST", "/goog/cdp/execute", {"cmd": command, "params": params})


def screen(browser, width):
    devtools(
        browser, "Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=width < 600
    )


def show(browser, page, *, width=1100, scheme="light"):
    screen(browser, width)
    devtools(
        browser,
        "Emulation.setEmulatedMedia",
        media="",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    browser.open(page.as_uri())


def asked(browser):
    """Every URL that the page asked for, itself included; not what the browser's own first tab asks for."""
    entries = browser.command("POST", "/se/log", {"type": "performance"})
    events = [json.loads(entry["message"])["message"] for entry in entries]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("chrome://", "data:"))]


@pytest.mark.parametrize("name", ["quick", "outage", "hostile", "hollow", "empty", "tradeoff"])
def test_a_report_opens_without_errors_and_asks_for_nothing(browser, pages, name):
    page = pages(name)
    asked(browser)
    show(browser, page)
    assert asked(browser) == [page.as_uri()]
    assert browser.console() == []
    assert browser.run("return document.querySelectorAll('script, link, img, iframe').length") == 0
    assert page.stat().st_size < 5e6


def test_what_to_do_is_read_first(browser, pages):
    show(browser, pages("quick"))
    headings = browser.run("return [...document.querySelectorAll('h1, h2')].map(one => one.innerText)")
    assert headings[:2] == ["quick (synthetic)", "What to do"]
    assert headings[-1] == "How it was measured"
    levels = browser.run("return [...document.querySelectorAll('h1, h2, h3, h4')].map(one => +one.tagName[1])")
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert "cloud" in browser.text("#what .findings")
    assert browser.run("return document.querySelector('#what').getBoundingClientRect().top < innerHeight / 2")


def test_every_figure_is_told_in_words(browser, pages):
    show(browser, pages("tradeoff"))
    figures = browser.run(
        "return [...document.querySelectorAll('figure')].map(one => [one.querySelector('svg').ariaLabel, "
        "one.querySelector('figcaption').innerText, one.querySelector('h3').innerText, one.querySelectorAll('details tbody tr').length])"
    )
    assert len(figures) >= 10
    for label, caption, heading, rows in figures:
        assert len(label) > 20
        assert len(caption) > 40
        assert heading
        assert rows > 0
    roles = browser.run("return [...document.querySelectorAll('figure svg')].map(one => one.getAttribute('role'))")
    assert set(roles) == {"img"}
    heads = browser.run(
        "return [...document.querySelectorAll('table')].map(one => one.querySelectorAll('thead th[scope=col]').length)"
    )
    assert heads
    assert min(heads) >= 2


def test_data_opens_by_keyboard(browser, pages):
    show(browser, pages("quick"))
    browser.run("document.querySelector('figure summary').focus()")
    assert browser.run("return document.querySelector('figure details').open") is False
    browser.press("\ue007")
    assert browser.run("return document.querySelector('figure details').open") is True
    browser.press("\ue004")
    assert browser.run("return document.activeElement.className") == "scroll"


@pytest.mark.parametrize("name", ["tradeoff", "architectures", "inversion", "outage", "hostile", "empty"])
def test_the_page_is_never_wider_than_the_screen(browser, pages, name):
    show(browser, pages(name))
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    for width in WIDTHS_PX:
        screen(browser, width)
        assert browser.run("return innerWidth") == width
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.run(SMALL_WORDS) == []


SMALL_WORDS = (
    "return [...document.querySelectorAll('figure svg')].flatMap(svg => { const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;"
    " return [...svg.querySelectorAll('text')].map(one => parseFloat(getComputedStyle(one).fontSize) * scale); }).filter(size => size < 5.5)"
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out(browser, pages, scheme):
    show(browser, pages("outage"), width=400, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    ratios = browser.run(CONTRAST)
    assert len(ratios) > 300
    # Contrast of text, as WCAG 2.2 has it: 4.5 to 1.
    assert [found for found in ratios if found[1] < 4.5] == []
    ground = browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 200) is (scheme == "dark")


CONTRAST = """
const channel = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(channel);
  return .2126 * r + .7152 * g + .0722 * b; };
const ground = node => { for (; node; node = node.parentElement) {
  const colour = getComputedStyle(node).backgroundColor; if (!colour.endsWith(", 0)")) return colour; } return "rgb(255,255,255)"; };
const found = [...document.querySelectorAll("h1, h2, h3, p, li, dt, dd, th, td, caption, summary, figcaption, .tag, a, pre, svg text")]
  .filter(node => node.textContent.trim());
return found.map(node => {
  const ink = node.tagName === "text" ? getComputedStyle(node).fill : getComputedStyle(node).color;
  const [a, b] = [light(ink), light(ground(node))];
  return [node.textContent.slice(0, 30), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]; });
"""


def test_on_paper_it_is_light_and_whole(browser, pages):
    show(browser, pages("quick"), scheme="dark")
    devtools(
        browser,
        "Emulation.setEmulatedMedia",
        media="print",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )
    assert (
        browser.run("return getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()") == "#ffffff"
    )
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.run("return getComputedStyle(document.querySelector('figure .scroll')).overflowX") == "visible"
    # A page of A4 within its margins.
    devtools(browser, "Emulation.setDeviceMetricsOverride", width=720, height=1000, deviceScaleFactor=1, mobile=False)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def test_it_is_drawn_without_a_display_or_a_home(tmp_path):
    nowhere = tmp_path / "file"
    nowhere.write_text("not a directory")
    code = (
        "import sys; from pathlib import Path; from support import study_results; from edgewise.study import report\n"
        "assert 'matplotlib' not in sys.modules\n"
        "print(report.write(Path(sys.argv[1]), study_results.quick()))"
    )
    dropped = {"DISPLAY", "MPLCONFIGDIR", "MPLBACKEND", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    environment = kept | {
        "HOME": str(nowhere / "home"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip() == str(tmp_path / "report.html")
