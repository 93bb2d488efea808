"""A run in phases, by the intended time of sending: before, first second of the fault, its rest, failback, after."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench_failover.ledger import Ledger
from bench_failover.load import ERROR, LOST, OK, Record
from bench_failover.world import CLOUD, EDGE

FIRST_S: Final = 1.0
FAILBACK_S: Final = 3.0
_DIRECT_S: Final = 0.020
"""A request that reaches the edge within this of its intended time did not wait for the cloud first."""
_STREAK: Final = 50
_WINDOW: Final = 50
_BACK_RATIO: Final = 0.95


@dataclass(frozen=True, slots=True)
class Phase:
    """What the app saw of one phase; latencies from the intended time. `error_*` are those of the errors."""

    name: str
    asked: int
    cloud: int
    edge: int
    errors: int
    lost: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    error_p50_ms: float
    error_p99_ms: float
    error_max_ms: float


@dataclass(frozen=True, slots=True)
class Passage:
    """How the traffic moved.

    Attributes:
        switch_ms: from the fault to the end of the last request that had waited for the cloud, before everything went
            straight to the edge; None when that never came.
        late: requests of the fault that waited for the cloud before the switch.
        strays: requests of the fault after the switch that did not go straight to the edge.
        back_ms: from the heal until 95 % of a quarter of a second is answered by the cloud; None when never.
        switches: changes of the site that answers most, over the whole run.
        departures: how often, in the fault, the traffic left the cloud.
    """

    switch_ms: float | None
    late: int
    strays: int
    back_ms: float | None
    switches: int
    departures: int


def quantile(values: Sequence[float], ratio: float) -> float:
    """The nearest-rank quantile; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(ratio * len(ordered)) - 1)]


def within(records: list[Record], since_s: float, until_s: float) -> list[Record]:
    """Those that were due in [since, until)."""
    return [record for record in records if since_s <= record.due_s < until_s]


def summarize(name: str, records: list[Record]) -> Phase:
    """One row of the table."""
    answered = [(record.ended_s - record.due_s) * 1e3 for record in records if record.state == OK]
    failed = [(record.ended_s - record.due_s) * 1e3 for record in records if record.state == ERROR]
    return Phase(
        name,
        len(records),
        sum(record.state == OK and record.site == CLOUD for record in records),
        sum(record.state == OK and record.site == EDGE for record in records),
        len(failed),
        sum(record.state == LOST for record in records),
        quantile(answered, 0.5),
        quantile(answered, 0.99),
        max(answered, default=math.nan),
        quantile(failed, 0.5),
        quantile(failed, 0.99),
        max(failed, default=math.nan),
    )


def split(records: list[Record], measured_s: float, begin_s: float, heal_s: float) -> dict[str, list[Record]]:
    """The requests of each phase.

    Args:
        measured_s: when the warm-up is over.
        begin_s, heal_s: the fault's.
    """
    return {
        "before": within(records, measured_s, begin_s),
        "first second": within(records, begin_s, min(begin_s + FIRST_S, heal_s)),
        "rest of it": within(records, begin_s + FIRST_S, heal_s),
        "failback": within(records, heal_s, heal_s + FAILBACK_S),
        "after": within(records, heal_s + FAILBACK_S, math.inf),
    }


def passage(ledger: Ledger, measured_s: float, begin_s: float, heal_s: float) -> Passage:
    """How the traffic moved from the cloud to the edge and back."""
    records = [record for record in ledger.records if record.due_s >= measured_s]
    # Those in flight at the cut waited for the cloud, too.
    at_stake = [record for record in records if record.ended_s >= begin_s and record.due_s < heal_s]
    direct = [_straight_to_edge(ledger, record) for record in at_stake]
    switch_ms, late, strays = None, 0, 0
    for start in range(len(at_stake) - _STREAK + 1):
        if all(direct[start : start + _STREAK]):
            waited = [record for record, straight in zip(at_stake[:start], direct, strict=False) if not straight]
            ended_s = max((record.ended_s for record in waited), default=begin_s)
            switch_ms = (ended_s - begin_s) * 1e3
            late = sum(record.due_s >= begin_s for record in waited)
            strays = direct[start:].count(False)
            break
    return Passage(
        switch_ms,
        late,
        strays,
        _back_ms(within(records, heal_s, math.inf), heal_s),
        len(_switches(records)),
        _switches(within(records, begin_s - 0.5, heal_s)).count(EDGE),
    )


def _straight_to_edge(ledger: Ledger, record: Record) -> bool:
    if record.state != OK or record.site != EDGE:
        return False
    if not ledger.executions:
        # Real servers keep no record: what is this quick has not waited.
        return record.ended_s - record.due_s <= 2 * _DIRECT_S
    reached_s = ledger.reached_s(record, EDGE)
    return reached_s is not None and reached_s - record.due_s <= _DIRECT_S


def _back_ms(records: list[Record], heal_s: float) -> float | None:
    by_cloud = [record.state == OK and record.site == CLOUD for record in records]
    for start in range(len(by_cloud) - _WINDOW + 1):
        if sum(by_cloud[start : start + _WINDOW]) >= _BACK_RATIO * _WINDOW:
            return (records[start].due_s - heal_s) * 1e3
    return None


def _switches(records: list[Record]) -> list[str]:
    """Where the traffic went each time it moved: by the site that answers most of a window, with hysteresis."""
    moves, serving = [], ""
    for start in range(0, len(records) - _WINDOW + 1, _WINDOW):
        window = records[start : start + _WINDOW]
        ratio = sum(record.site == CLOUD for record in window) / _WINDOW
        now = CLOUD if ratio >= 0.75 else EDGE if ratio <= 0.25 else serving
        if serving and now != serving:
            moves.append(now)
        serving = now
    return moves
