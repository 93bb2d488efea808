import io
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from edgewise.dataset.likeness import near_pairs, picture_bits
from edgewise.dataset.settings import DEFAULT_NEAR_BITS
from support.pictures import content, picture

PHOTOGRAPHS = sorted((Path(__file__).parents[3] / "examples" / "images").glob("*.jpg"))


def opened(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def apart(one, other):
    return int(np.bitwise_count(picture_bits(one) ^ picture_bits(other)).sum())


def test_photographs_of_different_things_are_far_apart():
    photographs = [opened(path).resize((256, 256)) for path in PHOTOGRAPHS]
    assert min(apart(one, other) for one, other in combinations(photographs, 2)) > 2 * DEFAULT_NEAR_BITS


def test_a_photograph_saved_anew_is_near():
    for path in PHOTOGRAPHS:
        photograph = opened(path)
        worse = Image.open(io.BytesIO(content(photograph, "JPEG", quality=40)))
        smaller = photograph.resize((photograph.width // 2, photograph.height // 2))
        assert apart(photograph, worse) <= DEFAULT_NEAR_BITS
        assert apart(photograph, smaller) <= DEFAULT_NEAR_BITS


def test_pairs_connect_what_is_near():
    bits = np.array([[0, 0], [1 << 40, 3], [0xFFFF, 0], [0xFFFE, 0], [0, 0], [0, 1]], np.uint64)
    assert joined(bits, 0) == {frozenset({0, 4})}
    assert joined(bits, 1) == {frozenset({0, 4, 5}), frozenset({2, 3})}
    assert joined(bits, 3) == {frozenset({0, 1, 4, 5}), frozenset({2, 3})}


def test_no_pictures_have_no_pairs():
    assert not list(near_pairs(np.empty((0, 2), np.uint64), 10))


def test_blocks_miss_nothing(monkeypatch):
    monkeypatch.setattr("edgewise.dataset.likeness._BLOCK_PAIRS", 7)
    bits = np.stack([picture_bits(picture(number)) for number in (1, 2, 3, 1, 4, 2, 5)])
    assert joined(bits, 0) == {frozenset({0, 3}), frozenset({1, 5})}
    bits = np.array([[1 << place, 0] for place in range(20)], np.uint64)
    assert joined(bits, 2) == {frozenset(range(20))}


def joined(bits, most):
    from edgewise.dataset.grouping import group

    names = [str(index) for index in range(len(bits))]
    groups = group([()] * len(bits), names, near_pairs(bits, most))
    return {frozenset(each.members) for each in groups if len(each.members) > 1}
