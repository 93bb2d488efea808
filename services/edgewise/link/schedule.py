"""What a link does by itself: changes at times after its start."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.link.changes import Change, change_from, quantity, words_said

REPEAT: Final = "repeat"
_LEAST_ROUND_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Schedule:
    """Changes in the order of their times.

    Attributes:
        steps: seconds after the beginning of a round, and the change.
        round_s: after which it begins again; None for one round.
    """

    steps: tuple[tuple[float, Change], ...]
    round_s: float | None = None


def parse_schedule(text: str) -> Schedule:
    """Read a schedule.

    Args:
        text: steps `TIME:WORDS`, parted by commas or line ends, such as `10s:blackhole, 20s:heal`; from "#" on a line is
            a comment. The words are those of `edgewise link set`; `20s:repeat` begins again.
    Raises: InvalidArgumentError: a step cannot be; the message names it and says what would be right.
    """
    steps: list[tuple[float, Change]] = []
    last_s = 0.0
    round_s: float | None = None
    for step in _steps(text):
        time_word, colon, words = step.partition(":")
        if not colon:
            raise InvalidArgumentError(f"the step {step!r} has no time; expected one such as 10s:blackhole")
        at_s = quantity(time_word, "s", f"the time of the step {step!r}")
        if at_s < last_s:
            raise InvalidArgumentError(f"the step {step!r} lies before the one ahead of it; expected rising times")
        if round_s is not None:
            raise InvalidArgumentError(f"the step {step!r} stands behind {REPEAT}, which has to be the last")
        last_s = at_s
        if words.strip() == REPEAT:
            round_s = at_s
            continue
        try:
            steps.append((at_s, change_from(words_said(words.split()))))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"the step {step!r}: {error.message}") from None
    if not steps:
        raise InvalidArgumentError("the schedule is empty; expected steps such as 10s:blackhole,20s:heal")
    if round_s is not None and round_s < _LEAST_ROUND_S:
        raise InvalidArgumentError(f"{REPEAT} is at {round_s:g} s; expected at least {_LEAST_ROUND_S:g} s")
    return Schedule(tuple(steps), round_s)


def _steps(text: str) -> Iterable[str]:
    for line in text.splitlines():
        for step in line.partition("#")[0].split(","):
            if step.strip():
                yield step.strip()
