"""What the app may see at most, fault by fault. Every bar compares with the run itself or with what is physically there."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench_failover.phases import Phase
    from bench_failover.run import Result

DEADLINE_GRACE_S: Final = 0.010
"""The budget begins when the gateway has read the request and ends when it writes the answer; the app sees a little more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar: what was measured, what was allowed."""

    name: str
    reached: bool
    measured: str
    allowed: str


def _phase(result: "Result", name: str) -> "Phase":
    return next(phase for phase in result.phases if phase.name == name)


def _at_most(name: str, value: float | None, most: float, unit: str) -> Verdict:
    if value is None or math.isnan(value):
        return Verdict(name, False, "never", f"≤ {most:.4g} {unit}".rstrip())
    return Verdict(name, value <= most, f"{value:.4g} {unit}".rstrip(), f"≤ {most:.4g} {unit}".rstrip())


def _lost(result: "Result") -> Verdict:
    return _at_most("lost", result.lost + result.residual + result.unaccounted, 0, "")


def _errors(result: "Result") -> Verdict:
    return _at_most("errors", result.errors, 0, "")


def _ghosts(result: "Result") -> Verdict:
    return _at_most("ghosts", result.ghosts, 0, "")


def _first(result: "Result") -> Verdict:
    """First second: p99 ≤ the p99 before + max(60 ms, RTT / 2)."""
    most_ms = _phase(result, "before").p99_ms + max(60.0, result.case.rtt_ms / 2)
    return _at_most("p99 of the first second", _phase(result, "first second").p99_ms, most_ms, "ms")


def _rest(result: "Result") -> Verdict:
    """Rest of the fault: p99 ≤ twice what the edge alone gives these requests."""
    return _at_most("p99 of the rest", _phase(result, "rest of it").p99_ms, 2 * result.edge_own_p99_ms, "ms")


def _rest_between(result: "Result") -> Verdict:
    """Where the link is well for a second in between: what the cloud answers then takes as long as the cloud is far."""
    most_ms = max(2 * result.edge_own_p99_ms, _phase(result, "before").p99_ms)
    return _at_most("p99 of the rest", _phase(result, "rest of it").p99_ms, most_ms, "ms")


def _switch(result: "Result") -> Verdict:
    """Everything on the edge ≤ 250 ms + RTT after the fault."""
    return _at_most("time to switch", result.passage.switch_ms, 250 + result.case.rtt_ms, "ms")


def _failback(result: "Result") -> Verdict:
    """Failback: p99 ≤ 1.1 × the steady one, which is the p99 before, moved by what the drawn service times differ."""
    own = result.cloud_own_p99_ms
    steady_ms = _phase(result, "before").p99_ms + max(0.0, own["failback"] - own["before"])
    return _at_most("p99 of failback", _phase(result, "failback").p99_ms, 1.1 * steady_ms, "ms")


def _back(result: "Result") -> Verdict:
    """Back on the cloud ≤ 3 s after the heal."""
    return _at_most("time back", result.passage.back_ms, 3000, "ms")


def _duplicates(result: "Result") -> Verdict:
    """At most 1 % of the requests are run twice."""
    return _at_most("duplicates", result.duplicates / result.asked * 100, 1.0, "%")


def _trip(result: "Result") -> Verdict:
    """A packet-size blackhole trips within 10 requests after the first could be missed, which takes a round trip."""
    case = result.case
    most = 10 + math.ceil(case.rate * case.rtt_ms / 1e3)
    return _at_most("requests that waited for the cloud", result.passage.late, most, "")


def _alarm(result: "Result") -> Verdict:
    """No false alarm: at most 1 % is answered by the edge."""
    whole = _phase(result, "whole run")
    return _at_most("answered by the edge", whole.edge / whole.asked * 100, 1.0, "%")


def _flap(result: "Result") -> Verdict:
    """The traffic leaves the cloud at most once per 10 s. (Coming back soon after a first heal is another bar.)"""
    most = math.ceil(result.case.fault_s / 10)
    return _at_most("departures from the cloud", result.passage.departures, most, "")


def _shed(result: "Result") -> Verdict:
    """What the edge cannot answer is refused with Retry-After, and no more than that: a fifth is too much."""
    fault = [_phase(result, "first second"), _phase(result, "rest of it")]
    ratio = result.errors / max(1, sum(phase.asked for phase in fault))
    reached = ratio <= 0.2 and result.retry_after == result.errors
    return Verdict(
        "refused of the fault's requests",
        reached,
        f"{ratio:.1%}, {result.retry_after} of {result.errors} with Retry-After",
        "≤ 20 %, all with Retry-After",
    )


def _deadline(result: "Result") -> Verdict:
    """The deadline is kept for everything admitted."""
    return _at_most("answers after the deadline", result.late_answers, 0, "")


def _clear(result: "Result") -> Verdict:
    """Nobody there: an error at once. What was in flight at the cut first has to be found lost."""
    phase = _phase(result, "rest of it")
    told = not result.lost and phase.errors == phase.asked and phase.error_p99_ms <= 100
    return Verdict(
        "told so at once",
        told,
        f"{result.lost} lost; errors take {phase.error_p50_ms:.3g} ms at p50, {phase.error_p99_ms:.3g} at p99",
        "0 lost; p99 ≤ 100 ms",
    )


_BARS: Final[dict[str, Callable[["Result"], Verdict]]] = {
    "lost": _lost,
    "errors": _errors,
    "ghosts": _ghosts,
    "first": _first,
    "rest": _rest,
    "rest between": _rest_between,
    "switch": _switch,
    "failback": _failback,
    "back": _back,
    "duplicates": _duplicates,
    "trip": _trip,
    "alarm": _alarm,
    "flap": _flap,
    "shed": _shed,
    "deadline": _deadline,
    "clear": _clear,
}


def judge(names: Iterable[str], result: "Result") -> list[Verdict]:
    """Hold the result to these bars."""
    return [_BARS[name](result) for name in names]
