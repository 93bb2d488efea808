"""The hub's pages in a real browser: rollouts are steered while sites move, by mouse, by keyboard, and without a script."""

import json
import time

import pytest

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.control.actors import Role
from support.contrast import CONTRAST
from support.control_world import OPERATOR
from support.pages_world import LOOSE, World
from support.waiting import wait_for

TAB, ENTER, ESCAPE, SPACE = "\ue004", "\ue007", "\ue00c", " "
SPECIFICATION = """\
model: pets
version: 2
waves:
  - {name: canary, sites: ring=first, at_once: 100%}
  - {name: everyone, at_once: 100%, may_fail: 1}
gates: {errors: off, latency: off, golden: false}
"""
UNPROVEN = SPECIFICATION.replace("errors: off", "errors: {margin: 1%}")
"""Hardly anybody asks its sites anything, so only a person can say that it is good."""
STATE = "return document.querySelector('h1 + .badge')?.innerText.includes(arguments[0])"
CELL = """
const cell = [...document.querySelectorAll('.cell')].find(one => one.querySelector('a').innerText === arguments[0]);
return cell?.querySelector('.state').innerText.includes(arguments[1]);
"""


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    for name, labels in (("edge-berlin", {"ring": "first"}), ("edge-paris", {}), ("edge-rome", {})):
        world.site(name, **labels)
    world.release(1)
    world.release(2)
    yield world
    world.close()


@pytest.fixture
def seen(browser, tmp_path):
    """Takes a picture, to be looked at by people."""

    def take(name):
        browser.screenshot(tmp_path / f"{name}.png")
        print(f"screenshot: {tmp_path / name}.png")

    return take


def devtools(browser, command, **params):
    browser.command("POST", "/goog/cdp/execute", {"cmd": command, "params": params})


def log_in(browser, world, role=Role.OPERATOR):
    browser.open(f"{world.url}/")
    browser.type("#token", world.tokens[role] + ENTER)
    browser.wait("return document.querySelector('nav[aria-label=Main]') !== null")


def click(browser, selector):
    browser.command("POST", f"/element/{browser.find(selector)}/click")


def specify(browser, text):
    """Put a specification into the box, in place of the draft that is there."""
    browser.command("POST", f"/element/{browser.find('#text')}/clear")
    browser.type("#text", text)


def tab_to(browser, name):
    """Press Tab until an element has the focus, by its id."""
    for _ in range(60):
        if browser.focused() == name:
            return
        browser.press(TAB)
    pytest.fail(f"{name} is not reached by Tab; the focus is on {browser.focused()}")


def ask(browser, verb, why):
    """Ask for something in the dialog, and say why."""
    click(browser, f"#do-{verb}")
    browser.wait("return document.querySelector('dialog[open]') !== null")
    browser.wait("return document.activeElement.id === 'why'")
    browser.type("dialog #why", why)
    click(browser, "dialog form button")
    browser.wait("return document.querySelector('dialog[open]') === null && document.readyState === 'complete'")


def test_a_rollout_is_steered_from_start_to_abort_and_another_undone(browser, hub, seen, tmp_path):
    for version in (1, 2):
        hub.release(version, tmp_path / "pets")
    for name, labels in (("edge-berlin", {"ring": "first"}), ("edge-paris", {}), ("edge-rome", {})):
        hub.site(name, **labels)
    hub.follow()

    browser.open(f"{hub.url}/")
    browser.type("#token", hub.token + ENTER)
    browser.wait("return document.querySelector('nav[aria-label=Main]') !== null")
    seen("0-overview")
    click(browser, "main a[href='/rollouts/new']")
    specify(browser, UNPROVEN)
    click(browser, "button[value=plan]")
    browser.wait("return document.querySelector('#plan-title') !== null")
    assert browser.focused() == "plan-title"
    assert "3 sites in 2 waves" in browser.text("main")
    seen("1-plan")
    browser.type("#name", "pets-two")
    browser.type("#why", "evening window")
    click(browser, "button[value=start]")

    # What sites do is seen as it happens: the page that was there is still the same.
    browser.wait(STATE, "Progressing")
    browser.run("window.stayed = true")
    seen("2-started")
    browser.wait(CELL, "edge-berlin", "Active")
    browser.wait(CELL, "edge-rome", "Staged")
    assert browser.run("return window.stayed")
    seen("3-first-wave")

    ask(browser, "pause", "a question from the shop")
    browser.wait(STATE, "Paused")
    assert "a question from the shop" in browser.text("#needs")
    assert "pets-two was paused." in browser.text("main")
    seen("4-paused")

    click(browser, "#do-promote")
    browser.wait("return document.querySelector('dialog[open]') !== null")
    seen("5-promote")
    browser.press(ESCAPE)
    browser.wait("return document.querySelector('dialog[open]') === null")
    assert hub.state("pets-two") == "Paused"
    ask(browser, "promote", "we looked at it ourselves")
    browser.wait(STATE, "Progressing")
    browser.wait(CELL, "edge-paris", "Active")
    browser.wait(CELL, "edge-rome", "Active")
    assert "(promoted by a person)" in browser.text("main")
    seen("6-promoted")

    ask(browser, "abort", "the shop calls")
    browser.wait(STATE, "RolledBack")
    for name in ("edge-berlin", "edge-paris", "edge-rome"):
        browser.wait(CELL, name, "RolledBack")
    assert browser.run("return document.querySelector('#actions')") is None
    seen("7-rolled-back")

    browser.open(f"{hub.url}/rollouts/new")
    specify(browser, SPECIFICATION)
    click(browser, "button[value=plan]")
    browser.wait("return document.querySelector('#plan-title') !== null")
    click(browser, "button[value=start]")
    browser.wait(STATE, "Completed")
    seen("8-completed")
    ask(browser, "undo", "customers complain")
    browser.wait(STATE, "RolledBack")
    seen("9-undone")

    browser.open(f"{hub.url}/audit")
    said = browser.text("main")
    for words in (
        "evening window",
        "a question from the shop",
        "we looked at it ourselves",
        "the shop calls",
        "customers complain",
    ):
        assert words in said
    seen("10-audit")
    assert browser.console() == []
    assert strangers(browser, hub) == []


