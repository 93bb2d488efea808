import re
from importlib.resources import files

import pytest
from jinja2 import Environment, UndefinedError, nodes

from edgewise.hub.pages.rendering import Renderer, path

PAGES = files("edgewise.hub.pages")
TEMPLATES = sorted((PAGES / "templates").iterdir(), key=lambda file: file.name)


@pytest.fixture(scope="module")
def renderer():
    return Renderer(lambda: 1_700_000_000.0)


def test_what_people_wrote_is_shown_as_they_wrote_it(renderer):
    page = renderer.page("login.html", {"to": '"><script>alert(1)</script>', "problem": "<b>&"}).body.decode()
    assert "<script>alert" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_value_that_a_template_lacks_is_an_error_and_no_gap(renderer):
    with pytest.raises(UndefinedError):
        renderer.page("problem.html", {"title": "x"})


def test_names_in_addresses_stay_names():
    assert path("sites", "a/../b?c#d e") == "/sites/a%2F..%2Fb%3Fc%23d%20e"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(template):
    # What the content security policy forbids would silently not work.
    text = template.read_text()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:|https?://", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_nothing_is_marked_as_safe(template):
    tree = Environment(autoescape=True).parse(template.read_text())
    assert not [one for one in tree.find_all(nodes.Filter) if one.name == "safe"]
    assert not list(tree.find_all(nodes.MarkSafe))
    assert not list(tree.find_all(nodes.ScopedEvalContextModifier))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_every_form_that_moves_something_carries_the_session_key(template):
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", template.read_text(), re.DOTALL):
        assert "csrf(visitor)" in form or 'action="/login"' in form


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_every_table_has_a_caption_and_every_head_a_scope(template):
    text = template.read_text()
    assert text.count("<table") == text.count("<caption")
    assert not re.search(r"<th(?![a-z])(?![^>]*scope=)", text)


def test_an_asset_is_found_under_its_digest_alone(renderer):
    *_, digest, name = renderer.assets.url("live.js").split("/")
    found = renderer.assets.answer(digest, name)
    assert found.media_type == "text/javascript"
    assert "immutable" in found.headers["cache-control"]
    assert renderer.assets.answer("0" * 16, name) is None
    assert renderer.assets.answer(digest, "../rendering.py") is None
    assert renderer.assets.answer(digest, "pages.css") is None


def test_the_script_asks_nobody_else_and_writes_no_markup():
    text = (PAGES / "static" / "live.js").read_text()
    assert "http" not in text
    assert "innerHTML" not in text
    assert "eval(" not in text
