"""Rollout specifications: TOML or YAML files that people write, and that can live in git. docs/rollouts.md describes their keys.

model: pets
version: 2
waves:
  - {name: canary, sites: "tier=edge,region=eu", take: 1}
  - {name: everyone, at_once: 25%, may_fail: 2}
gates:
  errors: {margin: 1%, confidence: 99%}
canary: {shadow: 5%, shadow_for: 1m, shares: [1%, 10%, 50%], each_for: 1m, bake: 10m}
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Final, Self, TypeVar

from edgewise.core.errors import EdgewiseError, InvalidArgumentError
from edgewise.core.rollout.gates import AccuracyGate, Gate, GateName, Gates, LatencyGate
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.specification import Canary, OnFailure, Specification
from edgewise.core.rollout.waves import Amount, Wave, parse_amount
from edgewise.core.toml_table import TomlTable, hint, is_number
from edgewise.core.versions import MAX_VERSION, is_model_name
from edgewise.protocols.lined_documents import Form, parse_form, read_lined

_TOP_KEYS: Final = (
    "model",
    "version",
    "waves",
    "gates",
    "canary",
    "silent_after",
    "patience",
    "on_failure",
    "prestage",
)
_WAVE_KEYS: Final = ("name", "sites", "take", "at_once", "may_fail")
_CANARY_KEYS: Final = ("shadow", "shadow_for", "shares", "each_for", "bake")
_GATE_KEYS: Final = ("margin", "confidence")
_ACCURACY_KEYS: Final = ("worse_by", "confidence")
_LATENCY_KEYS: Final = (*_GATE_KEYS, "quantile", "ratio")
_GATES_KEYS: Final = tuple(name.value for name in GateName)
_MOST_WAVES: Final = 100
_MOST_SHARES: Final = 64
_LONGEST_NAME: Final = 100
_MOST_S: Final = 366 * 86400.0
_DURATION: Final = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d))")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_EXPECTED: Final = 'a duration such as "90s", "5m" or "1h", or seconds'
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")
_SHARE_EXPECTED: Final = 'a share such as "1%" or 0.01, at most "100%"'
_DEFAULT: Final = Specification("any", 1, (Wave("any"),))
_ONE_GATE: Final = Gate(0.01)
_Made = TypeVar("_Made")


class _MisfitError(InvalidArgumentError):
    """What is wrong with one key, before it is known on which line that is."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


class _Table(TomlTable):
    """One table of a specification."""

    fault = InvalidArgumentError

    def error(self, name: str, problem: str) -> EdgewiseError:
        return _MisfitError(self.path(name), problem)

    def text(self, name: str, default: str | None = None, *, longest: int = 4096) -> str:
        """A string of characters that can be shown; required when there is no default."""
        expected = f"a string of at most {longest} printable characters"
        value = self.get(name, required=default is None, expected=expected)
        if value is None:
            return default or ""
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            raise self.wrong(name, value, expected)
        return value

    def duration_s(self, name: str, default_s: float) -> float:
        """A duration, in seconds."""
        value = self.get(name, required=False, expected="")
        if value is None:
            return default_s
        found_s = parse_duration_s(value) if isinstance(value, str) else float(value) if is_number(value) else None
        if found_s is None or not 0.0 <= found_s <= _MOST_S:
            raise self.wrong(name, value, f"{_DURATION_EXPECTED}, at most {_MOST_S / 86400.0:g} days")
        return found_s

    def share(self, name: str, default: float) -> float:
        """A share in [0, 1]."""
        value = self.get(name, required=False, expected="")
        return default if value is None else self.as_share(name, value)

    def as_share(self, name: str, value: object) -> float:
        """What was found under a name, as a share in [0, 1]."""
        if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())):
            share: object = float(found[1]) / 100.0
        else:
            share = value
        if not is_number(share) or not 0.0 <= share <= 1.0:
            raise self.wrong(name, value, _SHARE_EXPECTED)
        return float(share)

    def switched(self, name: str, allowed: Sequence[str], *, default: bool) -> Self | None:
        """A table that can also be true, for what it is by default, or false; None when it is off."""
        value = self.get(name, required=False, expected="")
        value = default if value is None else value
        if value in ("on", "off"):
            value = value == "on"
        if isinstance(value, bool):
            return type(self)("", self.path(name), {}) if value else None
        if not isinstance(value, dict):
            raise self.wrong(name, value, f"on, off, or values for {' and '.join(allowed)}")
        return self.table(name, allowed)

    def amount(self, name: str, default: Amount) -> Amount:
        """A number of sites, or a share of them."""
        value = self.get(name, required=False, expected="")
        return default if value is None else self.made(name, lambda: parse_amount(value))

    def made(self, name: str, make: Callable[[], _Made]) -> _Made:
        """What `make` makes; where it refuses, the message is about a key of this table."""
        try:
            return make()
        except _MisfitError:
            raise
        except InvalidArgumentError as error:
            raise self.error(name, error.message) from None


