"""Changes at times after the start."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.link.changes import Change
from edgewise.link.faults import Direction, Fault, Kind
from edgewise.link.schedule import Schedule, parse_schedule


def test_steps_are_parted_by_commas_or_lines():
    steps = (
        (10.0, Change(fault=Fault(kind=Kind.BLACKHOLE, direction=Direction.UP))),
        (12.5, Change(heal=True)),
        (60.0, Change(profile="3g")),
    )
    assert parse_schedule("10s:blackhole up, 12500ms:heal,1min:profile 3g") == Schedule(steps)
    assert parse_schedule("# a cut\n10s: blackhole up\n\n12.5: heal # over\n60s:profile 3g\n") == Schedule(steps)


def test_repeat_begins_again():
    assert parse_schedule("0s:blackhole,0.2s:heal,0.4s:repeat").round_s == 0.4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the schedule is empty"),
        ("# nothing", "the schedule is empty"),
        ("blackhole", "the step 'blackhole' has no time; expected one such as 10s:blackhole"),
        ("soon:heal", "the time of the step 'soon:heal' is 'soon'"),
        ("2s:heal,1s:reset", "the step '1s:reset' lies before"),
        ("2s:mend", "the step '2s:mend': unknown 'mend'"),
        ("2s:profile 5g", "the step '2s:profile 5g': there is no profile '5g'"),
        ("2s:heal,3s:repeat,4s:reset", "stands behind repeat"),
        ("0s:heal,0s:repeat", "repeat is at 0 s; expected at least 0.01 s"),
    ],
)
def test_a_step_that_cannot_be_is_named(text, message):
    with pytest.raises(InvalidArgumentError, match=message):
        parse_schedule(text)
