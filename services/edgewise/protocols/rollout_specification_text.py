"""Rollout specifications written down, as TOML that reads back as the same."""

import json
import math
from decimal import Decimal
from typing import Final

from edgewise.core.rollout.gates import AccuracyGate, Gate, LatencyGate
from edgewise.core.rollout.specification import Canary, Specification
from edgewise.core.rollout.waves import Amount, Wave

_DELETE: Final = chr(127)


def specification_text(specification: Specification) -> str:
    """A specification as TOML, every key of it written out."""
    lines = [
        f"model = {_string(specification.model)}",
        f"version = {specification.version}",
        f"silent_after = {_number(specification.silent_s)}",
        f"patience = {_number(specification.patience_s)}",
        f"on_failure = {_string(specification.on_failure.value)}",
        f"prestage = {_flag(specification.prestage)}",
    ]
    for wave in specification.waves:
        lines += ["", "[[waves]]", *_wave_lines(wave)]
    gates = specification.gates
    lines += [
        "",
        "[gates]",
        f"errors = {_gate(gates.errors)}",
        f"latency = {_gate(gates.latency)}",
        f"disagreement = {_gate(gates.disagreement)}",
        f"golden = {_flag(gates.golden)}",
        f"accuracy = {_gate(gates.accuracy)}",
        "",
        "[canary]",
        *_canary_lines(specification.canary),
    ]
    return "\n".join(lines) + "\n"


def _wave_lines(wave: Wave) -> list[str]:
    return [
        f"name = {_string(wave.name)}",
        f"sites = {_string(wave.selector.text)}",
        f"take = {_amount(wave.amount)}",
        f"at_once = {_amount(wave.max_concurrent)}",
        f"may_fail = {_amount(wave.error_budget)}",
    ]


def _canary_lines(canary: Canary) -> list[str]:
    return [
        f"shadow = {_number(canary.shadow_share)}",
        f"shadow_for = {_number(canary.shadow_s)}",
        f"shares = [{', '.join(map(_number, canary.shares))}]",
        f"each_for = {_number(canary.stage_s)}",
        f"bake = {_number(canary.bake_s)}",
    ]


def _gate(gate: Gate | None) -> str:
    if gate is None:
        return "false"
    margin = "worse_by" if isinstance(gate, AccuracyGate) else "margin"
    values = {margin: gate.margin, "confidence": gate.confidence}
    if isinstance(gate, LatencyGate):
        values |= {"quantile": gate.quantile, "ratio": gate.ratio}
    return f"{{ {', '.join(f'{name} = {_number(value)}' for name, value in values.items())} }}"


def _amount(amount: Amount) -> str:
    return str(amount.count) if amount.count is not None else _string(f"{_percent(amount.share or 0.0)}%")


def _percent(share: float) -> str:
    """The number that is this very share when it is read and divided by 100; of some shares it is not the nearest one."""
    nearest = share * 100.0
    tried = (nearest, math.nextafter(nearest, 0.0), min(math.nextafter(nearest, math.inf), 100.0))
    shortest = min((one for one in tried if one / 100.0 == share), key=lambda one: len(repr(one)), default=nearest)
    return format(Decimal(repr(shortest)).normalize(), "f")


def _string(text: str) -> str:
    """A basic string: JSON's escapes are TOML's too; DEL needs one in TOML alone."""
    return json.dumps(text, ensure_ascii=False).replace(_DELETE, "\\u007f")


def _number(value: float) -> str:
    return repr(float(value)) if value != int(value) else str(int(value))


def _flag(value: bool) -> str:  # noqa: FBT001  it is what is written
    return "true" if value else "false"