class _YamlTable(_Table):
    """One mapping of a specification in YAML."""

    def table_words(self, name: str) -> str:
        return f"keys with values below {name}:"

    def tables_words(self, name: str) -> str:
        return f'a list of {name}, such as "- name: canary"'

    def item_words(self, name: str) -> str:
        return f"keys with values in each of the {name}, such as name: canary"


def read_specification(text: str, form: str, *, file: str = "the specification") -> Specification:
    """Read a specification.

    Args:
        form: "toml" or "yaml".
        file: as messages call it.
    Raises: InvalidArgumentError: it is none; the message names file, line and key, and says what would be right.
    """
    written = parse_form(form)
    document = read_lined(text, written, file=file)
    table = _YamlTable if written is Form.YAML else _Table
    try:
        return _specification(table(file, "", document.values, _TOP_KEYS))
    except _MisfitError as error:
        key = f"{error.key}: " if error.key else ""
        raise InvalidArgumentError(f"{document.place(error.key)}: {key}{error.message}") from None


def parse_duration_s(text: str) -> float | None:
    """Seconds of a duration such as "90s" or "1h30m"; None when it is none."""
    rest = text.strip()
    total_s = 0.0
    if not rest:
        return None
    while rest:
        found = _DURATION.match(rest)
        if found is None:
            return None
        total_s += float(found[1]) * _UNITS_S[found[2]]
        rest = rest[found.end() :].lstrip()
    return total_s if math.isfinite(total_s) else None


def _specification(top: _Table) -> Specification:
    model = top.text("model")
    if not is_model_name(model):
        raise top.wrong("model", model, "1 to 128 letters, digits, '_', '-' or '.', the first of them no '.'")
    gates = _gates(top.table("gates", _GATES_KEYS))
    canary = _canary(top.table("canary", _CANARY_KEYS))
    if gates.disagreement is not None and not (canary.shadow_share and canary.shadow_s):
        raise top.error(
            "gates.disagreement",
            "compares answers to shadowed requests, and none are shadowed; expected canary.shadow such as "
            '"5%" and canary.shadow_for such as "1m"',
        )
    waves = _waves(top)
    return top.made(
        "",
        lambda: Specification(
            model=model,
            version=top.integer("version", 1, MAX_VERSION),
            waves=waves,
            gates=gates,
            canary=canary,
            silent_s=_positive_s(top, "silent_after", _DEFAULT.silent_s),
            patience_s=_positive_s(top, "patience", _DEFAULT.patience_s),
            on_failure=_on_failure(top),
            prestage=top.flag("prestage", default=_DEFAULT.prestage),
        ),
    )


