import pytest

from edgewise.core.wording import counted
from edgewise.hub.pages import words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (4_718_592, "4.7 MB"),
        (99_949_999, "99.9 MB"),
        (123_456_789, "123 MB"),
        (999_600_000, "1.0 GB"),
        (5_000_000_000_000_000_000, "5000 PB"),
    ],
)
def test_sizes_are_counted_in_thousands(count, text):
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (6000, "1.7 h"), (200_000, "2 days")],
)
def test_lengths_of_time_have_one_unit(seconds, text):
    assert words.length(seconds) == text


def test_what_was_just_now_is_no_number():
    assert words.ago(100.0, 100.4) == "just now"
    assert words.ago(100.0, 112.0) == "12 s ago"
    assert words.ago(None, 112.0) == "never"


def test_a_clock_that_was_set_back_makes_nothing_negative():
    assert words.ago(200.0, 100.0) == "just now"


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0, "0 %"), (0.004, "+0.4 %"), (-0.02, "−2 %"), (1e-9, "0 %"), (-0.00123, "−0.12 %"), (-1.0, "−100 %")],
)
def test_differences_carry_their_sign(difference, text):
    assert words.points(difference) == text


def test_one_thing_is_no_things():
    assert counted(1, "site") == "1 site"
    assert counted(1200, "site") == "1,200 sites"
    assert counted(2, "thing needs", "things need") == "2 things need"


@pytest.mark.parametrize(
    ("prediction", "scores", "confidence", "text"),
    [
        ("dog", (("cat", 0.5), ("dog", 0.4)), 0.5, "dog 40 %"),
        ("other", (("grey fox", 0.0567), ("skunk", 0.01)), 0.0567, "other (grey fox 5.67 %)"),
        ("dog", (), 0.6, "dog (confidence 60 %)"),
        ("dog", (), None, "dog"),
    ],
)
def test_a_share_is_said_of_that_whose_it_is(prediction, scores, confidence, text):
    assert words.answer(prediction, scores, confidence) == text
