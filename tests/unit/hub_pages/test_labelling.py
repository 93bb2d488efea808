import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.pages.labelling import KEYS, Keys
from edgewise.hub.pages.sample_filter import Wanted, wanted
from edgewise.hub.store.samples import SampleFilter

DOG_CAT = (("dog", 0.6), ("cat", 0.4))
LABELS = st.lists(st.sampled_from([f"class {number}" for number in range(14)]), max_size=12)


def keys(choices):
    return {choice.label: choice.key for choice in choices}


def test_keys_are_given_to_verdicts_first_and_then_to_the_labels_that_are_used_most():
    choices = Keys().choices({"ant": 2, "cat": 5, "bee": 40}, {"other", "cat"}, "dog", DOG_CAT, "cat")
    assert [(one.label, one.key, one.score, one.is_current) for one in choices] == [
        ("cat", "1", 0.4, True),
        ("other", "2", None, False),
        ("bee", "3", None, False),
        ("ant", "4", None, False),
        ("dog", "", 0.6, False),
    ]


def test_what_a_network_saw_has_no_key_and_stands_by_its_score():
    scores = (("skunk", 0.3), ("Arabian camel", 0.2))
    found = Keys().choices({}, {"cat", "dog", "other"}, "other", scores, "")
    assert [(one.label, one.key) for one in found] == [
        ("cat", "1"),
        ("dog", "2"),
        ("other", "3"),
        ("skunk", ""),
        ("Arabian camel", ""),
    ]


def test_a_key_keeps_its_label_whatever_becomes_more_frequent():
    given_keys = Keys()
    assert keys(given_keys.choices({"cat": 2, "dog": 1}, (), "", (), "")) == {"cat": "1", "dog": "2"}
    later = keys(given_keys.choices({"bear": 30, "cat": 2, "dog": 9}, {"other"}, "", (), ""))
    assert later == {"cat": "1", "dog": "2", "other": "3", "bear": "4"}


def test_a_label_that_nobody_uses_any_more_makes_room_where_all_keys_are_taken():
    given_keys = Keys()
    used = {f"label {number}": 1 for number in range(9)}
    given_keys.choices(used, (), "", (), "")
    assert keys(given_keys.choices({**used, "new": 1}, (), "", (), ""))["new"] == ""
    later = keys(given_keys.choices({**used, "label 4": 0, "new": 1}, (), "", (), ""))
    assert (later["new"], later["label 8"], "label 4" in later) == ("5", "9", False)


@given(st.lists(st.tuples(LABELS, LABELS, LABELS), max_size=8))
def test_whatever_comes_a_label_that_was_given_never_changes_its_key(steps):
    given_keys, known, before = Keys(), set(), {}
    for given_labels, verdicts, seen in steps:
        known |= {*given_labels, *verdicts}
        scores = tuple((label, 0.1) for label in seen)
        choices = given_keys.choices(dict.fromkeys(known, 1), verdicts, "", scores, "")
        labels = [choice.label for choice in choices]
        assert len(set(labels)) == len(labels)
        assert known | set(seen) == set(labels)
        now = {choice.key: choice.label for choice in choices if choice.key}
        assert len(now) <= KEYS
        assert before.items() <= now.items()
        assert set(now.values()) <= known
        before = now


def test_what_is_chosen_is_kept_in_addresses():
    chosen = wanted({"show": "no", "site": " a&b ", "nonsense": "x", "version": ""})
    assert chosen == Wanted(show="no", site="a&b")
    assert chosen.link("/samples", after="1~a") == "/samples?show=no&site=a%26b&after=1~a"
    assert Wanted().link("/samples") == "/samples"
    assert Wanted().is_all


def test_what_is_chosen_is_what_the_hub_is_asked_for():
    chosen = Wanted(show="label:no", version="3", reason="drift", since="2026-11-01", until="2026-11-01")
    asked = chosen.filter()
    assert asked == SampleFilter(
        label="no", version=3, reason="drift", since_s=1793491200.0, until_s=1793491200.0 + 86400.0
    )
    assert [Wanted(show=show).filter().is_labelled for show in ("", "no", "yes")] == [None, False, True]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (Wanted(version="three"), "The version 'three' is none; expected a number such as 3"),
        (Wanted(version="9" * 30), "is none; expected a number"),
        (Wanted(since="yesterday"), "For the first day, 'yesterday' is no day"),
        (Wanted(until="2026-02-30"), "For the last day, '2026-02-30' is no day"),
    ],
)
def test_what_cannot_be_chosen_is_said(chosen, said):
    with pytest.raises(InvalidArgumentError) as error:
        chosen.filter()
    assert said in error.value.message
