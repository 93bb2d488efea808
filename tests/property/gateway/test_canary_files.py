"""Files of canaries: what was written is read, and nothing else is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.canaries import CanarySetting, CanarySettings, decode_canaries, encode_canaries

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
MODELS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}", fullmatch=True)
SHARES = st.floats(0.0, 1.0)
VERSIONS = st.integers(1, MAX_VERSION)


@st.composite
def settings_strategy(draw):
    found = {}
    for key in draw(st.lists(NAMES, max_size=4, unique=True)):
        old, new = draw(st.lists(VERSIONS, min_size=2, max_size=2, unique=True))
        slow_ms = draw(st.none() | st.floats(1e-6, 1e9))
        setting = CanarySetting(draw(NAMES), draw(MODELS), old, new, draw(SHARES), draw(SHARES), slow_ms, key)
        found[setting.site, setting.model] = setting
    return CanarySettings(draw(VERSIONS), tuple(found.values()))


@given(settings_strategy())
def test_what_was_written_is_read(settings):
    assert decode_canaries(encode_canaries(settings)) == settings


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
GOOD = {
    "format": "edgewise-canaries/1",
    "generation": 7,
    "canaries": [
        {"site": "e", "model": "m", "old": 1, "new": 2, "share": 0.1, "shadow": 0.0, "slow_ms": None, "key": "k"},
    ],
}  # fmt: skip
READ = decode_canaries(json.dumps(GOOD).encode())


@given(st.data())
def test_anything_else_is_refused_in_words_or_means_the_same(data):
    spoiled = json.loads(json.dumps(GOOD))
    target = data.draw(st.sampled_from([spoiled, spoiled["canaries"][0]]))
    name = data.draw(st.sampled_from(sorted(target)))
    if data.draw(st.booleans()):
        target[name] = data.draw(JSON)
    else:
        del target[name]
    try:
        settings = decode_canaries(json.dumps(spoiled).encode())
    except InvalidArgumentError as error:
        refused = error.message
    else:
        refused = ""
    if refused:
        assert refused.startswith("the canary file: ")
        assert "expected" in refused
        return
    assert settings.generation >= 1
    for one in settings.canaries:
        assert one.site
        assert one.key
        assert one.old != one.new
        assert 0.0 <= one.share <= 1.0
        assert 0.0 <= one.shadow <= 1.0
        assert one.slow_ms is None or one.slow_ms > 0.0


@given(st.binary(max_size=200))
def test_any_bytes_do_no_harm(content):
    with pytest.raises(InvalidArgumentError):
        decode_canaries(content)


def test_two_for_one_place_or_of_one_key_are_refused():
    for changes, words in (({"key": "other"}, "m at e is there twice"), ({"site": "f"}, "the key 'k' is there twice")):
        second = {**GOOD["canaries"][0], **changes}
        content = json.dumps({**GOOD, "canaries": [*GOOD["canaries"], second]}).encode()
        with pytest.raises(InvalidArgumentError, match=words):
            decode_canaries(content)


def test_what_a_newer_agent_adds_is_passed_over():
    newer = {**GOOD, "about": "x", "canaries": [{**GOOD["canaries"][0], "sticky": True}]}
    assert decode_canaries(json.dumps(newer).encode()) == READ
