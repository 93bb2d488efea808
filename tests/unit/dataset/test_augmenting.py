import numpy as np
import pytest

from edgewise.dataset.augmenting import apply, draw
from edgewise.dataset.settings import Augmentation, Change, Strengths
from support.pictures import picture

DIGESTS = [f"{number:064x}" for number in range(200)]


def drawn(*changes, **strengths):
    augmentation = Augmentation(changes, 1, Strengths(**strengths))
    return [draw(augmentation, 1, digest, 1) for digest in DIGESTS]


def values(image):
    return np.asarray(image).astype(float)


def test_a_copy_repeats_and_no_two_are_the_same():
    augmentation = Augmentation(tuple(Change), 3)
    assert draw(augmentation, 1, DIGESTS[0], 1) == draw(augmentation, 1, DIGESTS[0], 1)
    others = [(1, DIGESTS[0], 2), (1, DIGESTS[1], 1), (2, DIGESTS[0], 1)]
    assert all(draw(augmentation, *other) != draw(augmentation, 1, DIGESTS[0], 1) for other in others)


def test_a_draw_does_not_depend_on_what_else_is_done():
    alone, together = drawn(Change.ROTATE), drawn(*Change)
    assert [each["rotate"] for each in alone] == [each["rotate"] for each in together]


def test_changes_stay_within_their_strengths_and_are_never_nothing():
    for each in drawn(*Change, rotate_degrees=10, resize_ratio=0.3, stretch_ratio=0.1, brighten_ratio=0.5):
        assert 2 <= abs(each["rotate"]) <= 10
        assert 0.06 <= abs(each["resize"] - 1) <= 0.3
        assert 0.02 <= abs(each["stretch"] - 1) <= 0.1
        assert 1.1 <= each.get("brighten", 1.2) <= 1.5
        assert 0.6 <= each.get("darken", 0.7) <= 0.92
        assert ("brighten" in each) != ("darken" in each)
    ways = [each["rotate"] > 0 for each in drawn(Change.ROTATE)]
    assert 60 < sum(ways) < 140
    flips = [bool(each.get("flip")) for each in drawn(Change.FLIP, Change.ROTATE)]
    assert 60 < sum(flips) < 140


def test_flip_alone_always_flips():
    assert all(each == {"flip": True} for each in drawn(Change.FLIP))
    image = picture(1)
    assert np.array_equal(values(apply(image, {"flip": True})), values(image)[:, ::-1])


@pytest.mark.parametrize("changes", [{"rotate": 12.0}, {"resize": 0.8}, {"stretch": 1.15}, {"brighten": 1.3}])
def test_a_picture_keeps_its_size(changes):
    image = picture(1, (50, 30))
    made = apply(image, changes)
    assert made.size == image.size
    assert not np.array_equal(values(made), values(image))


def test_brighter_and_darker():
    image = picture(1)
    assert values(apply(image, {"brighten": 1.2})).mean() == pytest.approx(1.2 * values(image).mean(), rel=0.05)
    assert values(apply(image, {"darken": 0.7})).mean() == pytest.approx(0.7 * values(image).mean(), rel=0.02)


def test_rotation_is_by_so_many_degrees_to_the_left():
    image = picture(1, (41, 41))
    inner = slice(10, 31)
    turned = values(image.rotate(90))[inner, inner]
    assert np.abs(values(apply(image, {"rotate": 90.0}))[inner, inner] - turned).mean() < 3


def test_what_comes_in_at_the_edges_has_the_mean_colour():
    image = picture(1, (200, 200))
    made = values(apply(image, {"resize": 0.5}))
    assert made[0, 0] == pytest.approx(values(image).reshape(-1, 3).mean(axis=0), abs=1)
    larger = values(apply(image, {"resize": 2.0}))
    assert larger[100, 100] == pytest.approx(values(image)[100, 100], abs=4)