def strangers(browser, hub):
    """What was asked for that is not of this hub."""
    entries = browser.command("POST", "/se/log", {"type": "performance"})
    events = [json.loads(entry["message"])["message"] for entry in entries]
    urls = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    assert f"{hub.url}/audit" in urls
    return [url for url in urls if not url.startswith((f"{hub.url}/", "chrome://", "data:"))]


def test_everything_is_reached_with_the_keyboard(browser, world, seen):
    world.begin(SPECIFICATION)
    browser.open(f"{world.url}/rollouts/pets-two")
    browser.wait("return document.activeElement.id === 'token'")
    browser.press(*world.tokens[Role.OPERATOR], ENTER)
    browser.wait(STATE, "Progressing")
    # The first stop leads past the menu.
    browser.press(TAB)
    assert browser.run("return document.activeElement.innerText") == "Skip to the content"
    assert browser.run("return document.activeElement.getBoundingClientRect().top >= 0")
    browser.press(ENTER)
    tab_to(browser, "do-pause")
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    seen("focus")
    browser.press(ENTER)
    browser.wait("return document.activeElement.id === 'why'")
    # Nothing behind the dialog can be reached while it is open; Escape leads back to where one was.
    inside = "return document.querySelector('dialog').contains(document.activeElement) || document.activeElement === document.body"
    for _ in range(8):
        browser.press(TAB)
        assert browser.run(inside)
    browser.press(ESCAPE)
    browser.wait("return document.activeElement.id === 'do-pause'")
    browser.press(ENTER)
    browser.wait("return document.activeElement.id === 'why'")
    browser.press(*"lunch", ENTER)
    browser.wait(STATE, "Paused")
    assert world.ask("rollout", "pets-two").why == "lunch"
    tab_to(browser, "do-resume")
    browser.press(ENTER)
    browser.wait("return document.activeElement.id === 'why'")
    browser.press(TAB, SPACE)
    browser.wait(STATE, "Progressing")
    assert browser.console() == []


def test_focus_scrolling_and_what_was_opened_stay_while_the_page_follows(browser, world):
    for number in range(40):
        world.site(f"store-{number:02}")
    world.begin(SPECIFICATION)
    log_in(browser, world)
    browser.open(f"{world.url}/rollouts/pets-two")
    click(browser, "#specification summary")
    browser.run("document.querySelector('[data-key=cell-store-30] a').focus()")
    browser.run("scrollTo(0, 700)")
    before = browser.run("return [document.activeElement.innerText, scrollY]")
    assert before[0] == "store-30"
    world.sites["edge-berlin"].step(time.time())
    browser.wait(CELL, "edge-berlin", "Downloading")
    world.command("pets-two", "pause", "a longer reason than before, so that there is more on the page than there was")
    browser.wait(STATE, "Paused")
    assert browser.run("return document.activeElement.innerText") == "store-30"
    assert browser.run("return document.querySelector('#specification').open")
    # What came above it moved it down, and the browser scrolled with it: it is still where it was seen.
    assert browser.run("return document.activeElement.getBoundingClientRect().top < innerHeight")
    assert "pets-two is Paused." in browser.text("#said")


