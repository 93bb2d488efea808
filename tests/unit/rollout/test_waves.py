"""Who moves with whom, and the arithmetic of shares."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.waves import ALL, NONE, Amount, Wave, late_wave, parse_amount, plan_waves

SITES = {f"s{number}": {"ring": "canary" if number < 2 else "rest", "number": str(number)} for number in range(10)}


@pytest.mark.parametrize(
    ("amount", "total", "at_least", "at_most"),
    [
        (Amount(share=0.25), 10, 3, 2),
        (Amount(share=0.25), 8, 2, 2),
        (Amount(share=0.25), 1, 1, 0),
        (Amount(share=0.25), 0, 0, 0),
        (Amount(share=0.07), 100, 7, 7),
        (Amount(count=3), 10, 3, 3),
        (Amount(count=3), 2, 2, 2),
        (NONE, 10, 1, 0),
        (ALL, 10, 10, 10),
    ],
)
def test_shares_are_rounded_to_the_safe_side(amount, total, at_least, at_most):
    assert (amount.at_least_one_of(total), amount.at_most_of(total)) == (at_least, at_most)


@pytest.mark.parametrize(
    ("written", "amount"),
    [(3, Amount(count=3)), (0, NONE), ("25%", Amount(share=0.25)), (" 2.5 % ", Amount(share=0.025)), ("100%", ALL)],
)
def test_amounts_are_numbers_or_percentages(written, amount):
    assert parse_amount(written) == amount


@pytest.mark.parametrize("written", [-1, True, 2.5, "25", "101%", "-3%", "%", None])
def test_other_amounts_are_refused(written):
    with pytest.raises(InvalidArgumentError, match="expected a number of sites such as 3, or a share of them"):
        parse_amount(written)


def test_amounts_are_shown_as_they_are_written():
    assert [str(amount) for amount in (NONE, Amount(count=12), Amount(share=0.25), ALL)] == ["0", "12", "25%", "100%"]


def test_a_site_goes_with_the_first_wave_that_means_it():
    canary, rest = plan_waves([Wave("canary", parse_selector("ring=canary")), Wave("rest")], SITES, key="r1")
    assert sorted(canary) == ["s0", "s1"]
    assert sorted(rest) == [f"s{number}" for number in range(2, 10)]


def test_a_wave_that_takes_a_part_leaves_the_others_to_the_next():
    waves = [
        Wave("some", amount=Amount(share=0.25)),
        Wave("more", amount=Amount(count=2)),
        Wave("rest", parse_selector("ring=rest")),
    ]
    some, more, rest = plan_waves(waves, SITES, key="r1")
    assert (len(some), len(more)) == (3, 2)
    left = set(SITES) - set(some) - set(more)
    assert set(rest) == {site for site in left if SITES[site]["ring"] == "rest"}


def test_the_draw_is_the_same_for_the_same_key_and_another_for_another():
    waves = [Wave("some", amount=Amount(count=3)), Wave("rest")]
    first = plan_waves(waves, SITES, key="r1")
    assert first == plan_waves(waves, dict(reversed(SITES.items())), key="r1")
    assert any(first != plan_waves(waves, SITES, key=f"r{number}") for number in range(2, 5))


@pytest.mark.parametrize(
    ("labels", "wave"),
    [({"ring": "canary"}, 2), ({"ring": "rest"}, 2), ({"ring": "rest", "gpu": ""}, 3), ({"old": ""}, None)],
)
def test_a_late_site_goes_with_the_last_wave_that_means_it_and_draws_nothing(labels, wave):
    waves = [
        Wave("canary", parse_selector("ring=canary")),
        Wave("drawn", amount=Amount(count=5)),
        Wave("rest", parse_selector("!old")),
        Wave("gpus", parse_selector("gpu")),
        Wave("more", amount=Amount(share=0.5)),
    ]
    assert late_wave(waves, labels) == wave
