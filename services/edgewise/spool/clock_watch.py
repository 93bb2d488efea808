"""How old samples are by a wall clock that may be wrong, or jump: it must neither make them look old, nor keep them for good.

A device without a clock of its own may boot years ago, be set right by the network, and boot years ago again. What is known for sure is
the latest time that was ever seen; it is kept with the counters, so that a process that starts knows it as well. A clock that is far ahead of
that has jumped, or the device was off: the two cannot be told apart, so that time counts for nothing, and the time before it still counts.
The jumps are remembered, and the times of files are left as they are: whoever looks may be another user than the one who may set them.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

MOST_JUMPS: Final = 64
SEEN_S: Final = 300.0
"""So often at least the latest time is written down."""
_LEAST_TOLERANCE_S: Final = 600.0
_BEHIND_S: Final = 86400.0
_AHEAD_S: Final = 60.0
_CLOCK_WAS_SET_S: Final = 1577836800.0  # 2020: a clock that says less was never set


@dataclass(frozen=True, slots=True)
class Jump:
    """A time that does not count; seconds, and seconds since the epoch.

    Attributes:
        before_s: files up to that time are from before it.
        to_s: the clock went on from there.
        gap_s: how long it was.
        blurred_s: of the time that does count between jumps that were made one of, to remember fewer.
    """

    before_s: float
    to_s: float
    gap_s: float
    blurred_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ClockMemory:
    """What is known of the wall clock; all in seconds since the epoch.

    Attributes:
        seen_s: the latest time, roughly; None where nobody has looked yet.
        behind_s: the time at which the clock was found to be behind that; None where it is not.
        jumps: ahead, oldest first, within the retention; `MOST_JUMPS` at most.
    """

    seen_s: float | None = None
    behind_s: float | None = None
    jumps: tuple[Jump, ...] = ()

    def is_worth_writing(self, written: "ClockMemory") -> bool:
        """Not at each look: only what the next process has to know."""
        if self.seen_s is None or written.seen_s is None:
            return self != written
        is_same = (self.behind_s, self.jumps) == (written.behind_s, written.jumps)
        return not is_same or abs(self.seen_s - written.seen_s) >= SEEN_S


@dataclass(frozen=True, slots=True)
class ClockLook:
    """What a look at the clock says of files.

    Attributes:
        memory: for the next look.
        earliest_s, latest_s: a file with a time outside of these is taken to be from `anew_s`.
        is_believed: the clock goes on from where it was; otherwise no file is old.
        jumps: by which times of files are to be moved.
    """

    memory: ClockMemory
    earliest_s: float
    latest_s: float
    anew_s: float
    is_believed: bool
    jumps: tuple[Jump, ...] = ()

    def time_s(self, changed_s: float) -> float:
        """When a file would have been written had there been no jumps since."""
        return _moved(changed_s, self.jumps)


def look_at_clock(memory: ClockMemory, now_s: float, retention_s: float) -> ClockLook:
    """Judge the clock.

    Ahead by more than a tenth of the retention (ten minutes at least), it has jumped, or nobody has looked for so long: that time does not
    count, and what is older than the retention without it has a wrong time. Behind by as much, it is not believed for a day: what is written
    then is taken to be from the latest time that was seen. So a file goes too early by that tenth at most.

    Args:
        now_s: seconds since the epoch.
    """
    tolerance_s = max(_LEAST_TOLERANCE_S, retention_s / 10)
    seen_s, behind_s = memory.seen_s, memory.behind_s
    latest_s = now_s + _AHEAD_S
    if seen_s is None:
        return ClockLook(ClockMemory(now_s), now_s, latest_s, now_s, is_believed=False)
    if seen_s - now_s > tolerance_s:
        if behind_s is not None and now_s - behind_s >= _BEHIND_S:
            return ClockLook(ClockMemory(now_s), now_s, latest_s, now_s, is_believed=False)
        return _look_behind(memory, now_s, retention_s + tolerance_s)
    jumps = memory.jumps
    is_ahead = now_s - seen_s > tolerance_s
    if is_ahead:
        jumps = _bounded((*jumps, Jump(seen_s + tolerance_s, now_s, now_s - seen_s)))
    while jumps and _moved(jumps[0].to_s, jumps[1:]) < now_s - retention_s:
        # All from before it is too old.
        jumps = jumps[1:]
    memory = ClockMemory(max(seen_s, now_s), None, jumps)
    if is_ahead or behind_s is not None:
        # What is older than the retention was written while the clock was wrong: else it would have gone before that.
        earliest_s = (now_s if is_ahead else seen_s) - retention_s
        return ClockLook(memory, earliest_s, latest_s, now_s, is_believed=False, jumps=jumps)
    earliest_s = _CLOCK_WAS_SET_S if now_s >= _CLOCK_WAS_SET_S else 0.0
    return ClockLook(memory, earliest_s, latest_s, now_s, is_believed=True, jumps=jumps)


def _look_behind(memory: ClockMemory, now_s: float, oldest_s: float) -> ClockLook:
    """Args: oldest_s: no file is older."""
    seen_s, behind_s, jumps = memory.seen_s or now_s, memory.behind_s, memory.jumps
    latest_s = now_s + _AHEAD_S
    earliest_s = latest_s
    after = next((place for place, each in enumerate(jumps) if each.before_s >= now_s), None)
    if behind_s is None and after is not None:
        since_s = jumps[after - 1].to_s if after else jumps[0].before_s - oldest_s
        if now_s >= since_s:
            # The clock goes through the time before this jump once more: nobody could tell which files are from the first time.
            earliest_s = max(latest_s, jumps[after].before_s)
            jumps = (*jumps[:after], *jumps[after + 1 :])
    memory = ClockMemory(seen_s, now_s if behind_s is None else min(now_s, behind_s), jumps)
    return ClockLook(memory, earliest_s, math.inf, seen_s, is_believed=False)


def _moved(changed_s: float, jumps: tuple[Jump, ...]) -> float:
    for jump in jumps:
        if changed_s <= jump.before_s:
            changed_s = min(changed_s + jump.gap_s, jump.to_s)
    return changed_s


def _bounded(jumps: tuple[Jump, ...]) -> tuple[Jump, ...]:
    """Where there are too many, the two between which the least time counts become one; a file from between them is kept longer by that."""
    if len(jumps) <= MOST_JUMPS:
        return jumps
    joined = [_joined(*pair) for pair in pairwise(jumps)]
    place = min(range(len(joined)), key=lambda each: joined[each].blurred_s)
    return (*jumps[:place], joined[place], *jumps[place + 2 :])


def _joined(one: Jump, other: Jump) -> Jump:
    between_s = max(0.0, other.before_s - one.to_s)
    return Jump(other.before_s, other.to_s, one.gap_s + other.gap_s, one.blurred_s + other.blurred_s + between_s)
