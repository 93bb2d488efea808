"""What can be wrong with a link: the kinds of fault, and what may be said of each.

A link has one fault at a time; a new one takes the place of the one before.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from edgewise.core.errors import InvalidArgumentError

MAX_FOR_S: Final = 86_400.0
MAX_INTERVAL_MS: Final = 60_000.0


class Kind(StrEnum):
    """Kinds of fault; `MEANINGS` says what each does."""

    BLACKHOLE = "blackhole"
    FREEZE = "freeze"
    RESET = "reset"
    FIN = "fin"
    REFUSE = "refuse"
    STALL_ACCEPT = "stall-accept"
    DRIP = "drip"
    STALL_ABOVE = "stall-above"


MEANINGS: Final = MappingProxyType(
    {
        Kind.BLACKHOLE: "bytes are taken and go nowhere; nobody is told",
        Kind.FREEZE: "nothing is taken or given any more, connections are accepted: a server that was stopped",
        Kind.RESET: "every connection is reset, and each new one as soon as it is made",
        Kind.FIN: "every connection is closed in order, and each new one as soon as it is made",
        Kind.REFUSE: "new connections are refused; those that are open stay",
        Kind.STALL_ACCEPT: "new connections are not answered; those that are open stay",
        Kind.DRIP: "each connection gets a few bytes at a time",
        Kind.STALL_ABOVE: "a connection whose message is longer than so many bytes goes silent: small ones pass",
    }
)


class Direction(StrEnum):
    """Which way; up is from the client to the server."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class Newcomers(StrEnum):
    """What a blackhole does with new connections."""

    SILENT = "silent"
    ACCEPT = "accept"
    REFUSE = "refuse"


class Held(StrEnum):
    """What becomes of the bytes that a fault swallowed, once it is healed.

    DELIVER: they are sent again at once. BACKOFF: they are sent again when TCP's doubling timer would. DROP: they are lost
    and their connections are reset: the cut was longer than TCP or a NAT on the way remembers.
    """

    DELIVER = "deliver"
    BACKOFF = "backoff"
    DROP = "drop"


Choice = TypeVar("Choice", bound=StrEnum)


def choice_of(choices: type[Choice], name: str, value: object) -> Choice:
    """One of several words.

    Raises: InvalidArgumentError: `value` is none of them; the message has those that there are.
    """
    if isinstance(value, str) and value in tuple(choices):
        return choices(value)
    allowed = ", ".join(choice.value for choice in choices)
    raise InvalidArgumentError(f"{name} is {shown(value)}; expected one of {allowed}")


def shown(value: object) -> str:
    """What was found, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_DIRECTED: Final = frozenset({Kind.BLACKHOLE, Kind.DRIP, Kind.STALL_ABOVE})
_HOLDING: Final = frozenset({Kind.BLACKHOLE, Kind.STALL_ABOVE})
_COUNTED: Final = frozenset({Kind.DRIP, Kind.STALL_ABOVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        kind: what is wrong.
        direction: for blackhole, drip and stall-above.
        bytes: drip: how many at a time (default 1). stall-above: how many still pass since the other side last said
            something (default 1200).
        interval_ms: drip: between two times (default 1000).
        newcomers: blackhole: what happens to new connections.
        held: blackhole and stall-above: what becomes of what was swallowed.
        for_s: the fault heals by itself after that many seconds; None is not before it is told.
    """

    kind: Kind
    direction: Direction = Direction.BOTH
    bytes: int | None = None
    interval_ms: float | None = None
    newcomers: Newcomers = Newcomers.SILENT
    held: Held = Held.DELIVER
    for_s: float | None = None

    def __post_init__(self) -> None:
        """Check, and fill in what depends on the kind.

        Raises: InvalidArgumentError: a value is out of range or says nothing of this kind of fault.
        """
        for name, choices in (("kind", Kind), ("direction", Direction), ("newcomers", Newcomers), ("held", Held)):
            object.__setattr__(self, name, choice_of(choices, name, getattr(self, name)))
        kind = self.kind
        self._only("direction", self.direction is not Direction.BOTH, _DIRECTED)
        self._only("bytes", self.bytes is not None, _COUNTED)
        self._only("interval_ms", self.interval_ms is not None, {Kind.DRIP})
        self._only("newcomers", self.newcomers is not Newcomers.SILENT, {Kind.BLACKHOLE})
        self._only("held", self.held is not Held.DELIVER, _HOLDING)
        if kind in _COUNTED and self.bytes is None:
            object.__setattr__(self, "bytes", 1 if kind is Kind.DRIP else 1200)
        if kind is Kind.DRIP and self.interval_ms is None:
            object.__setattr__(self, "interval_ms", 1000.0)
        if self.bytes is not None and not 1 <= self.bytes <= 1 << 40:
            raise InvalidArgumentError(f"bytes is {self.bytes}; expected a whole number, 1 or more")
        if self.interval_ms is not None and not 1 <= self.interval_ms <= MAX_INTERVAL_MS:
            raise InvalidArgumentError(f"interval_ms is {self.interval_ms:g}; expected 1 to {MAX_INTERVAL_MS:g}")
        if self.for_s is not None and not 0 < self.for_s <= MAX_FOR_S:
            raise InvalidArgumentError(f"for_s is {self.for_s:g}; expected more than 0 and at most {MAX_FOR_S:g}")

    def strikes(self, direction: Direction) -> bool:
        """Whether the fault is in that direction."""
        return self.direction in (Direction.BOTH, direction)

    def described(self) -> dict[str, object]:
        """The fault as the control API shows it and takes it; what says nothing of this kind is left out."""
        said: dict[str, object] = {"fault": self.kind.value}
        if self.kind in _DIRECTED:
            said["direction"] = self.direction.value
        if self.bytes is not None:
            said["bytes"] = self.bytes
        if self.interval_ms is not None:
            said["interval_ms"] = self.interval_ms
        if self.kind is Kind.BLACKHOLE:
            said["newcomers"] = self.newcomers.value
        if self.kind in _HOLDING:
            said["held"] = self.held.value
        if self.for_s is not None:
            said["for_s"] = self.for_s
        return said

    def _only(self, name: str, said: bool, kinds: frozenset[Kind] | set[Kind]) -> None:  # noqa: FBT001 - a condition
        if said and self.kind not in kinds:
            allowed = " and ".join(sorted(kinds))
            raise InvalidArgumentError(f"{name} says nothing of {self.kind.value}; it goes with {allowed}")
