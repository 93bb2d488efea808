import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.pages.labelling import KEYS, Labelling
from edgewise.hub.pages.sample_filter import Wanted, wanted
from edgewise.hub.store.samples import SampleFilter

DOG_CAT = (("dog", 0.6), ("cat", 0.4))
LABELS = st.lists(st.sampled_from([f"class {number}" for number in range(14)]), max_size=12)


def keys(choices):
    return {choice.label: choice.key for choice in choices}


def test_labels_that_were_given_come_before_those_of_the_model():
    choices = Labelling().choices(["other", "cat"], DOG_CAT, "dog", "cat")
    assert [(one.label, one.key, one.score, one.is_current) for one in choices] == [
        ("cat", "1", 0.4, True),
        ("other", "2", None, False),
        ("dog", "3", 0.6, False),
    ]


def test_a_key_keeps_its_label_from_one_sample_to_the_next():
    labelling = Labelling()
    assert keys(labelling.choices([], DOG_CAT, "dog", "")) == {"cat": "1", "dog": "2"}
    assert keys(labelling.choices(["ant"], (("bird", 0.9),), "bird", "")) == {
        "cat": "1",
        "dog": "2",
        "ant": "3",
        "bird": "4",
    }


def test_a_label_that_is_new_gets_a_key_where_the_model_had_taken_all_of_them():
    labelling = Labelling()
    scores = tuple((f"breed {number}", 0.1) for number in range(12))
    first = keys(labelling.choices([], scores, "", ""))
    assert [first[f"breed {number}"] for number in (0, 11, 10, 6, 7)] == ["1", "4", "3", "9", ""]
    second = keys(labelling.choices(["dog"], scores, "", ""))
    assert second["dog"] == "9"
    assert second["breed 6"] == ""
    assert second["breed 0"] == "1"


@given(st.lists(st.tuples(LABELS, LABELS), max_size=8))
def test_whatever_comes_a_label_that_was_given_never_changes_its_key(steps):
    labelling, known, before = Labelling(), set(), {}
    for given_labels, predicted in steps:
        known |= set(given_labels)
        scores = tuple((label, 0.1) for label in predicted)
        choices = labelling.choices(known, scores, "", "")
        labels = [choice.label for choice in choices]
        assert len(set(labels)) == len(labels)
        assert known | set(predicted) <= set(labels)
        now = {choice.key: choice.label for choice in choices if choice.key}
        assert len(now) <= KEYS
        for key, label in before.items():
            assert now[key] == label
        before = {key: label for key, label in now.items() if label in known}


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
