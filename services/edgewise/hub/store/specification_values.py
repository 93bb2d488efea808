"""A rollout's specification as values, every one of them written out.

The text that a person wrote is kept beside it, but what a rollout goes on by is this: a program that reads the text with other defaults does
not change what was started.
"""

from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.specification import OnFailure, Specification
from edgewise.core.rollout.waves import Amount, Wave
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.documents import Document
from edgewise.protocols.gate_values import canary_value, gates_value, read_canary, read_gates

_MOST_S: Final = 1e12


def specification_value(specification: Specification) -> dict[str, Any]:
    """Of a specification."""
    return {
        "model": specification.model,
        "version": specification.version,
        "waves": [
            {
                "name": wave.name,
                "selector": wave.selector.text,
                "amount": _amount_value(wave.amount),
                "max_concurrent": _amount_value(wave.max_concurrent),
                "error_budget": _amount_value(wave.error_budget),
            }
            for wave in specification.waves
        ],
        "gates": gates_value(specification.gates),
        "canary": canary_value(specification.canary),
        "silent_s": specification.silent_s,
        "patience_s": specification.patience_s,
        "on_failure": specification.on_failure.value,
        "prestage": specification.prestage,
    }


def read_specification_value(value: dict[str, Any], what: str) -> Specification:
    """What `specification_value` wrote.

    Args:
        what: as messages call it.
    Raises: InvalidArgumentError: it is none.
    """
    top = Document(what, "specification", value)
    return Specification(
        model=top.model("model"),
        version=top.integer("version", 1, MAX_VERSION),
        waves=tuple(
            Wave(
                name=wave.text("name"),
                selector=parse_selector(wave.text("selector", "")),
                amount=_amount(wave, "amount"),
                max_concurrent=_amount(wave, "max_concurrent"),
                error_budget=_amount(wave, "error_budget"),
            )
            for wave in top.tables("waves", ())
        ),
        gates=read_gates(top.table("gates")),
        canary=read_canary(top.table("canary")),
        silent_s=top.number("silent_s", 0.0, _MOST_S),
        patience_s=top.number("patience_s", 0.0, _MOST_S),
        on_failure=top.word("on_failure", OnFailure),
        prestage=top.flag("prestage", default=True),
    )


def _amount_value(amount: Amount) -> int | float:
    """A whole number of sites, or a share of them with a point."""
    return amount.count if amount.count is not None else float(amount.share or 0.0)


def _amount(table: Document, name: str) -> Amount:
    match table.get(name, required=True, expected="a number of sites or a share of them"):
        case bool():
            pass
        case int(count):
            return Amount(count=count)
        case float(share):
            return Amount(share=share)
    raise InvalidArgumentError(f"{name}: expected a number of sites or a share of them")
