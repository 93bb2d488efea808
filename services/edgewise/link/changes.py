"""What a link can be told at run time: as the control API's JSON object, and as words of a command line or a schedule.

Both end in a `Change`, so that both are checked by the same rules.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.link.faults import Direction, Fault, Held, Kind, Newcomers, choice_of, shown
from edgewise.link.profiles import Conditions, profile_called

HEAL: Final = "heal"
_NO_FAULT: Final = (None, "none")
_FAULT_KEYS: Final = ("direction", "bytes", "interval_ms", "newcomers", "held", "for_s")
_CONDITION_KEYS: Final = (
    "delay_ms",
    "rtt_ms",
    "delay_up_ms",
    "delay_down_ms",
    "jitter_ms",
    "loss_ratio",
    "kbit_s",
    "up_kbit_s",
    "down_kbit_s",
)
KEYS: Final = ("profile", *_CONDITION_KEYS, "fault", *_FAULT_KEYS)
_UNITS: Final = MappingProxyType(
    {
        "ms": MappingProxyType({"": 1.0, "ms": 1.0, "s": 1000.0}),
        "s": MappingProxyType({"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0}),
        "ratio": MappingProxyType({"": 1.0, "%": 0.01}),
        "kbit_s": MappingProxyType({"": 1.0, "kbit": 1.0, "mbit": 1000.0, "gbit": 1_000_000.0, "bit": 0.001}),
    }
)
_EXAMPLES: Final = MappingProxyType({"ms": "60ms", "s": "10s", "ratio": "0.5%", "kbit_s": "64kbit or 10mbit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be different.

    Attributes:
        profile: go over to it, and forget what was set singly before; None to stay.
        conditions: fields of `Conditions` to set singly.
        fault: the fault to put in place of the present one.
        heal: end the present fault.
    """

    profile: str | None = None
    conditions: Mapping[str, float | None] = field(default_factory=dict)
    fault: Fault | None = None
    heal: bool = False

    def applied_to(self, conditions: Conditions) -> Conditions:
        """The conditions after the change.

        Raises: InvalidArgumentError: a value is out of range or the profile is unknown.
        """
        base = conditions if self.profile is None else profile_called(self.profile).conditions
        return replace(base, **self.conditions)  # type: ignore[arg-type]


def change_from(said: object) -> Change:
    """A change from what a JSON object said.

    Args:
        said: an object with some of `KEYS`. `delay_ms` is one way and sets both ways; `rtt_ms` sets half of it each way;
            `kbit_s` sets both ways; null in a bandwidth is no limit, null or "none" in `fault` heals.
    Raises: InvalidArgumentError: something in it cannot be; the message says what would be right.
    """
    if not isinstance(said, dict):
        raise InvalidArgumentError(f'expected a JSON object such as {{"fault": "blackhole"}}, found {shown(said)}')
    for key in said:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise InvalidArgumentError(f"unknown key {shown(key)}{hint}; expected some of {', '.join(KEYS)}")
    if not said:
        raise InvalidArgumentError(f"there is nothing to change; expected some of {', '.join(KEYS)}")
    profile = said.get("profile")
    if profile is not None:
        if not isinstance(profile, str):
            raise InvalidArgumentError(f"profile is {shown(profile)}; expected a name in quotes")
        profile_called(profile)
    fault = _fault(said)
    change = Change(profile=profile, conditions=_conditions(said), fault=fault, heal="fault" in said and fault is None)
    change.applied_to(Conditions())
    return change