def _waves(top: _Table) -> tuple[Wave, ...]:
    tables = top.tables("waves", _WAVE_KEYS)
    if not tables:
        raise top.missing("waves", f"at least one wave of sites, with name and sites, in {top.tables_words('waves')}")
    if len(tables) > _MOST_WAVES:
        raise top.error("waves", f"found {len(tables)}, expected at most {_MOST_WAVES}")
    names: set[str] = set()
    waves = []
    for table in tables:
        wave = _wave(table)
        if wave.name in names:
            raise table.error("name", f"another wave is called {wave.name!r} too; expected a name for each of its own")
        names.add(wave.name)
        waves.append(wave)
    return tuple(waves)


def _wave(table: _Table) -> Wave:
    name = table.text("name", longest=_LONGEST_NAME)
    if not name.strip():
        raise table.wrong("name", name, "a name such as canary")
    selector = table.text("sites", "")
    default = _DEFAULT.waves[0]
    return Wave(
        name=name,
        selector=table.made("sites", lambda: parse_selector(selector)),
        amount=table.amount("take", default.amount),
        max_concurrent=table.amount("at_once", default.max_concurrent),
        error_budget=table.amount("may_fail", default.error_budget),
    )


def _gates(table: _Table) -> Gates:
    default = _DEFAULT.gates
    return Gates(
        errors=_gate(table, "errors", default.errors),
        latency=_latency(table, default.latency),
        disagreement=_gate(table, "disagreement", default.disagreement),
        golden=table.flag("golden", default=default.golden),
        accuracy=_accuracy(table, default.accuracy),
    )


def _accuracy(table: _Table, default: AccuracyGate | None) -> AccuracyGate | None:
    asked = table.switched("accuracy", _ACCURACY_KEYS, default=default is not None)
    if asked is None:
        return None
    base = default or AccuracyGate()
    return asked.made(
        "",
        lambda: AccuracyGate(asked.share("worse_by", base.margin), asked.share("confidence", base.confidence)),
    )


def _gate(table: _Table, name: str, default: Gate | None) -> Gate | None:
    asked = table.switched(name, _GATE_KEYS, default=default is not None)
    if asked is None:
        return None
    base = default or _ONE_GATE
    return asked.made("", lambda: Gate(asked.share("margin", base.margin), asked.share("confidence", base.confidence)))


def _latency(table: _Table, default: LatencyGate | None) -> LatencyGate | None:
    asked = table.switched("latency", _LATENCY_KEYS, default=default is not None)
    if asked is None:
        return None
    base = default or LatencyGate()
    return asked.made(
        "",
        lambda: LatencyGate(
            margin=asked.share("margin", base.margin),
            confidence=asked.share("confidence", base.confidence),
            quantile=asked.share("quantile", base.quantile),
            ratio=asked.number("ratio", 1.0, 1e6, base.ratio),
        ),
    )


def _canary(table: _Table) -> Canary:
    default = _DEFAULT.canary
    shares = default.shares
    if "shares" in table:
        items = table.items("shares", 'a list of shares such as ["1%", "10%", "50%"]')
        if len(items) > _MOST_SHARES:
            raise table.error("shares", f"found {len(items)}, expected at most {_MOST_SHARES}")
        shares = tuple(table.as_share(f"shares[{place}]", item) for place, item in enumerate(items))
        table.made("shares", lambda: Canary(shares=shares))
    return Canary(
        shadow_share=table.share("shadow", default.shadow_share),
        shadow_s=table.duration_s("shadow_for", default.shadow_s),
        shares=shares,
        stage_s=table.duration_s("each_for", default.stage_s),
        bake_s=table.duration_s("bake", default.bake_s),
    )


def _on_failure(top: _Table) -> OnFailure:
    word = top.text("on_failure", _DEFAULT.on_failure.value)
    if word not in set(OnFailure):
        raise top.error(
            "on_failure",
            f"found {word!r}, expected {' or '.join(OnFailure)}{hint(word, [known.value for known in OnFailure])}",
        )
    return OnFailure(word)


def _positive_s(table: _Table, name: str, default_s: float) -> float:
    found_s = table.duration_s(name, default_s)
    if not found_s:
        raise table.wrong(name, found_s, f"{_DURATION_EXPECTED}, more than 0")
    return found_s
