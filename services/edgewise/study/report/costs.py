"""What a million predictions cost and use, from a table of prices. Pure.

With A answers a second at the load of the cell, over all nodes that had to run for them:

    node      = price per hour of those nodes / (3600 × A) × 10⁶
    transfer  = bytes of question and answer / 10⁹ × price per GB × 10⁶, for what crosses the network
    node_kwh  = watts of those nodes / A × 10⁶ / 3.6·10⁶
    device_kwh = watts of the device × mean latency in s × 10⁶ / 3.6·10⁶

One node a site. A node is paid for and uses its watts while it waits too, so at a low load a prediction is dear. Through the gateway
both nodes run, and the cloud's share of the answers crosses the network. What a request used that was not answered
is paid by the answers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from edgewise.study.cells import CLOUD, EDGE, GATEWAY
from edgewise.study.planning import Calibrated
from edgewise.study.report.index import Index, Setting
from edgewise.study.results import Calibration, CellResult

MILLION: Final = 1e6

PER_GB: Final = "per_gb"
DEVICE_WATTS: Final = "device_watts"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a million predictions; nan where the table of prices lacks what is needed.

    Attributes:
        node, transfer: in the currency of the prices.
        node_kwh, device_kwh: energy.
        busy_node: what `node` would be with every node at its calibrated capacity: the least it can be; nan without a calibration.
    """

    cell: CellResult
    node: float
    transfer: float
    node_kwh: float
    device_kwh: float
    busy_node: float = math.nan

    @property
    def total(self) -> float:
        """In the currency of the prices."""
        return self.node + self.transfer

    @property
    def total_kwh(self) -> float:
        """Energy of nodes and device."""
        return self.node_kwh + self.device_kwh


def costs(index: Index, setting: Setting) -> list[Cost]:
    """Of the measured cells of a setting, in their order."""
    found = index.cells_of(setting)
    return [_with_capacity(index, cost(one, index.result.prices, _size_bytes(index, one))) for one in found]


def cost(found: CellResult, prices: Mapping[str, float], size_bytes: float) -> Cost:
    """Of one cell.

    Args:
        prices: the table of the scenario.
        size_bytes: of question and answer, on the wire; nan when nobody knows.
    """
    rate = found.cell.rate * found.availability.value
    crossing = _crossing_ratio(found)
    hourly = sum(_priced(prices, found, site, "node_per_hour") for site in _nodes(found))
    watts = sum(_priced(prices, found, site, "node_watts") for site in _nodes(found))
    per_gb, device_watts = prices.get(PER_GB, math.nan), prices.get(DEVICE_WATTS, math.nan)
    transfer = 0.0 if crossing == 0 else crossing * size_bytes / 1e9 * per_gb * MILLION
    if not rate > 0:
        return Cost(found, math.nan, math.nan, math.nan, math.nan)
    return Cost(
        found,
        hourly / (3600 * rate) * MILLION,
        transfer,
        watts / rate * MILLION / 3.6e6,
        device_watts * found.mean_ms.value / 1e3 * MILLION / 3.6e6,
    )


def _nodes(found: CellResult) -> tuple[str, ...]:
    """Tiers of which a node has to run."""
    if found.cell.target == GATEWAY:
        return (CLOUD, EDGE)
    return (CLOUD,) if found.cell.profile else (EDGE,)


def _priced(prices: Mapping[str, float], found: CellResult, tier: str, thing: str) -> float:
    """Of the site by its name where it has a price of its own, else of its tier."""
    named = prices.get(f"{found.cell.target}_{thing}") if found.cell.target != GATEWAY else None
    return named if named is not None else prices.get(f"{tier}_{thing}", math.nan)


def _crossing_ratio(found: CellResult) -> float:
    """Share of the answers that crossed the network to the cloud."""
    if found.cell.target != GATEWAY:
        return 1.0 if found.cell.profile else 0.0
    return answered_by(found, CLOUD)


def answered_by(found: CellResult, site: str) -> float:
    """The share of a cell's answers that a site gave; nan where no answer says who gave it."""
    answers: dict[str, int] = {}
    for run in found.runs:
        if not run.void:
            for name, times in run.sites.items():
                answers[name] = answers.get(name, 0) + times
    known = sum(answers.values())
    return answers.get(site, 0) / known if known else math.nan


def _calibration(index: Index, found: CellResult) -> Calibration | None:
    """Of the cell's target; of the cloud for what came through the gateway."""
    cell = found.cell
    target = CLOUD if cell.target == GATEWAY else cell.target
    named = Calibrated(target, cell.model, cell.protocol, cell.batching)
    return next((one for one in index.result.calibrations if Calibrated.of(one) == named), None)


def _size_bytes(index: Index, found: CellResult) -> float:
    known = _calibration(index, found)
    return known.request_bytes + known.response_bytes if known is not None else math.nan


def _with_capacity(index: Index, made: Cost) -> Cost:
    known = _calibration(index, made.cell)
    if known is None or not known.capacity_per_s or made.cell.cell.target == GATEWAY:
        return made
    hourly = _priced(index.result.prices, made.cell, _nodes(made.cell)[0], "node_per_hour")
    return replace(made, busy_node=hourly / (3600 * known.capacity_per_s[-1]) * MILLION)
