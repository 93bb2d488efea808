"""What talking and acting share: each writes what it knows and reads what the other wrote, and neither ever waits for the other."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewise.core.rollout.orders import Order
from edgewise.core.rollout.reports import Progress


@dataclass(frozen=True, slots=True)
class Situation:
    """What is asked of the site, and what it may do.

    Attributes:
        generation: of the desired state; 0 before there was one.
        hold: why nothing new may be fetched or switched to at the moment; "" when it may.
        floors: the lowest version that may run, by model.
    """

    generation: int = 0
    orders: tuple[Order, ...] = ()
    hold: str = ""
    floors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    """How far the site is.

    Attributes:
        loaded: versions of each model that are loaded.
        serving: the version of each model that answers everything outside of a division.
    """

    progress: tuple[Progress, ...] = ()
    loaded: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    serving: Mapping[str, int] = field(default_factory=dict)


class Board:
    """Both, under one lock that is held for an assignment only."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._situation = Situation()
        self._shown = Shown()
        self._asked = 0
        self._stopped = False

    def ask(self, situation: Situation) -> None:
        """Say what is asked of the site; who acts looks at once."""
        with self._changed:
            if situation != self._situation:
                self._situation = situation
                self._wake()

    def situation(self) -> Situation:
        """What is asked of the site."""
        with self._changed:
            return self._situation

    def show(self, shown: Shown) -> None:
        """Say how far the site is; who reports looks at once."""
        with self._changed:
            if shown != self._shown:
                self._shown = shown
                self._changed.notify_all()

    def shown(self) -> Shown:
        """How far the site is."""
        with self._changed:
            return self._shown

    def look_again(self) -> None:
        """Something came about that who acts may go on from."""
        with self._changed:
            self._wake()

    def wait_to_act(self, timeout_s: float) -> None:
        """Wait until there may be something to do, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked > 0 or self._stopped, timeout_s)
            self._asked = 0

    def wait_to_report(self, known: Shown, timeout_s: float) -> None:
        """Wait until something else is shown, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._shown != known or self._stopped, timeout_s)

    def pause(self, seconds: float) -> None:
        """Wait for so long, unless it all ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, seconds)

    def stop(self) -> None:
        """It all ends."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether it all ends."""
        with self._changed:
            return self._stopped

    def _wake(self) -> None:
        self._asked += 1
        self._changed.notify_all()
