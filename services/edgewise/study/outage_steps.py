"""What an outage does to a link and when: the words of `edgewise link --schedule`, as objects for the link's control API.

The link checks values once more when it is told; what is checked here is what would otherwise show in the middle of a study.
"""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import hint

HEAL: Final = "heal"
FAULTS: Final = ("blackhole", "freeze", "reset", "fin", "refuse", "stall-accept", "drip", "stall-above")
_CONDITIONS: Final = MappingProxyType(
    {
        "rtt": ("rtt_ms", "ms"),
        "delay": ("delay_ms", "ms"),
        "jitter": ("jitter_ms", "ms"),
        "loss": ("loss_ratio", "ratio"),
        "bandwidth": ("kbit_s", "kbit_s"),
    }
)
SUBJECTS: Final = (*FAULTS, HEAL, "profile", *_CONDITIONS)
_DIRECTIONS: Final = ("up", "down", "both")
_OPTIONS: Final = ("direction", "bytes", "interval", "newcomers", "held", "for")
_UNITS: Final = MappingProxyType(
    {
        "ms": MappingProxyType({"": 1.0, "ms": 1.0, "s": 1000.0}),
        "s": MappingProxyType({"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0}),
        "ratio": MappingProxyType({"": 1.0, "%": 0.01}),
        "kbit_s": MappingProxyType({"": 1.0, "kbit": 1.0, "mbit": 1000.0, "gbit": 1_000_000.0, "bit": 0.001}),
    }
)
_EXAMPLE: Final = "2s:blackhole, 5s:heal"


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Attributes:
        at_s: from the end of the warm-up.
        said: the JSON object that the link's control API takes.
        words: as they were written.
    """

    at_s: float
    said: MappingProxyType[str, Any]
    words: str


def read_steps(text: str) -> tuple[Step, ...]:
    """The steps of an outage, in the order of their times.

    Args:
        text: `TIME:WORDS`, parted by commas or line ends; "" is an outage without any, to compare with.
    Raises: InvalidArgumentError: a step cannot be; the message names it and says what would be right.
    """
    steps: list[Step] = []
    for line in text.splitlines():
        for part in line.partition("#")[0].split(","):
            if part.strip():
                steps.append(_step(part.strip()))
                if len(steps) > 1 and steps[-1].at_s < steps[-2].at_s:
                    raise InvalidArgumentError(
                        f"the step {part.strip()!r} lies before the one ahead of it; expected rising times"
                    )
    return tuple(steps)


def _step(text: str) -> Step:
    time_word, colon, words = text.partition(":")
    if not colon:
        raise InvalidArgumentError(f"the step {text!r} has no time; expected one such as 2s:blackhole")
    try:
        return Step(_quantity(time_word, "s", "the time"), MappingProxyType(_said(words.split())), words.strip())
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"the step {text!r}: {error.message}") from None


def _said(words: list[str]) -> dict[str, Any]:
    if not words:
        raise InvalidArgumentError(f"it says nothing; expected steps such as {_EXAMPLE}")
    subject, *rest = words
    if subject == "repeat":
        raise InvalidArgumentError("a run has an end, so its steps are written out; expected no repeat")
    if subject not in SUBJECTS:
        raise InvalidArgumentError(
            f"unknown {subject!r}{hint(subject, SUBJECTS)}; expected one of {', '.join(SUBJECTS)}"
        )
    if subject in FAULTS:
        return {"fault": subject, **_options(subject, rest)}
    values = [word for word in rest if "=" not in word]
    if subject == HEAL:
        if rest:
            raise InvalidArgumentError(f"heal takes nothing, found {rest[0]!r}")
        return {"fault": None}
    if len(values) != 1 or len(rest) != 1:
        raise InvalidArgumentError(
            f"{subject} takes one value, such as: {'profile 4g' if subject == 'profile' else 'rtt 60ms'}"
        )
    if subject == "profile":
        return {"profile": values[0]}
    key, unit = _CONDITIONS[subject]
    if key == "kbit_s" and values[0] in ("none", "unlimited"):
        return {key: None}
    return {key: _quantity(values[0], unit, subject)}


def _options(fault: str, words: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for word in words:
        name, equals, value = ("direction", "=", word) if word in _DIRECTIONS else word.partition("=")
        if not equals or name not in _OPTIONS:
            options = ", ".join(f"{one}=" for one in _OPTIONS)
            raise InvalidArgumentError(
                f"{fault} does not take {word!r}{hint(name, _OPTIONS)}; expected some of {options}"
            )
        if name == "for":
            said["for_s"] = _quantity(value, "s", "for")
        elif name == "interval":
            said["interval_ms"] = _quantity(value, "ms", "interval")
        elif name == "bytes":
            if not (value.isascii() and value.isdigit()):
                raise InvalidArgumentError(f"bytes is {value!r}; expected a whole number")
            said["bytes"] = int(value)
        else:
            said[name] = value
    return said


def _quantity(word: str, unit: str, name: str) -> float:
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([a-z%]*)", word.strip().lower())
    factor = _UNITS[unit].get(found[2]) if found else None
    if found is None or factor is None:
        raise InvalidArgumentError(f"{name} is {word!r}; expected a number with its unit, one of {_shown_units(unit)}")
    return float(found[1]) * factor


def _shown_units(unit: str) -> str:
    return ", ".join(name or "none" for name in _UNITS[unit])
