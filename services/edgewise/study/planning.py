"""Makes cells and runs of a scenario, and says how long they will take."""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from edgewise.study.cells import CLOUD, GATEWAY, Cell, Run
from edgewise.study.results import Calibration
from edgewise.study.scenario import Outage, Scenario, SiteSpec

T = TypeVar("T")

PRICES: Final = MappingProxyType(
    {
        "cloud_node_per_hour": 0.085,
        "edge_node_per_hour": 0.02,
        "per_gb": 0.09,
        "cloud_node_watts": 25.0,
        "edge_node_watts": 15.0,
        "device_watts": 2.5,
    }
)
"""What a scenario's prices are when it says nothing; docs/study-scenarios.md tells where each number comes from."""


@dataclass(frozen=True, slots=True)
class Overheads:
    """What a study takes beside its runs.

    Attributes:
        start_s: until the first run, with models that are built already.
        model_s: to serve another model, or the same with other batching settings.
        run_s: between two runs: the network is set, the engine told, the record written and analysed.
        gateway_s: added for a run through the gateway that follows one over another network: it starts anew.
        outage_s: added for a run with an outage, whose lost requests are waited for.
        calibration_s: of one target, model, protocol and batching.
        report_s: at the end.
        mlperf_ratio: how much longer a run of MLPerf takes than the least it has to, with the one for accuracy beside it.
    """

    start_s: float = 2.0
    model_s: float = 2.5
    run_s: float = 0.1
    gateway_s: float = 0.6
    outage_s: float = 1.1
    calibration_s: float = 4.0
    report_s: float = 8.0
    mlperf_ratio: float = 1.5


@dataclass(frozen=True, slots=True, order=True)
class Calibrated:
    """What is calibrated once for all cells that share it."""

    target: str
    model: str
    protocol: str
    batching: str = ""

    @classmethod
    def of(cls, one: Cell | Calibration) -> "Calibrated":
        """Which calibration a cell goes by; what a calibration is of."""
        return cls(one.target, one.model, one.protocol, one.batching)


def site_called(scenario: Scenario, name: str) -> SiteSpec | None:
    """The site of this name; None for the gateway."""
    return next((site for site in scenario.sites if site.name == name), None)


def crosses_link(scenario: Scenario, target: str) -> bool:
    """Whether what is asked of a target may pass the link: a cloud's does, the gateway's does, an edge's does not."""
    site = site_called(scenario, target)
    return site is None or site.tier == CLOUD


def asked_sites(scenario: Scenario) -> tuple[SiteSpec, ...]:
    """The sites that the sweep needs: its targets, and both tiers behind a gateway that the study starts."""
    behind = GATEWAY in scenario.sweep.targets and not scenario.gateway.url
    first: dict[str, str] = {}
    for site in scenario.sites:
        first.setdefault(site.tier, site.name)
    wanted = {*scenario.sweep.targets, *(first.values() if behind else ())}
    return tuple(site for site in scenario.sites if site.name in wanted)


def price_names(sites: Iterable[SiteSpec]) -> tuple[str, ...]:
    """What a scenario can set: those of `PRICES`, and the node of each site by the site's name."""
    of_sites = (f"{site.name}_{thing}" for site in sites for thing in ("node_per_hour", "node_watts"))
    return tuple(dict.fromkeys((*PRICES, *of_sites)))


def prices(scenario: Scenario) -> dict[str, float]:
    """The scenario's prices, and defaults for those it does not name; a site's node is by default one of its tier."""
    known = {**PRICES, **scenario.prices}
    by_tier = {
        f"{site.name}_{thing}": known[f"{site.tier}_{thing}"]
        for site in scenario.sites
        for thing in ("node_per_hour", "node_watts")
    }
    return {**by_tier, **known}


def product(scenario: Scenario) -> tuple[Cell, ...]:
    """Every cell of the sweep, before anything is left out.

    A target that does not cross the link is measured once for all profiles and outages.
    """
    sweep = scenario.sweep
    found: dict[Cell, None] = {}
    for target, profile, model, protocol, batching, outage, load in itertools.product(
        sweep.targets,
        sweep.profiles,
        sweep.models,
        sweep.protocols,
        tuple(sweep.batching) or ("",),
        sweep.outages or (Outage("", ""),),
        sweep.loads,
    ):
        crosses = crosses_link(scenario, target)
        site = site_called(scenario, target)
        cell = Cell(
            target=target,
            profile=profile if crosses else "",
            model=model,
            protocol=protocol,
            load=load,
            rate=load * (site.pooled if site is not None else 1),
            batching=batching,
            # One without steps is there to compare with, and is measured as what it is: no outage.
            outage=outage.name if crosses and outage.steps.strip() else "",
        )
        found.setdefault(cell)
    return tuple(found)


