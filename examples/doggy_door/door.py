"""Whether the door is open: a state machine without clock, camera, network or lock.

It is told what each picture shows (`see`), that a picture had no answer (`miss`), and how late it is (`pass_time`). After each of them `is_open` is
the decision. Shut is where it begins and where every doubt leads; only an unbroken row of good answers keeps it open.

Times are seconds of one monotonic clock, which the caller reads.
"""

import enum
from collections import deque
from dataclasses import dataclass


class Seen(enum.StrEnum):
    """What a picture shows, as far as the door is concerned."""

    DOG = "dog"
    """Confidently a dog, and nothing of a cat."""
    CAT = "cat"
    """A cat, or something that may well be one."""
    UNSURE = "unsure"
    """Perhaps a dog."""
    NEITHER = "neither"


class State(enum.StrEnum):
    """Where the door stands; it is open in OPEN only."""

    SHUT = "shut"
    OPEN = "open"
    VETO = "veto"
    """Shut, since a cat was seen: no dog opens it before the time is over."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What it takes to open, and to stay open.

    Attributes:
        needed, of: so many confident dogs among the last so many pictures; at least 2, so that one picture never opens.
        window_s: pictures older than this are no evidence.
        veto_s: for so long after a cat the door stays shut.
        hold_s: it shuts so long after the last dog.
        max_open_s: it shuts after so long, dog or no dog, and needs the evidence anew.
        silent_s: it shuts when nothing was answered for so long.
        stale_s: an answer about a picture that is older than this does not count.

    Raises:
        ValueError: rules that cannot be kept, or that are not safe.
    """

    needed: int = 3
    of: int = 5
    window_s: float = 3.0
    veto_s: float = 20.0
    hold_s: float = 4.0
    max_open_s: float = 60.0
    silent_s: float = 1.5
    stale_s: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.needed <= self.of:
            raise ValueError(
                f"needed is {self.needed} of {self.of} pictures; it must be 2 at least, since one picture may be wrong, "
                "and no more than there are"
            )
        for name in ("window_s", "veto_s", "hold_s", "max_open_s", "silent_s", "stale_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name):g}; it must be more than 0 seconds")


class Door:
    """The decision, and why it is as it is.

    Args:
        rules: what it takes.
        now_s: when it begins, shut.

    Attributes:
        state: where it stands.
        why: what put it there, for people.
    """

    def __init__(self, rules: Rules, *, now_s: float) -> None:
        self.state = State.SHUT
        self.why = "just started"
        self._rules = rules
        self._now_s = now_s
        self._evidence: deque[tuple[float, bool]] = deque(maxlen=rules.of)
        self._last_picture_s = float("-inf")
        self._answered_s = now_s
        self._dog_s = now_s
        self._opened_s = now_s
        self._veto_until_s = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether a dog may pass."""
        return self.state is State.OPEN

    def see(self, seen: Seen, *, taken_s: float, now_s: float) -> bool:
        """An answer about a picture has come.

        A cat counts however old its picture is, and whatever else is wrong with it.

        Args:
            seen: what the picture shows.
            taken_s: when it was taken.
            now_s: when the answer came.

        Returns: whether it counted; an answer about an old picture, or about one before another that has counted, does not.
        """
        self.pass_time(now_s=now_s)
        is_fresh = self._last_picture_s < taken_s <= self._now_s and self._now_s - taken_s <= self._rules.stale_s
        if seen is Seen.CAT:
            self._veto_until_s = self._now_s + self._rules.veto_s
            self._shut(State.VETO, "a cat was seen")
        if not is_fresh:
            return False
        self._last_picture_s = taken_s
        self._answered_s = self._now_s
        if seen is Seen.CAT:
            return True
        self._evidence.append((taken_s, seen is Seen.DOG))
        if seen is Seen.DOG:
            self._dog_s = self._now_s
            self._consider_opening()
        return True

    def miss(self, *, now_s: float) -> None:
        """A picture had no answer: it counts among the last pictures, as one without a dog."""
        self.pass_time(now_s=now_s)
        self._evidence.append((self._now_s, False))

    def pass_time(self, *, now_s: float) -> None:
        """It is so late now, and nothing else is known. A clock that runs back stands still here."""
        self._now_s = max(self._now_s, now_s)
        if self.state is State.VETO and self._now_s >= self._veto_until_s:
            self._shut(State.SHUT, "no cat was seen any more")
        if self.state is State.OPEN:
            self._consider_shutting()

    def _consider_opening(self) -> None:
        rules = self._rules
        since_s = self._now_s - rules.window_s
        dogs = sum(is_dog for taken_s, is_dog in self._evidence if taken_s >= since_s)
        if self.state is State.SHUT and dogs >= rules.needed:
            self.state = State.OPEN
            self.why = f"a dog on {dogs} of the last {len(self._evidence)} pictures"
            self._opened_s = self._now_s

    def _consider_shutting(self) -> None:
        rules = self._rules
        if self._now_s - self._answered_s >= rules.silent_s:
            self._shut(State.SHUT, f"nothing was answered for {rules.silent_s:g} s")
        elif self._now_s - self._opened_s >= rules.max_open_s:
            self._shut(State.SHUT, f"it was open for {rules.max_open_s:g} s")
        elif self._now_s - self._dog_s >= rules.hold_s:
            self._shut(State.SHUT, f"no dog was seen for {rules.hold_s:g} s")

    def _shut(self, state: State, why: str) -> None:
        """Shut, and begin to look for a dog anew."""
        self.state = state
        self.why = why
        self._evidence.clear()
