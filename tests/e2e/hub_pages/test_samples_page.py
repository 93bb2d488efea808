"""Samples in a real browser: labelled by keys alone, looked at on a phone, and labelled without a script."""

import io
from pathlib import Path

import pytest
from PIL import Image

from edgewise.hub.control.actors import HUB, Role
from support.contrast import CONTRAST
from support.pages_world import World
from support.sample_world import label_of, sample_id, take
from support.waiting import wait_for

TAB, ENTER, RIGHT, LEFT, SPACE = "\ue004", "\ue007", "\ue014", "\ue012", " "
IMAGES = Path(__file__).parents[3] / "examples/images"
NAMES = ("cat", "astronaut", "bison", "bucket", "castle", "chair")
ON = "return document.getElementById('sample')?.querySelector('code').innerText === arguments[0]"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "hub")
    for number, name in enumerate(NAMES, 1):
        file = io.BytesIO()
        with Image.open(IMAGES / f"{name}.jpg") as image:
            image.thumbnail((480, 480))
            image.convert("RGB").save(file, "JPEG")
            width, height = image.size
        said = (("cat", 0.9), ("dog", 0.08), ("other", 0.02)) if name == "cat" else (("dog", 0.51), ("cat", 0.3))
        about = {"width": width, "height": height, "content_type": "image/jpeg", "source": f"front door {number}"}
        take(world.serving, number, file.getvalue(), scores=said, prediction=said[0][0], confidence=said[0][1], **about)
    yield world
    world.close()


def devtools(browser, command, **params):
    browser.command("POST", "/goog/cdp/execute", {"cmd": command, "params": params})


