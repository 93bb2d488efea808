"""Gates, canaries and evidence as values of JSON documents."""

import re
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.alike import Alike
from edgewise.core.rollout.gates import AccuracyGate, Findings, Gate, GateName, Gates, Golden, LatencyGate
from edgewise.core.rollout.paired import Paired
from edgewise.core.rollout.sequential import Compared, Evidence, Observed
from edgewise.core.rollout.specification import Canary
from edgewise.protocols.documents import Document

_MOST: Final = 1 << 53
_MOST_S: Final = 1e9
_MOST_SHARES: Final = 64
_MOST_EVIDENCE: Final = 1024
_OF: Final = re.compile(r"[0-9a-f]{16,64}")


def gates_value(gates: Gates) -> dict[str, Any]:
    """Of gates; what is not asked is null."""
    latency = gates.latency
    return {
        "errors": _gate_value(gates.errors),
        "latency": None
        if latency is None
        else {**(_gate_value(latency) or {}), "quantile": latency.quantile, "ratio": latency.ratio},
        "disagreement": _gate_value(gates.disagreement),
        "golden": gates.golden,
        "accuracy": _gate_value(gates.accuracy),
    }


def read_gates(table: Document) -> Gates:
    """What `gates_value` wrote.

    Raises: InvalidArgumentError: it is none.
    """
    latency = table.optional_table("latency")
    accuracy = table.optional_table("accuracy")
    return Gates(
        errors=_gate(table, "errors"),
        latency=None
        if latency is None
        else LatencyGate(
            margin=latency.number("margin", 0.0, 1.0),
            confidence=latency.number("confidence", 0.0, 1.0),
            quantile=latency.number("quantile", 0.0, 1.0),
            ratio=latency.number("ratio", 0.0, 1e6),
        ),
        disagreement=_gate(table, "disagreement"),
        golden=table.flag("golden", default=True),
        accuracy=None
        if accuracy is None
        else AccuracyGate(accuracy.number("margin", 0.0, 1.0), accuracy.number("confidence", 0.0, 1.0)),
    )


def canary_value(canary: Canary) -> dict[str, Any]:
    """Of a canary."""
    return {
        "shadow_share": canary.shadow_share,
        "shadow_s": canary.shadow_s,
        "shares": list(canary.shares),
        "stage_s": canary.stage_s,
        "bake_s": canary.bake_s,
    }


def read_canary(table: Document) -> Canary:
    """What `canary_value` wrote.

    Raises: InvalidArgumentError: it is none.
    """
    shares = table.items("shares", "a list of numbers")
    if len(shares) > _MOST_SHARES or not all(isinstance(share, float) for share in shares):
        raise table.wrong("shares", shares, f"at most {_MOST_SHARES} numbers between 0 and 1")
    return Canary(
        shadow_share=table.number("shadow_share", 0.0, 1.0),
        shadow_s=table.number("shadow_s", 0.0, _MOST_S),
        shares=tuple(shares),
        stage_s=table.number("stage_s", 0.0, _MOST_S),
        bake_s=table.number("bake_s", 0.0, _MOST_S),
    )


def findings_value(findings: Findings) -> dict[str, Any]:
    """Of findings."""
    golden = findings.golden
    return {
        "golden": [golden.sites, golden.complete, golden.wrong],
        "sampled": {
            name.value: [_evidence_value(one) for one in evidence] for name, evidence in findings.sampled.items()
        },
    }


def read_findings(table: Document) -> Findings:
    """What `findings_value` wrote.

    Raises: InvalidArgumentError: it is none.
    """
    sampled = table.names("sampled")
    found: dict[GateName, tuple[Evidence, ...]] = {}
    for name in sampled:
        rows = sampled.items(name, "a list of counts")
        if name not in set(GateName) or len(rows) > _MOST_EVIDENCE:
            raise table.wrong(
                f"sampled.{name}", rows, f"at most {_MOST_EVIDENCE} counts of one of {', '.join(GateName)}"
            )
        found[GateName(name)] = tuple(_evidence(sampled, name, row) for row in rows)
    counts = table.items("golden", "three whole numbers") or [0, 0, 0]
    if len(counts) != 3 or not all(map(_is_count, counts)):
        raise table.wrong("golden", counts, "three whole numbers: sites, complete, wrong")
    return Findings(found, Golden(*counts))


def _gate_value(gate: Gate | None) -> dict[str, Any] | None:
    return None if gate is None else {"margin": gate.margin, "confidence": gate.confidence}


def _gate(table: Document, name: str) -> Gate | None:
    gate = table.optional_table(name)
    return None if gate is None else Gate(gate.number("margin", 0.0, 1.0), gate.number("confidence", 0.0, 1.0))


def _evidence_value(evidence: Evidence) -> list[Any]:
    """[share, new, new hits, old, old hits] of two versions compared; [reference, count, hits] of one observed; [digest, count, both wrong, lost,
    gained] of examples that both were asked, and where several are of one source also [[sources, count, lost, gained], ...] by source.
    """
    match evidence:
        case Compared():
            return [evidence.share, evidence.new_count, evidence.new_hits, evidence.old_count, evidence.old_hits]
        case Observed():
            return [evidence.reference, evidence.count, evidence.hits]
        case Paired():
            row: list[Any] = [evidence.of, evidence.count, evidence.both, evidence.lost, evidence.gained]
            rows = [[one.sources, one.count, one.lost, one.gained] for one in evidence.rows]
            return [*row, rows] if rows else row


def _evidence(table: Document, name: str, row: object) -> Evidence:
    if name == GateName.ACCURACY:
        return _paired(table, name, row)
    if (
        isinstance(row, list)
        and len(row) in (3, 5)
        and isinstance(row[0], int | float)
        and not isinstance(row[0], bool)
        and 0 <= row[0] <= 1
        and all(map(_is_count, row[1:]))
    ):
        try:
            return Compared(*row) if len(row) == 5 else Observed(row[1], row[2], row[0])
        except InvalidArgumentError as error:
            raise table.error(name, error.message) from None
    raise table.wrong(name, row, "[share, new, new hits, old, old hits] or [reference, count, hits]")


def _paired(table: Document, name: str, row: object) -> Paired:
    if isinstance(row, list) and len(row) in (5, 6) and isinstance(row[0], str) and _OF.fullmatch(row[0]):
        of, count, both, lost, gained = row[:5]
        rows = row[5] if len(row) == 6 else []
        if all(map(_is_count, row[1:5])) and isinstance(rows, list) and all(map(_is_row, rows)):
            try:
                return Paired(of, count, both, lost, gained, tuple(Alike(*one) for one in rows))
            except InvalidArgumentError as error:
                raise table.error(name, error.message) from None
    raise table.wrong(
        name, row, "[digest, count, both wrong, lost, gained] and, perhaps, [[sources, count, lost, gained], ...]"
    )


def _is_row(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_count, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST
