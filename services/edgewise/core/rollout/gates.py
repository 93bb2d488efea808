"""What must hold before a release may go on, and what evidence says about it.

A gate asks one question about requests that either hit or do not: did it end in an error, did it take longer than it should, did new and
old version disagree, was an answer wrong that is known. `sequential` says what the counts prove. A verdict that is not proven either way is
Inconclusive, which is never taken for a yes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.paired import Paired, worst
from edgewise.core.rollout.sequential import Evidence, difference_bounds, log_evidence_above, log_evidence_below, merged


class Verdict(StrEnum):
    """What evidence says about a gate."""

    PASS = "Pass"  # noqa: S105  a verdict, no password
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"


class GateName(StrEnum):
    """What can be asked."""

    ERRORS = "errors"  # the share of answers that are errors of the server, new less old
    LATENCY = "latency"  # the share of answers slower than the old version's quantile times a ratio, new less old
    DISAGREEMENT = "disagreement"  # the share of shadowed requests that new and old version answer differently
    ACCURACY = "accuracy"  # the share of held-out examples that are answered wrongly, new less old
    GOLDEN = "golden"  # inputs whose outputs are known


@dataclass(frozen=True, slots=True)
class Gate:
    """One question about a share of hits.

    Attributes:
        margin: the new version may hit in so much a larger share of its requests than the old one, 0 < margin < 1.
        confidence: of each of the two answers, yes and no, 0.5 <= confidence < 1.
    """

    margin: float
    confidence: float = 0.99

    def __post_init__(self) -> None:
        if not 0.0 < self.margin < 1.0:
            raise InvalidArgumentError(f"a margin of {self.margin:g} leaves nothing to decide; it lies between 0 and 1")
        if not 0.5 <= self.confidence < 1.0:
            raise InvalidArgumentError(f"a confidence of {self.confidence:g}: expected at least 0.5 and less than 1")

    def verdict(self, evidence: Sequence[Evidence]) -> Verdict:
        """What is proven so far. May be asked after every request: the confidence holds for all answers together."""
        least = -math.log1p(-self.confidence)
        if log_evidence_above(evidence, self.margin) >= least:
            return Verdict.FAIL
        if log_evidence_below(evidence, self.margin) >= least:
            return Verdict.PASS
        return Verdict.INCONCLUSIVE

    def bounds(self, evidence: Sequence[Evidence]) -> tuple[float, float]:
        """The share of hits of the new version less the old one's: (low, high), for people."""
        return difference_bounds(evidence, 1.0 - self.confidence)


@dataclass(frozen=True, slots=True)
class LatencyGate(Gate):
    """Is the new version slower?

    Attributes:
        quantile: of the old version's latencies at that site, before the new one answers anything.
        ratio: a request is slow when it takes longer than this times that quantile.
    """

    margin: float = 0.05
    quantile: float = 0.95
    ratio: float = 1.25

    def __post_init__(self) -> None:
        Gate.__post_init__(self)
        if not 0.0 < self.quantile < 1.0:
            raise InvalidArgumentError(f"a quantile of {self.quantile:g} lies outside 0..1")
        if not self.ratio >= 1.0:
            raise InvalidArgumentError(
                f"a ratio of {self.ratio:g} would ask the new version to be faster; 1 or more is right"
            )

    def slow_s(self, baseline_s: float) -> float:
        """What is slow at a site whose old version has this quantile, in seconds."""
        return baseline_s * self.ratio


@dataclass(frozen=True, slots=True)
class AccuracyGate(Gate):
    """Is the new version more often wrong about the held-out examples that its release carries?

    Each comparison - of the float32 variants, of the int8 ones - has to pass by itself: they are about the same examples, so together they
    would count each of them more than once.
    """

    margin: float = 0.02
    confidence: float = 0.95

    def verdict(self, evidence: Sequence[Evidence]) -> Verdict:
        """What is proven of all comparisons; without any, nothing is."""
        verdicts = [self._verdict(one) for one in evidence if isinstance(one, Paired)]
        return together(verdicts) if verdicts else Verdict.INCONCLUSIVE

    def bounds(self, evidence: Sequence[Evidence]) -> tuple[float, float]:
        """Of the comparison that speaks most against the new version."""
        pairs = [one for one in evidence if isinstance(one, Paired)]
        return worst(pairs).bounds(1.0 - self.confidence) if pairs else (-1.0, 1.0)

    def _verdict(self, paired: Paired) -> Verdict:
        alpha = 1.0 - self.confidence
        if paired.is_proven_above(self.margin, alpha):
            return Verdict.FAIL
        return Verdict.PASS if paired.is_proven_below(self.margin, alpha) else Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Gates:
    """What is asked of a release at each site and of each wave; what is None is not asked.

    Attributes:
        golden: whether golden inputs of the release have to give their known outputs.
    """

    errors: Gate | None = field(default_factory=lambda: Gate(0.01))
    latency: LatencyGate | None = field(default_factory=LatencyGate)
    disagreement: Gate | None = None
    golden: bool = True
    accuracy: AccuracyGate | None = None

    def sampled(self) -> Mapping[GateName, Gate]:
        """Those that look at samples, by name."""
        asked = {
            GateName.ERRORS: self.errors,
            GateName.LATENCY: self.latency,
            GateName.DISAGREEMENT: self.disagreement,
            GateName.ACCURACY: self.accuracy,
        }
        return {name: gate for name, gate in asked.items() if gate is not None}

    def verdicts(self, findings: "Findings") -> dict[GateName, Verdict]:
        """Of each gate, in the order in which they are asked."""
        found = {name: gate.verdict(findings.sampled.get(name, ())) for name, gate in self.sampled().items()}
        if self.golden:
            found[GateName.GOLDEN] = findings.golden.verdict()
        return found

    def verdict(self, findings: "Findings") -> Verdict:
        """Of all together: one failure fails, and only what passes everywhere passes."""
        return together(self.verdicts(findings).values())


@dataclass(frozen=True, slots=True)
class Golden:
    """Golden inputs so far.

    Attributes:
        sites: where they were asked, or are to be.
        complete: at how many of them all were answered.
        wrong: how many answers were not the known ones.
    """

    sites: int = 0
    complete: int = 0
    wrong: int = 0

    def verdict(self) -> Verdict:
        """They are no sample: one wrong answer is one too many, and all right leaves nothing open."""
        if self.wrong:
            return Verdict.FAIL
        return Verdict.PASS if self.sites and self.complete == self.sites else Verdict.INCONCLUSIVE

    def __add__(self, other: "Golden") -> "Golden":
        return Golden(self.sites + other.sites, self.complete + other.complete, self.wrong + other.wrong)


@dataclass(frozen=True, slots=True)
class Findings:
    """What was counted at a site, or at several together."""

    sampled: Mapping[GateName, tuple[Evidence, ...]] = field(default_factory=dict)
    golden: Golden = Golden()


NO_FINDINGS: Final = Findings()


def pooled(findings: Iterable[Findings]) -> Findings:
    """Of several sites together."""
    sampled: dict[GateName, list[Evidence]] = {}
    golden = Golden()
    for one in findings:
        golden += one.golden
        for name, evidence in one.sampled.items():
            sampled.setdefault(name, []).extend(evidence)
    return Findings({name: merged(evidence) for name, evidence in sampled.items()}, golden)


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several gates; nothing asked passes."""
    found = set(verdicts)
    if Verdict.FAIL in found:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in found else Verdict.PASS