def test_pictures_are_labelled_by_keys_on_every_screen_and_without_a_script(browser, world, tmp_path):
    def seen(name):
        browser.screenshot(tmp_path / f"{name}.png")
        print(f"screenshot: {tmp_path / name}.png")

    def on(number):
        browser.wait(ON, sample_id(number))

    def label(number):
        return label_of(world.serving, sample_id(number))

    browser.open(f"{world.url}/samples")
    browser.type("#token", world.tokens[Role.OPERATOR] + ENTER)
    browser.wait("return document.querySelectorAll('.pictures img').length === 6")
    seen("1-grid")
    browser.run("document.querySelector('#to-label').click()")
    on(6)
    browser.run("window.stayed = true")
    # The next picture is asked for before anybody wants it.
    fetched = "return performance.getEntriesByType('resource').some(one => one.name.endsWith(arguments[0]))"
    browser.wait(fetched, f"/samples/{sample_id(5)}/picture")
    seen("2-labelling")

    # cat and dog have the keys 1 and 2, whatever the model said of each picture.
    browser.press("2")
    on(5)
    assert label(6) == "dog"
    browser.wait("return document.querySelector('#said').textContent.startsWith('Labelled dog.')")
    browser.press("1")
    on(4)
    assert label(5) == "cat"
    browser.press("u")
    on(5)
    assert label(5) == ""
    assert "Taken back" in browser.run("return document.querySelector('#said').textContent")
    browser.press(SPACE)
    on(4)
    browser.press(LEFT)
    on(5)
    browser.press(RIGHT)
    on(4)
    assert (label(5), label(4)) == ("", "")

    # A new label is typed, digits in it and all; keys mean nothing while somebody types.
    browser.run("document.querySelector('#new').focus()")
    browser.press(*"bucket 12 u", ENTER)
    on(3)
    assert label(4) == "bucket 12 u"
    browser.wait("return [...document.querySelectorAll('[data-key]')].some(one => one.value === 'bucket 12 u')")
    assert browser.run("return document.querySelector('#sample').contains(document.activeElement)")

    # The focus can be seen, and stays on the button of the same label from one picture to the next.
    browser.run("document.querySelector('#choice-1').focus()")
    browser.press(TAB)
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(ENTER)
    on(2)
    assert (label(3), browser.run("return document.activeElement.value")) == ("dog", "dog")
    seen("3-focus")

    # What the hub refuses is told, and the picture stays.
    browser.run("document.querySelector('#new').value = 'a/b'; document.querySelector('#give-new').click()")
    browser.wait("return document.querySelector('#wrong').textContent.includes('found the label')")
    on(2)
    seen("4-refused")
    assert browser.run("return window.stayed")
    assert [line for level, line in browser.console() if "400" not in line] == []

    # Before a sample is deleted somebody is asked, at first to leave it; behind the question no key labels anything.
    browser.run("document.querySelector('#delete').click()")
    browser.wait("return document.querySelector('dialog[open] #question')?.textContent.startsWith('Delete the sample')")
    seen("5-delete")
    browser.run("document.activeElement.blur()")
    browser.press("1")
    browser.run("document.querySelector('dialog [data-cancel]').focus()")
    browser.press(ENTER)
    browser.wait("return !document.querySelector('dialog[open]')")
    on(2)
    assert label(2) == ""

    # Keys can be switched off, for who speaks to the browser.
    browser.run("document.querySelector('#keys').click(); document.activeElement.blur()")
    browser.press("1", RIGHT)
    assert browser.run(ON, sample_id(2))
    assert label(2) == ""
    browser.run("document.querySelector('#keys').click()")

    # What was taken back is shown without its label, though the page was fetched before.
    browser.open(f"{world.url}/samples/{sample_id(2)}")
    browser.press("1")
    on(1)
    browser.press(LEFT)
    on(2)
    browser.press(LEFT)
    on(3)
    browser.wait(fetched, f"/samples/{sample_id(2)}")
    browser.press("u")
    on(2)
    assert browser.run("return document.querySelector('#name').textContent") == "No label yet"

    # What somebody else did meanwhile is shown, and stays.
    world.serving.asked(world.serving.hub.plane.samples.label, {sample_id(2): "fox"}, HUB)
    browser.press("1")
    browser.wait("return document.querySelector('#wrong').textContent.includes('the sample is labelled fox now')")
    browser.wait("return document.querySelector('#name').textContent === 'fox'")
    assert label(2) == "fox"
    # So it is with what was typed, which stays where it was typed.
    world.serving.asked(world.serving.hub.plane.samples.label, {sample_id(2): "owl"}, HUB)
    browser.run("document.querySelector('#new').select()")
    browser.press(*"wolf", ENTER)
    browser.wait("return document.querySelector('#name').textContent === 'owl'")
    browser.wait("return document.activeElement.id === 'new' && document.activeElement.value === 'wolf'")
    assert label(2) == "owl"
    browser.press(ENTER)
    on(1)
    assert label(2) == "wolf"
    world.serving.asked(world.serving.hub.plane.samples.label, {sample_id(2): ""}, HUB)
    browser.open(f"{world.url}/samples/{sample_id(2)}")

    for width, scheme in ((360, "light"), (360, "dark"), (1200, "dark"), (1200, "light")):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        devtools(browser, "Emulation.setDeviceMetricsOverride", **metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        devtools(browser, "Emulation.setEmulatedMedia", features=features)
        for name, path in (("grid", "/samples"), ("sample", f"/samples/{sample_id(1)}")):
            browser.open(f"{world.url}{path}")
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), (width, path)
            for text, ratio in browser.run(CONTRAST):
                assert ratio >= 4.5, (path, text, ratio)
            seen(f"{name}-{scheme}-{width}")

    devtools(browser, "Emulation.setScriptExecutionDisabled", value=True)
    browser.command("POST", "/timeouts", {"implicit": 20_000})
    browser.open(f"{world.url}/samples/{sample_id(2)}?show=no")
    browser.command("POST", f"/element/{browser.find('#choice-1')}/click")
    wait_for(lambda: label(2) == "bucket 12 u" or label(2) == "cat")
    browser.find("[role=status] > span")
    browser.command("POST", f"/element/{browser.find('#undo')}/click")
    wait_for(lambda: label(2) == "")
    devtools(browser, "Emulation.setScriptExecutionDisabled", value=False)

    # A hub that is gone is told, and nothing is taken for done.
    browser.open(f"{world.url}/samples/{sample_id(1)}")
    world.serving.asked(world.serving.hub.plane.revoke_token, "operator", HUB)
    browser.press("1")
    browser.wait("return document.querySelector('#wrong').textContent.includes('You are logged out')")
    world.close()
    browser.press("1")
    browser.wait("return document.querySelector('#wrong').textContent.includes('The hub does not answer')")
