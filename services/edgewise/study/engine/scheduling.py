"""The engine's place among the processes of the machine: its cores and its priority."""

import contextlib
import os
from pathlib import Path
from typing import Final

from edgewise.core.errors import InvalidArgumentError

_NICE: Final = -10


def raise_priority() -> str:
    """Go before others where that is allowed: a generator that waits for its turn measures its own waiting.

    Returns: what the process has now, for people: "SCHED_RR", "nice -10", or "normal".
    """
    try:
        # What it starts, if anything, is ordinary again.
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        pass
    else:
        return "SCHED_RR"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except OSError:
        return "normal"
    return f"nice {_NICE}"


def lower_priority() -> None:
    """Be as everybody else again: what comes between two runs is in no hurry."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) == _NICE:
            os.setpriority(os.PRIO_PROCESS, 0, 0)


def waited_s() -> float:
    """How long this process was ready to run and had no core, since it started; 0 where the system does not tell.

    Source: Linux, `Documentation/scheduler/sched-stats.rst`.
    """
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class Cores:
    """The cores that the process started with, and which of them it uses."""

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)

    def use(self, cpus: tuple[int, ...]) -> tuple[int, ...]:
        """Stay on these; all where none is named.

        Returns: those in use.
        Raises: InvalidArgumentError: the process may not use one of them.
        """
        wanted = set(cpus) or self._all
        if not wanted <= self._all:
            missing = ", ".join(map(str, sorted(wanted - self._all)))
            here = ", ".join(map(str, sorted(self._all)))
            raise InvalidArgumentError(
                f"the engine is to run on the cores {missing}, which are not there; there are {here}"
            )
        os.sched_setaffinity(0, wanted)
        return tuple(sorted(wanted))
