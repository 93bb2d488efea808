"""Locust's web page in a real browser: a test is started, changed and stopped by its buttons."""

import json
import re
import urllib.request

import pytest

FILL = """
const field = document.querySelector(`[name="${arguments[0]}"]`);
const kind = field.tagName === "SELECT" ? HTMLSelectElement : HTMLInputElement;
Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, arguments[1]);
for (const event of ["input", "change"]) field.dispatchEvent(new Event(event, {bubbles: true}));
"""
PRESS = """
const found = [...document.querySelectorAll("button")].find(one => one.innerText.trim().toUpperCase() === arguments[0]);
if (found) found.click();
return !!found;
"""
REQUESTS = """
const row = [...document.querySelectorAll("tbody tr")].find(one => one.innerText.includes(arguments[0]));
return row ? Number(row.querySelectorAll("td")[2].innerText) : 0;
"""


@pytest.fixture(scope="module")
def starting(start_locust, serving):
    """A locust with its web page, which starts while the browser does."""
    words = ("--host", serving.rest_url, "--model", "tiny", "--web-host", "127.0.0.1", "--web-port", "0")
    return start_locust("rest_json", *words, csv_files=False)


@pytest.fixture
def page(starting, browser):
    """It, with the page's address; the browser shows the page."""
    run = starting
    run.url = run.wait_for(lambda: listening(run), "the page is there")
    browser.open(run.url)
    return run


def listening(run):
    """The port that the process listens on; locust does not say which one it was given."""
    from pathlib import Path

    try:
        names = {str(one.readlink()) for one in Path(f"/proc/{run.process.pid}/fd").iterdir()}
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return ""
    for fields in map(str.split, lines):
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in names:
            return f"http://127.0.0.1:{int(fields[1].rpartition(':')[2], 16)}"
    return ""


def fill(browser, **values):
    browser.wait("return !!document.querySelector('form')")
    for name, value in values.items():
        browser.run(FILL, name, value)
    browser.run("document.querySelector('form [type=submit]').click()")


def state(page):
    with urllib.request.urlopen(f"{page.url}/stats/requests", timeout=20) as answer:
        return json.loads(answer.read())


def test_tests_are_started_changed_and_stopped_by_the_buttons(browser, page, answered, tmp_path):
    before = answered("tfs-rest", "tiny")
    fill(browser, userCount="4", spawnRate="4", engine="open", rate="40", shape="sideways")
    browser.wait("return document.body.innerText.includes(\"the load shape 'sideways' is not understood\")")
    browser.run("document.querySelector('form').scrollIntoView()")
    assert state(page)["state"] == "ready"

    fill(browser, shape="")
    browser.wait(f"return (() => {{{REQUESTS}}})(...arguments) > 20", "rest-json tiny")
    assert browser.run(PRESS, "EDIT")
    fill(browser, userCount="8", spawnRate="8")
    page.wait_for(lambda: state(page)["user_count"] == 8, "twice as many users")
    browser.wait("return document.body.innerText.includes('RUNNING')")
    browser.screenshot(tmp_path / "running.png")
    print(f"screenshot of a test that runs: {tmp_path / 'running.png'}")

    assert browser.run(PRESS, "STOP")
    page.wait_for(lambda: state(page)["state"] == "stopped", "the test is stopped")
    found = {row["name"]: row for row in state(page)["stats"]}
    assert found["rest-json tiny"]["num_failures"] == 0
    # All that was sent has been counted, though the test was stopped while requests were on their way.
    assert found["rest-json tiny"]["num_requests"] == answered("tfs-rest", "tiny") - before
    assert page.children("swarm.engine_process") == []

    with urllib.request.urlopen(f"{page.url}/engines", timeout=20) as answer:
        text = answer.read().decode()
    assert re.search(rf"open +REST +rest-json tiny +{found['rest-json tiny']['num_requests']} +0 ", text), text

    # Another one, in which both engines take their turns.
    browser.wait(PRESS, "NEW")
    fill(browser, userCount="4", spawnRate="4", engine="both", rate="40", runTime="3s")
    page.wait_for(lambda: len(state(page)["stats"]) == 3, "rows of both engines and their sum")
    page.wait_for(lambda: state(page)["state"] == "stopped", "the run time is over")
    names = [row["name"] for row in state(page)["stats"]]
    assert names == ["rest-json tiny (closed)", "rest-json tiny (open)", "Aggregated"]
    browser.wait("return document.body.innerText.includes('STOPPED')")
    # The page asks for its figures every other second and no more once the test has stopped: opened anew, it shows the last ones.
    browser.open(page.url)
    browser.wait(f"return (() => {{{REQUESTS}}})(...arguments) > 20", "rest-json tiny (open)")
    browser.screenshot(tmp_path / "both.png")
    print(f"screenshot of both engines: {tmp_path / 'both.png'}")
    assert "Traceback" not in page.text