def cells(scenario: Scenario) -> tuple[Cell, ...]:
    """What is measured, in the order in which the scenario names it."""
    return tuple(cell for cell in product(scenario) if not any(matches(cell, rule) for rule in scenario.sweep.without))


def matches(cell: Cell, rule: Mapping[str, object]) -> bool:
    """Whether a cell has all these values."""
    return all(getattr(cell, name) == value for name, value in rule.items())


def runs(scenario: Scenario) -> tuple[Run, ...]:
    """Every repeat of every cell, in the order measured.

    What takes long to change, model and batching settings, changes seldom. Under one of them the first repeat of every
    cell comes before the second of any, so that a machine that warms up or gets busy does not spoil one cell alone; in
    each round the networks, and under each of them the cells, come in an order of their own.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells(scenario):
        groups.setdefault((cell.model, cell.batching), []).append(cell)
    found: list[Run] = []
    for (model, batching), members in groups.items():
        for repeat in range(scenario.run.repeats):
            order = random.Random(_seed(scenario.seed, "order", model, batching, repeat))  # noqa: S311 - no secret
            by_profile: dict[str, list[Cell]] = {}
            for cell in members:
                by_profile.setdefault(cell.profile, []).append(cell)
            for profile in _shuffled(by_profile, order):
                found += [
                    Run(cell, repeat, run_seed(scenario, cell, repeat))
                    for cell in _shuffled(by_profile[profile], order)
                ]
    return tuple(found)


def run_seed(scenario: Scenario, cell: Cell, repeat: int) -> int:
    """Of a run's schedule and of the order of its questions.

    Cells that differ in target, network or outage alone share it: they are asked the same at the same times, so that what
    tells them apart is not chance.
    """
    return _seed(scenario.seed, "run", cell.model, cell.protocol, cell.batching, f"{cell.load:g}", repeat)


def calibrated(scenario: Scenario) -> tuple[Calibrated, ...]:
    """What a calibration has to measure, in the order in which the runs need it; empty when the scenario wants none."""
    if not scenario.calibrate:
        return ()
    return tuple(dict.fromkeys(Calibrated.of(run.cell) for run in runs(scenario)))


def expected_s(
    scenario: Scenario,
    overheads: Overheads | None = None,
    warmup_s: Callable[[Cell], float] | None = None,
) -> float:
    """How long the whole study takes, when no run is void and all models are built.

    Args:
        warmup_s: of a cell's runs, where it is another than the scenario's.
    """
    overheads = overheads or Overheads()
    planned = runs(scenario)
    total_s = overheads.start_s + overheads.report_s
    for run in planned:
        total_s += scenario.run.warmup_s if warmup_s is None else warmup_s(run.cell)
        total_s += scenario.run.duration_s + overheads.run_s + overheads.outage_s * bool(run.cell.outage)
    total_s += len({(run.cell.model, run.cell.batching) for run in planned}) * overheads.model_s
    total_s += len(calibrated(scenario)) * overheads.calibration_s
    network = ""
    for run in planned:
        if run.cell.target == GATEWAY:
            total_s += overheads.gateway_s * (run.cell.profile != network or bool(run.cell.outage))
            network = run.cell.profile
    if scenario.mlperf is not None:
        asked = {(cell.target, cell.model) for cell in cells(scenario)}
        least_s = max(scenario.mlperf.min_duration_s, scenario.mlperf.min_queries / scenario.mlperf.target_qps)
        once_s = least_s * overheads.mlperf_ratio
        total_s += len(asked) * len(scenario.mlperf.scenarios) * once_s
    return total_s


def _shuffled(items: Iterable[T], order: random.Random) -> list[T]:
    found = list(items)
    order.shuffle(found)
    return found


def _seed(*words: object) -> int:
    """The same for the same words on every machine; fits a float's whole numbers, as JSON needs."""
    text = "\x1f".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
