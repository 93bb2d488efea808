"""What a link can be told, as JSON and as words."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.link.changes import Change, change_from, words_said
from edgewise.link.faults import Direction, Fault, Held, Kind, Newcomers
from edgewise.link.profiles import PROFILES, Conditions


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ({"profile": "3g"}, Change(profile="3g")),
        ({"delay_ms": 30}, Change(conditions={"delay_up_ms": 30.0, "delay_down_ms": 30.0})),
        ({"rtt_ms": 30}, Change(conditions={"delay_up_ms": 15.0, "delay_down_ms": 15.0})),
        ({"delay_up_ms": 5, "jitter_ms": 1}, Change(conditions={"delay_up_ms": 5.0, "jitter_ms": 1.0})),
        ({"kbit_s": 64}, Change(conditions={"up_kbit_s": 64.0, "down_kbit_s": 64.0})),
        ({"down_kbit_s": None}, Change(conditions={"down_kbit_s": None})),
        ({"fault": None}, Change(heal=True)),
        ({"fault": "none"}, Change(heal=True)),
        ({"fault": "reset"}, Change(fault=Fault(kind=Kind.RESET))),
        (
            {"fault": "blackhole", "direction": "up", "newcomers": "accept", "held": "drop", "for_s": 3},
            Change(
                fault=Fault(
                    kind=Kind.BLACKHOLE,
                    direction=Direction.UP,
                    newcomers=Newcomers.ACCEPT,
                    held=Held.DROP,
                    for_s=3.0,
                )
            ),
        ),
        ({"fault": "drip"}, Change(fault=Fault(kind=Kind.DRIP, bytes=1, interval_ms=1000.0))),
        ({"fault": "stall-above"}, Change(fault=Fault(kind=Kind.STALL_ABOVE, bytes=1200))),
    ],
)
def test_json_says_a_change(said, change):
    assert change_from(said) == change


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "expected a JSON object"),
        ("blackhole", "expected a JSON object"),
        ({}, "there is nothing to change"),
        ({"falt": "reset"}, "unknown key 'falt' .did you mean 'fault'"),
        ({"fault": "blackout"}, "fault is 'blackout'; expected one of blackhole, freeze, reset"),
        ({"fault": 7}, "fault is 7; expected one of"),
        ({"fault": "blackhole", "direction": "left"}, "direction is 'left'; expected one of up, down, both"),
        ({"direction": "up"}, "direction goes with a fault"),
        ({"fault": None, "for_s": 1}, "for_s goes with a fault"),
        ({"fault": "reset", "direction": "up"}, "direction says nothing of reset; it goes with blackhole and drip and"),
        ({"fault": "reset", "bytes": 1}, "bytes says nothing of reset"),
        ({"fault": "drip", "bytes": 0}, "bytes is 0; expected a whole number, 1 or more"),
        ({"fault": "drip", "bytes": 1.5}, "bytes is 1.5; expected a whole number"),
        ({"fault": "drip", "bytes": True}, "bytes is True; expected a whole number"),
        ({"fault": "drip", "interval_ms": 0}, "interval_ms is 0; expected 1 to 60000"),
        ({"fault": "freeze", "held": "drop"}, "held says nothing of freeze"),
        ({"fault": "freeze", "for_s": 0}, "for_s is 0; expected more than 0"),
        ({"profile": "5g"}, "there is no profile '5g'"),
        ({"profile": 4}, "profile is 4; expected a name in quotes"),
        ({"delay_ms": "30"}, "delay_ms is '30'; expected a number"),
        ({"delay_ms": None}, "delay_ms is null; expected a number"),
        ({"delay_ms": -3}, "delay_up_ms is -3; expected 0 to 60000"),
        ({"rtt_ms": float("inf")}, "rtt_ms is inf; expected a number"),
        ({"loss_ratio": 5}, "loss_ratio is 5; expected 0 or more and less than 1"),
    ],
)
def test_json_that_says_none_is_refused_with_what_would_be_right(said, message):
    with pytest.raises(InvalidArgumentError, match=message):
        change_from(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("heal", {"fault": None}),
        ("blackhole", {"fault": "blackhole"}),
        ("blackhole up", {"fault": "blackhole", "direction": "up"}),
        (
            "blackhole direction=down for=500ms newcomers=refuse held=backoff",
            {"fault": "blackhole", "direction": "down", "for_s": 0.5, "newcomers": "refuse", "held": "backoff"},
        ),
        ("drip bytes=10 interval=0.2s", {"fault": "drip", "bytes": 10, "interval_ms": 200.0}),
        ("stall-above bytes=1200 up", {"fault": "stall-above", "bytes": 1200, "direction": "up"}),
        ("profile slow-4g", {"profile": "slow-4g"}),
        ("delay 60ms", {"delay_ms": 60.0}),
        ("delay 60ms direction=up", {"delay_up_ms": 60.0}),
        ("rtt 0.3s", {"rtt_ms": 300.0}),
        ("jitter 5", {"jitter_ms": 5.0}),
        ("loss 0.5%", {"loss_ratio": 0.005}),
        ("loss 0.01", {"loss_ratio": 0.01}),
        ("bandwidth 64kbit", {"kbit_s": 64.0}),
        ("bandwidth 10mbit direction=down", {"down_kbit_s": 10_000.0}),
        ("bandwidth none", {"kbit_s": None}),
    ],
)
def test_words_stand_for_json(words, said):
    assert words_said(words.split()) == said
    change_from(said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "there is nothing to set; expected one of blackhole"),
        ("blackhol", "unknown 'blackhol' .did you mean 'blackhole'"),
        ("heal now", "heal takes no value, found 'now'"),
        ("heal for=3s", "for= says nothing of heal"),
        ("blackhole sideways", "blackhole takes no value, found 'sideways'"),
        ("blackhole size=3", "unknown option 'size'"),
        ("drip bytes=few", "bytes is 'few'; expected a whole number"),
        ("blackhole for=ever", "for is 'ever'; expected a number with its unit, such as 10s"),
        ("delay", "delay takes one value, such as: delay 60ms"),
        ("delay 60 ms", "delay takes one value, such as: delay 60ms"),
        ("delay fast", "delay is 'fast'; expected a number with its unit, such as 60ms"),
        ("delay -3ms", "delay is '-3ms'; expected a number"),
        ("delay 3ms direction=left", "direction is 'left'; expected up, down or both"),
        ("delay 3ms bytes=3", "bytes= says nothing of delay; options: direction="),
        ("loss 1% direction=up", "direction says nothing of loss"),
        ("profile 4g direction=up", "direction= says nothing of profile"),
        ("bandwidth 3furlongs", "bandwidth is '3furlongs'"),
    ],
)
def test_words_that_stand_for_none_are_refused_with_what_would_be_right(words, message):
    with pytest.raises(InvalidArgumentError, match=message):
        words_said(words.split())


def test_a_profile_forgets_what_was_set_singly_and_takes_what_is_set_with_it():
    before = Conditions(delay_up_ms=99, jitter_ms=9)
    after = change_from({"profile": "3g", "up_kbit_s": 64}).applied_to(before)
    assert (after.delay_up_ms, after.jitter_ms) == (100, PROFILES["3g"].conditions.jitter_ms)
    assert after.up_kbit_s == 64
    assert change_from({"jitter_ms": 1}).applied_to(before) == Conditions(delay_up_ms=99, jitter_ms=1)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_fault_is_described_in_the_words_that_it_takes(kind):
    fault = Fault(kind=kind, for_s=2.0)
    assert change_from(fault.described()).fault == fault
