"""Whether the wall clock can be believed: one that jumps ahead must not make all samples look old."""

from typing import Final

_JUMP_S: Final = 3600.0
_DOUBT_S: Final = 600.0


class ClockWatch:
    """Compares the wall clock with one that never jumps.

    Args:
        wall_s: seconds since the epoch.
        monotonic_s: seconds since any moment.
    """

    def __init__(self, wall_s: float, monotonic_s: float) -> None:
        self._offset_s = wall_s - monotonic_s
        self._believed_from_s = monotonic_s

    def is_steady(self, wall_s: float, monotonic_s: float) -> bool:
        """Whether it has not jumped ahead by more than an hour within the last ten minutes."""
        offset_s = wall_s - monotonic_s
        if offset_s - self._offset_s > _JUMP_S:
            self._believed_from_s = monotonic_s + _DOUBT_S
        self._offset_s = offset_s
        return monotonic_s >= self._believed_from_s
