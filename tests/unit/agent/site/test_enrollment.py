"""The word that a person carries, and how wrong ones are told."""

import base64
import json

import pytest

from edgewise.agent.site.identity import parse_enrollment
from edgewise.core.errors import InvalidArgumentError

GOOD = {"hub": "https://hub.example.com/", "site": "edge-1", "token": "once", "root_sha256": "a" * 64}


def word(value):
    return "ew1." + base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_it_says_hub_site_token_and_what_trust_begins_with():
    found = parse_enrollment(f"  {word(GOOD)}\n")
    assert (found.hub, found.site, found.token, found.root_sha256) == (
        "https://hub.example.com",
        "edge-1",
        "once",
        "a" * 64,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("once", "begins with"),
        ("ew1.", "damaged"),
        ("ew1.!!!", "damaged"),
        (word(GOOD)[:-9], "damaged"),
        (word([1]), "damaged"),
        (word({**GOOD, "hub": "ftp://x"}), "hub: found 'ftp://x', expected a URL"),
        (word({**GOOD, "root_sha256": "short"}), "root_sha256"),
        (word({"hub": "https://h"}), "site: missing"),
    ],
)
def test_what_is_none_says_what_would_be(text, words):
    with pytest.raises(InvalidArgumentError, match=words):
        parse_enrollment(text)
