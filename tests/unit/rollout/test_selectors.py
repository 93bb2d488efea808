"""Selectors mean what Kubernetes' mean."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.selectors import check_label, parse_selector

SITE = {"tier": "edge", "region": "eu", "gpu": "", "site.io/ring": "canary"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", True),
        ("  ", True),
        ("tier=edge", True),
        ("tier == edge", True),
        ("tier=cloud", False),
        ("tier!=cloud", True),
        ("tier!=edge", False),
        ("owner!=me", True),
        ("region in (eu, us)", True),
        ("region in (us)", False),
        ("region notin (us,ap)", True),
        ("region notin (eu)", False),
        ("owner notin (me)", True),
        ("gpu", True),
        ("owner", False),
        ("!owner", True),
        ("!gpu", False),
        ("gpu=", True),
        ("site.io/ring=canary,tier=edge , region in (eu)", True),
        ("site.io/ring=canary,tier=cloud", False),
        ("in=x", False),
    ],
)
def test_a_selector_means_sites_by_their_labels(text, meant):
    assert parse_selector(text).matches(SITE) is meant


@pytest.mark.parametrize(
    "text",
    [
        "=edge",
        "tier=edge,",
        "tier=edge,,gpu",
        "region in eu",
        "region in (e u)",
        "tier>3",
        "tier=edge gpu",
        "!",
        "a b",
        ",a",
    ],
)
def test_what_is_no_selector_is_refused_with_an_example(text):
    with pytest.raises(InvalidArgumentError, match=r"cannot understand .*expected requirements such as tier=edge"):
        parse_selector(text)


def test_labels_are_such_as_can_be_selected():
    check_label("site.io/ring", "canary-1")
    check_label("gpu", "")
    for key, value, what in (
        ("", "x", "key ''"),
        ("a,b", "x", "key 'a,b'"),
        ("ring", "a b", "value 'a b'"),
        ("ring", "a/", "value 'a/'"),
    ):
        with pytest.raises(InvalidArgumentError, match=f"label {what}: expected at most 63"):
            check_label(key, value)
