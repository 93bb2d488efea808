"""What was counted at a site in one rollout, summed up over stages and over restarts of agent and gateway.

The gateway counts under a key. Every stage has keys of its own, and when counts have shrunk, because a process of the gateway was
started anew, the old ones are kept and another key begins: so nothing is counted twice, and little is lost.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from typing import Any, Final

from edgewise.agent.site.port import Counts, Reading
from edgewise.core.rollout.gates import Findings, GateName, Gates, Golden, LatencyGate
from edgewise.core.rollout.paired import Paired
from edgewise.core.rollout.sequential import Compared, Evidence, Observed, merged
from edgewise.protocols.documents import Document
from edgewise.protocols.gate_values import findings_value, read_findings

BASELINE_COUNT: Final = 50
"""So many answers of the old version say what is slow."""
NOTHING_COUNTED: Final = Counts()
_NAMES: Final = tuple(field.name for field in fields(Counts))
_MOST: Final = 1 << 53
_LONGEST_NAME: Final = 180


@dataclass(frozen=True, slots=True)
class Tally:
    """All counts of a rollout.

    Attributes:
        kept: what was counted under keys that are over, the golden inputs, and the held-out examples.
        epoch: how many keys there have been in this rollout.
        counts: under the present key, when it was read last.
        slow_s: what is slow here; None while the old version was not asked often enough.
        error_ratio: of the old version, to compare with once nothing runs beside the new one.
        slow_ratio: the same of its slow answers; the greatest of all stages, since a site is not equally fast at all times.
    """

    kept: Findings = field(default_factory=Findings)
    epoch: int = 0
    counts: Counts = NOTHING_COUNTED
    slow_s: float | None = None
    error_ratio: float = 0.0
    slow_ratio: float = 0.0

    def key(self, rollout: str, stage: int) -> str:
        """Under which the gateway is to count now."""
        name = rollout
        if len(name) > _LONGEST_NAME:
            name = f"{name[:_LONGEST_NAME]}~{hashlib.sha256(rollout.encode()).hexdigest()[:16]}"
        return f"{name}/{stage}.{self.epoch}"

    def findings(self, share: float, gates: Gates) -> Findings:
        """All that was counted so far.

        Args:
            share: of the requests that the new version has answered under the present key.
        """
        more = _evidence(self.counts, share, gates, _error_ratio(self), _slow_ratio(self))
        if share == 1.0 and any(isinstance(one, Compared) for one in self.kept.sampled.get(GateName.LATENCY, ())):
            # It was compared beside the old version. A site is not equally fast at all times, so what is slow now says nothing more.
            more.pop(GateName.LATENCY, None)
        return _together(self.kept, more)

    def read(self, reading: Reading, share: float, gates: Gates) -> "Tally":
        """The tally after the gateway was asked; the key is another one when counts were lost."""
        shrunk = any(now < before for now, before in zip(astuple(reading.counts), astuple(self.counts), strict=True))
        if shrunk:
            return self.turned(share, gates)
        return replace(self, counts=reading.counts, slow_s=self.slow_s or _slow_s(reading, gates.latency))

    def turned(self, share: float, gates: Gates) -> "Tally":
        """The tally with a new key: a stage is over."""
        return replace(
            self,
            kept=self.findings(share, gates),
            epoch=self.epoch + 1,
            counts=NOTHING_COUNTED,
            error_ratio=_error_ratio(self),
            slow_ratio=_slow_ratio(self),
        )

    def with_golden(self, golden: Golden) -> "Tally":
        """The tally with the golden inputs answered."""
        return replace(self, kept=replace(self.kept, golden=golden))

    def with_comparison(self, paired: Paired) -> "Tally":
        """The tally with the held-out examples answered by both versions."""
        sampled = {**self.kept.sampled, GateName.ACCURACY: (paired,)}
        return replace(self, kept=replace(self.kept, sampled=sampled))


def tally_value(tally: Tally) -> dict[str, Any]:
    """As JSON."""
    return {
        "kept": findings_value(tally.kept),
        "epoch": tally.epoch,
        "counts": asdict(tally.counts),
        "slow_s": tally.slow_s,
        "error_ratio": tally.error_ratio,
        "slow_ratio": tally.slow_ratio,
    }


def read_tally(table: Document) -> Tally:
    """What `tally_value` wrote.

    Raises: InvalidArgumentError: it is none.
    """
    return Tally(
        kept=read_findings(table.table("kept")),
        epoch=table.integer("epoch", 0, _MOST),
        counts=read_counts(table.table("counts")),
        slow_s=table.optional_number("slow_s", 1e9),
        error_ratio=table.number("error_ratio", 0.0, 1.0),
        slow_ratio=table.number("slow_ratio", 0.0, 1.0),
    )


def read_counts(table: Document) -> Counts:
    """Counts by name.

    Raises: InvalidArgumentError: one of them is no whole number.
    """
    return Counts(**{name: table.integer(name, 0, _MOST, 0) for name in _NAMES})


def _error_ratio(tally: Tally) -> float:
    """Of the old version: above what was seen, since one that is no worse must not fail by what was seen by chance."""
    counts = tally.counts
    if counts.old_count < BASELINE_COUNT:
        return tally.error_ratio
    return (min(counts.old_errors, counts.old_count) + 1.0) / (counts.old_count + 1.0)


def _slow_ratio(tally: Tally) -> float:
    """Of the old version, above what was seen. What is slow was said by the first answers; later ones may all have been slower."""
    counts = tally.counts
    if counts.old_timed < BASELINE_COUNT:
        return tally.slow_ratio
    return max(tally.slow_ratio, (min(counts.old_slow, counts.old_timed) + 1.0) / (counts.old_timed + 1.0))


def _slow_s(reading: Reading, gate: LatencyGate | None) -> float | None:
    known = reading.old_quantiles_ms
    if gate is None or reading.old_timed < BASELINE_COUNT or not known:
        return None
    # The next quantile that the gateway tells: a threshold that is too high asks for more slowness, not for less.
    quantile = min((one for one in known if one >= gate.quantile), default=max(known))
    return gate.slow_s(known[quantile] / 1000.0) or None


def _evidence(
    counts: Counts, share: float, gates: Gates, error_ratio: float, slow_ratio: float
) -> dict[GateName, tuple[Evidence, ...]]:
    found: dict[GateName, Evidence] = {}
    new, old = counts.new_count, counts.old_count
    new_errors, old_errors = min(counts.new_errors, new), min(counts.old_errors, old)
    new_slow, old_slow = min(counts.new_slow, counts.new_timed), min(counts.old_slow, counts.old_timed)
    if 0.0 < share < 1.0:
        found[GateName.ERRORS] = Compared(share, new, new_errors, old, old_errors)
        found[GateName.LATENCY] = Compared(share, counts.new_timed, new_slow, counts.old_timed, old_slow)
    elif share:
        found[GateName.ERRORS] = Observed(new, new_errors, min(error_ratio, 0.99))
        if gates.latency is not None:
            # By its definition so many of the old version's answers were slow; as the site was later, there may have been more.
            reference = max(1.0 - gates.latency.quantile, min(slow_ratio, 0.99))
            found[GateName.LATENCY] = Observed(counts.new_timed, new_slow, reference)
    unlike = counts.disagreed + counts.shadow_errors
    found[GateName.DISAGREEMENT] = Observed(max(counts.shadowed, unlike), unlike)
    return {name: (one,) for name, one in found.items() if name in gates.sampled()}


def _together(kept: Findings, more: Mapping[GateName, tuple[Evidence, ...]]) -> Findings:
    sampled = {
        name: tuple(one for one in merged((*kept.sampled.get(name, ()), *more.get(name, ()))) if _counted(one))
        for name in {**kept.sampled, **more}
    }
    return Findings({name: evidence for name, evidence in sampled.items() if evidence}, kept.golden)


def _counted(evidence: Evidence) -> bool:
    match evidence:
        case Compared():
            return evidence.new_count + evidence.old_count > 0
        case Observed() | Paired():
            return evidence.count > 0