def test_a_button_that_goes_away_hands_its_focus_on(browser, world):
    world.begin(SPECIFICATION)
    log_in(browser, world)
    browser.open(f"{world.url}/rollouts/pets-two")
    browser.run("document.querySelector('#do-pause').focus()")
    world.command("pets-two", "pause", "by somebody else")
    browser.wait("return document.activeElement.id === 'actions'")


def test_what_moved_on_while_somebody_decided_is_asked_again(browser, world):
    world.begin(SPECIFICATION)
    log_in(browser, world)
    browser.open(f"{world.url}/rollouts/pets-two")
    click(browser, "#do-promote")
    browser.wait("return document.activeElement.id === 'why'")
    world.command("pets-two", "pause", "it got worse")
    browser.wait(STATE, "Paused")
    browser.press(*"fine", ENTER)
    browser.wait("return document.querySelector('[role=alert]')?.innerText.includes('moved on in the meantime')")
    assert browser.run("return document.querySelector('#why').value") == "fine"
    assert not world.ask("rollout", "pets-two").waves[0].promoted


def test_without_a_script_the_same_is_done_on_pages_of_their_own(browser, world):
    devtools(browser, "Emulation.setScriptExecutionDisabled", value=True)
    # What is to be clicked is waited for: the driver cannot tell by itself when the next page is there.
    browser.command("POST", "/timeouts", {"implicit": 20_000})
    browser.open(f"{world.url}/rollouts/new")
    browser.type("#token", world.tokens[Role.OPERATOR] + ENTER)
    specify(browser, SPECIFICATION)
    click(browser, "button[value=plan]")
    browser.type("#name", "pets-two")
    click(browser, "button[value=start]")
    click(browser, "#do-pause")
    browser.type("#why", "lunch")
    click(browser, "form.confirm button")
    click(browser, "#do-abort")
    click(browser, "a[data-cancel]")
    assert world.state() == "Paused"
    click(browser, "#do-resume")
    click(browser, "form.confirm button")
    wait_for(lambda: world.state() == "Progressing")


def test_who_is_logged_out_and_a_hub_that_is_gone_are_told(browser, world):
    world.begin(SPECIFICATION)
    log_in(browser, world)
    browser.open(f"{world.url}/rollouts/pets-two")
    world.close()
    browser.wait("return !document.querySelector('#offline').hidden")
    assert "does not answer" in browser.text("#offline")


def test_a_token_that_was_revoked_is_told(browser, world):
    world.begin(SPECIFICATION)
    log_in(browser, world)
    browser.open(f"{world.url}/rollouts/pets-two")
    world.ask("revoke_token", "operator", OPERATOR)
    world.command("pets-two", "pause", "unseen")
    browser.wait("return document.querySelector('#offline').innerText.includes('You are logged out')")
    assert "unseen" not in browser.text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 940, 360])
def test_every_page_can_be_read_on_every_screen(browser, world, seen, scheme, width):
    everything(world)
    log_in(browser, world)
    devtools(
        browser, "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
    )
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    devtools(browser, "Emulation.setEmulatedMedia", features=features)
    for number, path in enumerate(
        (
            "/",
            "/sites",
            "/sites/edge-berlin",
            "/rollouts",
            "/rollouts/all-states",
            "/rollouts/all-states/promote",
            "/rollouts/new",
            "/releases",
            "/audit",
            "/sites/none",
        )
    ):
        browser.open(f"{world.url}{path}")
        browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), path
        ratios = browser.run(CONTRAST)
        assert len(ratios) > 8, path
        for text, ratio in ratios:
            assert ratio >= 4.5, (path, text, ratio)
        assert browser.run("return document.getAnimations().length") == 0, path
        seen(f"{scheme}-{width}-{number}")


def everything(world):
    """A rollout whose sites are in every state that one can be in."""
    states = (
        SiteState.DOWNLOADING,
        SiteState.STAGED,
        SiteState.ACTIVATING,
        SiteState.VERIFYING,
        SiteState.ACTIVE,
        SiteState.ROLLED_BACK,
        SiteState.FAILED,
    )
    for state in states:
        world.site(
            f"store-{state.value.lower()}",
            ring="last",
            **{"a-label-with-a-long-name": "and-a-value-that-is-long-as-well"},
        )
    world.begin(LOOSE.replace("{name: all}", "{name: all, may_fail: 100%}"), name="all-states")
    for state in states:
        site = world.sites[f"store-{state.value.lower()}"]
        why = "disk full while staging: 12 MB are missing" if state == SiteState.FAILED else ""
        site.say(time.time(), "all-states", state, Want.RUN, why=why, stage=2, bytes_done=5, bytes_total=9)
    world.command("all-states", "pause", "so that there is something to see")
    world.ask("note", OPERATOR, "blob.put", "0123456789abcdef" * 4, {"sha256": "0123456789abcdef" * 4})
    world.ask("tick", time.time())
