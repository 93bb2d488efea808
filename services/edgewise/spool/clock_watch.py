"""Whether the wall clock can be believed: one that was wrong, or jumps, must not make samples look old.

A device without a clock of its own may boot years ago, be set right by the network, and boot years ago again. What is known for sure is
the latest time that was ever seen; it is kept with the counters, so that a process that starts knows it as well.
"""

import math
from dataclasses import dataclass
from typing import Final

_LEAST_TOLERANCE_S: Final = 600.0
_BEHIND_S: Final = 86400.0
_AHEAD_S: Final = 60.0
_CLOCK_WAS_SET_S: Final = 1577836800.0  # 2020: a clock that says less was never set


@dataclass(frozen=True, slots=True)
class ClockMemory:
    """What is known of the wall clock; all in seconds since the epoch.

    Attributes:
        seen_s: the latest time, roughly; None where nobody has looked yet.
        behind_s: the time at which the clock was found to be behind that; None where it is not.
    """

    seen_s: float | None = None
    behind_s: float | None = None


@dataclass(frozen=True, slots=True)
class ClockLook:
    """What a look at the clock says of files.

    Attributes:
        memory: for the next look.
        earliest_s, latest_s: a file with a time outside of these is taken to be from `anew_s`.
        is_believed: the clock goes on from where it was; otherwise no file is old, and those that are being written are from `anew_s`.
    """

    memory: ClockMemory
    earliest_s: float
    latest_s: float
    anew_s: float
    is_believed: bool


def look_at_clock(memory: ClockMemory, now_s: float, retention_s: float) -> ClockLook:
    """Judge the clock.

    Ahead by more than a tenth of the retention (ten minutes at least), it has jumped, or nobody has looked for so long: all files are taken to
    be from now, since nobody can tell which of them have a wrong time. Behind by as much, it is not believed for a day: what is written then
    is taken to be from the latest time that was seen. So a file goes too early by that tenth at most.

    Args:
        now_s: seconds since the epoch.
    """
    tolerance_s = max(_LEAST_TOLERANCE_S, retention_s / 10)
    seen_s, behind_s = memory.seen_s, memory.behind_s
    latest_s = now_s + _AHEAD_S
    if seen_s is None or now_s - seen_s > tolerance_s:
        return ClockLook(ClockMemory(now_s), now_s, latest_s, now_s, is_believed=False)
    if seen_s - now_s > tolerance_s:
        if behind_s is None or now_s < behind_s:
            memory = ClockMemory(seen_s, now_s)
        elif now_s - behind_s >= _BEHIND_S:
            return ClockLook(ClockMemory(now_s), now_s, latest_s, now_s, is_believed=False)
        return ClockLook(memory, latest_s, math.inf, seen_s, is_believed=False)
    if behind_s is not None:
        # It is right again. What is older than the retention was written while it was not: else it would have gone before that.
        return ClockLook(ClockMemory(max(seen_s, now_s)), seen_s - retention_s, latest_s, now_s, is_believed=False)
    if now_s - seen_s > tolerance_s / 4:
        # Not at each look: it is written to the disk.
        memory = ClockMemory(now_s)
    earliest_s = _CLOCK_WAS_SET_S if now_s >= _CLOCK_WAS_SET_S else 0.0
    return ClockLook(memory, earliest_s, latest_s, now_s, is_believed=True)