def words_said(words: Sequence[str]) -> dict[str, object]:
    """The JSON object that some words stand for.

    Args:
        words: a subject, its value where it has one, and `key=value` words, such as `blackhole direction=up for=5s`,
            `drip bytes=10 interval=200ms`, `delay 60ms`, `rtt 60ms`, `bandwidth 64kbit direction=down`, `loss 1%`,
            `jitter 5ms`, `profile 3g`, `heal`.
    Raises: InvalidArgumentError: they stand for nothing; the message says what would be right.
    """
    if not words:
        raise InvalidArgumentError(f"there is nothing to set; expected one of {', '.join(subjects())}")
    subject, *rest = words
    options = dict(_option(word) for word in rest if "=" in word)
    values = [word for word in rest if "=" not in word]
    if subject == HEAL or subject in tuple(Kind):
        if subject != HEAL and values and values[0] in tuple(Direction):
            options.setdefault("direction", values.pop(0))
        if values:
            raise InvalidArgumentError(f"{subject} takes no value, found {values[0]!r}")
        said: dict[str, object] = {"fault": None if subject == HEAL else subject}
        return said | _fault_options(subject, options)
    if subject not in subjects():
        close = difflib.get_close_matches(subject, subjects(), 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise InvalidArgumentError(f"unknown {subject!r}{hint}; expected one of {', '.join(subjects())}")
    if len(values) != 1:
        example = {"profile": "4g", "loss": "1%", "bandwidth": "64kbit"}.get(subject, "60ms")
        raise InvalidArgumentError(f"{subject} takes one value, such as: {subject} {example}")
    if subject == "profile":
        _no_options(subject, options)
        return {"profile": values[0]}
    return _condition_words(subject, values[0], options)


def subjects() -> tuple[str, ...]:
    """What words can begin with."""
    return (*(kind.value for kind in Kind), HEAL, "profile", "delay", "rtt", "jitter", "loss", "bandwidth")


def quantity(word: str, unit: str, name: str) -> float:
    """A number with its unit.

    Args:
        word: such as "60ms", "0.5%" or "10mbit"; a bare number is in `unit`.
        unit: "ms", "s", "ratio" or "kbit_s".
        name: what it is said of, for the message.
    Raises: InvalidArgumentError: it is none.
    """
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([a-z%]*)", word.strip().lower())
    factor = _UNITS[unit].get(found[2]) if found else None
    if found is None or factor is None:
        raise InvalidArgumentError(f"{name} is {word!r}; expected a number with its unit, such as {_EXAMPLES[unit]}")
    return float(found[1]) * factor


def _condition_words(subject: str, word: str, options: dict[str, str]) -> dict[str, object]:
    direction = options.pop("direction", Direction.BOTH.value)
    _no_options(subject, options, allowed="direction=up|down|both")
    if direction not in tuple(Direction):
        raise InvalidArgumentError(f"direction is {direction!r}; expected up, down or both")
    if direction != Direction.BOTH and subject not in ("delay", "bandwidth"):
        raise InvalidArgumentError(f"direction says nothing of {subject}; it goes with delay, bandwidth and faults")
    side = "" if direction == Direction.BOTH else f"{direction}_"
    if subject == "bandwidth":
        unlimited = word.lower() in ("none", "unlimited")
        return {f"{side}kbit_s": None if unlimited else quantity(word, "kbit_s", subject)}
    if subject == "loss":
        return {"loss_ratio": quantity(word, "ratio", subject)}
    return {f"{subject}_{side}ms": quantity(word, "ms", subject)}


def _fault_options(subject: str, options: dict[str, str]) -> dict[str, object]:
    said: dict[str, object] = {}
    for name, word in options.items():
        if subject == HEAL:
            _no_options(subject, options)
        if name == "for":
            said["for_s"] = quantity(word, "s", "for")
        elif name == "interval":
            said["interval_ms"] = quantity(word, "ms", "interval")
        elif name == "bytes":
            if not word.isdecimal():
                raise InvalidArgumentError(f"bytes is {word!r}; expected a whole number")
            said["bytes"] = int(word)
        elif name in ("direction", "newcomers", "held"):
            said[name] = word
        else:
            raise InvalidArgumentError(
                f"unknown option {name!r}; expected some of direction=, bytes=, interval=, newcomers=, held=, for="
            )
    return said


def _option(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _no_options(subject: str, options: Mapping[str, str], allowed: str = "none") -> None:
    if options:
        raise InvalidArgumentError(f"{next(iter(options))}= says nothing of {subject}; options: {allowed}")


def _fault(said: Mapping[str, object]) -> Fault | None:
    kind = said.get("fault")
    if kind in _NO_FAULT:
        for key in _FAULT_KEYS:
            if key in said:
                raise InvalidArgumentError(f'{key} goes with a fault, such as {{"fault": "blackhole", ...}}')
        return None
    count = said.get("bytes")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
        raise InvalidArgumentError(f"bytes is {shown(count)}; expected a whole number, 1 or more")
    return Fault(
        kind=choice_of(Kind, "fault", kind),
        direction=choice_of(Direction, "direction", said.get("direction", Direction.BOTH)),
        bytes=count,
        interval_ms=_number("interval_ms", said.get("interval_ms")),
        newcomers=choice_of(Newcomers, "newcomers", said.get("newcomers", Newcomers.SILENT)),
        held=choice_of(Held, "held", said.get("held", Held.DELIVER)),
        for_s=_number("for_s", said.get("for_s")),
    )


def _conditions(said: Mapping[str, object]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for key in _CONDITION_KEYS:
        if key not in said:
            continue
        value = _number(key, said[key])
        if value is None and not key.endswith("kbit_s"):
            raise InvalidArgumentError(f"{key} is null; expected a number")
        if key == "kbit_s":
            found |= {"up_kbit_s": value, "down_kbit_s": value}
        elif key in ("delay_ms", "rtt_ms"):
            assert value is not None  # noqa: S101 - seen to above
            each_way = value / 2 if key == "rtt_ms" else value
            found |= {"delay_up_ms": each_way, "delay_down_ms": each_way}
        else:
            found[key] = value
    return found


def _number(key: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidArgumentError(f"{key} is {shown(value)}; expected a number")
    return float(value)
