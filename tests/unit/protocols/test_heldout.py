import json

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.heldout import Example, Heldout, check_heldout, heldout_bytes, read_heldout

TWO = Heldout((Example("a.jpg", "dog"), Example("b.png", "cat")))


def document(**changes):
    examples = [{"file": "a.jpg", "label": "dog"}]
    return json.dumps({"format": "edgewise-heldout/1", "examples": examples, **changes}).encode()


def test_examples_come_back():
    assert read_heldout(heldout_bytes(TWO)) == TWO
    assert read_heldout(document(output="labels")) == Heldout((Example("a.jpg", "dog"),), "labels")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "x"}, "heldout/heldout.json: format: found 'x', expected edgewise-heldout/1"),
        ({"examples": []}, r"examples: found 0, expected 1 to 1000 pictures with file and label"),
        ({"examples": [{"file": "a.jpg", "label": "x"}] * 2}, r"examples\[1\].file: 'a.jpg' is named twice"),
        (
            {"examples": [{"file": "../a.jpg", "label": "x"}]},
            r"examples\[0\].file: found '../a.jpg', expected the name",
        ),
        ({"examples": [{"file": "a.jpg"}]}, r"examples\[0\].label: missing"),
        (
            {"examples": [{"file": "a.jpg", "label": ""}]},
            r"examples\[0\].label: found '', expected what the model is to say",
        ),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        read_heldout(document(**changes))


def test_pictures_have_to_be_there_and_small():
    assert check_heldout(heldout_bytes(TWO), {"a.jpg": 10, "b.png": 1 << 20}) == TWO
    with pytest.raises(InvalidArgumentError, match="names 'b.png', which is not in heldout/"):
        check_heldout(heldout_bytes(TWO), {"a.jpg": 10})
    with pytest.raises(InvalidArgumentError, match="heldout/a.jpg has 0 bytes; expected a picture of at most 1048576"):
        check_heldout(heldout_bytes(TWO), {"a.jpg": 0, "b.png": 1})
