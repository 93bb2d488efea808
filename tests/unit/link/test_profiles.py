"""The named links: the design's round trips, and that each tells where its numbers are from."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.link.profiles import PROFILES, Conditions, profile_called

ROUND_TRIPS_MS = {
    "none": 0,
    "lan": 0,
    "fibre": 4,
    "cable": 4,
    "dsl": 10,
    "4g": 40,
    "starlink": 50,
    "slow-4g": 150,
    "3g": 200,
    "geo": 600,
    "edge-lossy": 840,
}


def test_the_round_trips_are_those_of_the_design():
    assert {name: profile.conditions.rtt_ms for name, profile in PROFILES.items()} == ROUND_TRIPS_MS


@pytest.mark.parametrize("profile", PROFILES.values(), ids=str)
def test_every_profile_names_its_source(profile):
    assert len(profile.source) > 20
    for unsourced in ("jitter_ms", "loss_ratio"):
        if getattr(profile.conditions, unsourced):
            assert unsourced.partition("_")[0] in profile.chosen + profile.source


def test_starlink_changes_its_path_every_15_s_and_never_gets_below_20_ms():
    conditions = profile_called("starlink").conditions
    assert conditions.slots is not None
    assert conditions.slots.length_s == 15
    assert conditions.rtt_ms - 2 * (conditions.slots.spread_ms + conditions.jitter_ms) == 20


def test_an_unknown_profile_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidArgumentError, match=r"no profile '5g'; expected one of none, lan, .*edge-lossy"):
        profile_called("5g")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("delay_up_ms", -1, "delay_up_ms is -1; expected 0 to 60000"),
        ("jitter_ms", 60_001, "jitter_ms is 60001; expected 0 to 60000"),
        ("delay_down_ms", float("nan"), "delay_down_ms is nan"),
        ("loss_ratio", 1, "loss_ratio is 1; expected 0 or more and less than 1"),
        ("up_kbit_s", 0, "up_kbit_s is 0; expected more than 0"),
    ],
)
def test_conditions_out_of_range_are_refused(field, value, said):
    with pytest.raises(InvalidArgumentError, match=said):
        Conditions(**{field: value})
