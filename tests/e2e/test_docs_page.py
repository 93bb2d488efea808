"""The page for people at /docs, in a real browser."""

import json
import urllib.request
from pathlib import Path

import pytest

TAB, ENTER = "\ue004", "\ue007"


@pytest.fixture(scope="module")
def server(start_server, pets_repository, tiny_repository, tmp_path_factory):
    both = tmp_path_factory.mktemp("both")
    (both / "pets").symlink_to(pets_repository / "pets")
    (both / "tiny").symlink_to(tiny_repository / "tiny")
    return start_server("--repository", str(both), "--site", "cellar")


CAT = str(Path(__file__).parent.parent.parent / "examples" / "images" / "cat.jpg")


def described(browser):
    browser.wait("return document.querySelectorAll('#paths details').length")


def test_the_page_describes_the_api_and_asks_nobody_else(browser, server):
    browser.open(f"{server.rest_url}/docs")
    described(browser)
    browser.wait("return document.querySelector('#state').innerText === 'ready'")
    with urllib.request.urlopen(f"{server.rest_url}/openapi.json", timeout=10) as answer:
        paths = json.load(answer)["paths"]
    shown = browser.run("return [...document.querySelectorAll('#paths summary code')].map(one => one.innerText)")
    assert sorted(shown) == sorted(path for path, verbs in paths.items() for _ in verbs)
    # What is folded away opens by keyboard and says parameters, an example and answers.
    browser.run("[...document.querySelectorAll('summary')].find(one => one.innerText.includes(':predict')).focus()")
    browser.press(ENTER)
    opened = browser.text("#paths details[open]")
    for part in ("model (path)", f"curl {server.rest_url}/v1/models/tiny:predict -d", "429"):
        assert part in opened
    assert browser.console() == []
    assert browser.strangers(server, asked="/openapi.json") == []


def test_an_image_is_predicted_by_keyboard_alone(browser, server):
    browser.open(f"{server.rest_url}/docs")
    described(browser)
    browser.run("document.querySelector('#model').focus()")
    order = [browser.focused()]
    for _ in range(3):
        browser.press(TAB)
        order.append(browser.focused())
    assert order == ["model", "key", "image", "button"]
    # The dialog that chooses a file is the browser's own; the protocol fills the field instead.
    browser.type("#image", CAT)
    browser.press(ENTER)
    browser.wait("return document.querySelector('#verdict')")
    assert browser.text("#verdict") == "cat"
    assert "cat" in browser.text("#answer table")
    assert "at cellar (edge)" in browser.text("#answer")
    assert browser.run("return document.querySelector('#answer img').naturalWidth") > 100
    assert browser.console() == []
    # Enter in a text field asks again.
    browser.run("document.querySelector('#answer').replaceChildren()")
    browser.run("document.querySelector('#model').focus()")
    browser.press(ENTER)
    browser.wait("return document.querySelector('#verdict')")
    assert browser.strangers(server, asked="/openapi.json") == []


def test_errors_are_shown_where_they_are_read_out(browser, server, tmp_path):
    browser.open(f"{server.rest_url}/docs")
    described(browser)
    browser.run("document.querySelector('#model').value = '<i>absent</i>'")
    browser.type("#image", CAT)
    browser.run("document.querySelector('#try button').click()")
    browser.wait("return document.querySelector('#answer [role=alert]')")
    assert "Malformed request" in browser.text("#answer [role=alert]")
    browser.run("document.querySelector('#model').value = 'tiny'")
    browser.run("document.querySelector('#try button').click()")
    browser.wait("return document.querySelector('#answer').innerText.includes('no signature that takes images')")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(Path(CAT).read_bytes()[:500])
    browser.run("document.querySelector('#model').value = 'pets'")
    browser.type("#image", str(broken))
    browser.run("document.querySelector('#try button').click()")
    browser.wait("return document.querySelector('#answer summary')?.innerText.includes('400')")
    server_is_gone = "window.fetch = () => Promise.reject(new Error('cut'))"
    browser.run(server_is_gone)
    browser.run("document.querySelector('#try button').click()")
    browser.wait("return document.querySelector('#answer').innerText.includes('No answer: cut')")


def test_with_an_api_key(browser, start_server, pets_repository, tmp_path):
    (tmp_path / "keys").write_text("visitor a-key-of-theirs\n")
    server = start_server("--repository", str(pets_repository), "--api-keys", str(tmp_path / "keys"))
    browser.open(f"{server.rest_url}/docs")
    described(browser)
    browser.type("#image", CAT)
    browser.run("document.querySelector('#try button').click()")
    browser.wait("return document.querySelector('#answer summary')?.innerText.includes('401')")
    browser.type("#key", "a-key-of-theirs")
    browser.press(ENTER)
    browser.wait("return document.querySelector('#verdict')?.innerText === 'cat'")
