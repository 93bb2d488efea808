"""Whatever a network thinks: what the door is told of it makes no dog of what may be a cat."""

import pytest
from doggy_door.asking import Confidences, hidden_of, seen_of
from doggy_door.door import Seen
from doggy_door.naming import LABELS
from hypothesis import given
from hypothesis import strategies as st

DOGS, CATS = (frozenset((LABELS / f"{kind}.txt").read_text().splitlines()) for kind in ("dog", "cat"))
OTHERS = [f"thing {number}" for number in range(20)]
# A class of one's own network is in no network of ImageNet's.
NAMES = st.sampled_from([sorted(DOGS - {"dog"}) + sorted(CATS - {"cat"}) + OTHERS, ["dog", "cat", "other"]])


@st.composite
def thoughts(draw):
    """All classes of a network, likeliest first, with their probabilities."""
    names = draw(NAMES)
    # A few that stand out before many that do not, as networks think.
    heavy = draw(st.dictionaries(st.sampled_from(names), st.floats(0.01, 1), min_size=1, max_size=12))
    light = draw(st.sampled_from([0.0, 1e-6, 1e-3]))
    weights = {name: heavy.get(name, light) for name in names}
    whole = sum(weights.values())
    return sorted(((weight / whole, name) for name, weight in weights.items()), reverse=True)


@given(thoughts(), st.integers(1, 20), st.sampled_from(["dog", ""]), st.floats(0.01, 0.3))
def test_what_was_not_named_is_bounded_and_no_cat_gets_in_through_it(thought, top_k, verdict, threshold):
    labels, shares = [name for _, name in thought[:top_k]], [share for share, _ in thought[:top_k]]
    dog, cat = (
        sum(share for share, name in zip(shares, labels, strict=True) if name in known) for known in (DOGS, CATS)
    )
    hidden = hidden_of(labels, shares, CATS)
    true_cat = sum(share for share, name in thought if name in CATS)
    assert cat + hidden >= true_cat - 1e-9
    if len(labels) == len(thought):
        assert hidden == pytest.approx(0, abs=1e-9)
    seen = seen_of(verdict, dog=dog, cat=cat, hidden=hidden, confidences=Confidences(dog=0.6, cat=threshold))
    assert seen is not Seen.DOG or true_cat < threshold + 1e-9
