"""The steps of an outage mean what the link means by the same words."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.link.changes import change_from, subjects
from edgewise.link.schedule import parse_schedule
from edgewise.study.outage_steps import SUBJECTS, read_steps


@pytest.mark.parametrize(
    "text",
    [
        "2s:blackhole, 5s:heal",
        "500ms:blackhole up, 1s:heal",
        "0s:blackhole direction=down newcomers=accept held=drop for=5s\n3:heal # comment",
        "1s:drip bytes=10 interval=200ms, 2s:stall-above bytes=1200, 3s:heal",
        "1s:reset, 1s:fin, 1s:refuse, 1s:freeze, 1s:stall-accept",
        "1s:profile 4g, 2s:rtt 60ms, 3s:delay 5ms, 4s:jitter 1ms, 5s:loss 1%, 6s:bandwidth 64kbit",
        "1s:bandwidth none, 0.5min:bandwidth 1mbit",
    ],
)
def test_steps_mean_what_the_link_means(text):
    expected = parse_schedule(text)
    assert [(step.at_s, change_from(dict(step.said))) for step in read_steps(text)] == list(expected.steps)


def test_every_subject_of_the_link_is_known():
    assert set(SUBJECTS) == set(subjects())


def test_an_outage_without_steps_is_there_to_compare_with():
    assert read_steps("") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blackhole", "the step 'blackhole' has no time; expected one such as 2s:blackhole"),
        ("2s:", "the step '2s:': it says nothing"),
        ("soon:heal", "the time is 'soon'; expected a number with its unit"),
        ("2s:heal, 1s:blackhole", "the step '1s:blackhole' lies before the one ahead of it"),
        ("2s:cut", "unknown 'cut'"),
        ("2s:blackhol", "(did you mean 'blackhole'?)"),
        ("2s:heal now", "heal takes nothing, found 'now'"),
        ("2s:repeat", "its steps are written out; expected no repeat"),
        ("2s:rtt", "rtt takes one value"),
        ("2s:profile", "profile takes one value, such as: profile 4g"),
        ("2s:loss 1 2", "loss takes one value"),
        ("2s:drip byte=1", "drip does not take 'byte=1' (did you mean 'bytes'?)"),
        ("2s:drip bytes=-1", "bytes is '-1'; expected a whole number"),
        ("2s:drip interval=fast", "interval is 'fast'; expected a number with its unit"),
    ],
)
def test_a_step_that_cannot_be_is_refused(text, message):
    with pytest.raises(InvalidArgumentError) as caught:
        read_steps(text)
    assert message in caught.value.message
