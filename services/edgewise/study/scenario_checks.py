"""What only shows when a scenario is together: sweeps that cannot be measured."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgewise.core.toml_table import hint, shown
from edgewise.study import arrivals, planning
from edgewise.study.cells import GATEWAY, Cell
from edgewise.study.outage_steps import read_steps
from edgewise.study.scenario import Scenario
from edgewise.study.scenario_models import ZOO
from edgewise.study.scenario_table import Table

ZOO_NAMES: Final = tuple(ZOO)
WITHOUT_KEYS: Final = ("target", "profile", "model", "protocol", "load", "batching", "outage")
MAX_RUNS: Final = 20_000
MAX_RUN_REQUESTS: Final = 5_000_000

_IMAGE_PROTOCOL: Final = "rest-image"
_NO_IMAGES: Final = ("tiny",)


def read_without(tables: Sequence[Table]) -> tuple[Mapping[str, object], ...]:
    """Parts of the product that are left out; a list of values stands for each of them."""
    found: list[Mapping[str, object]] = []
    for table in tables:
        keys = tuple(table)
        if not keys:
            raise table.error(
                "", f"an empty table would leave out everything; expected some of {', '.join(WITHOUT_KEYS)}"
            )
        found += [dict(zip(keys, values, strict=True)) for values in itertools.product(*map(table.values, keys))]
    return tuple(found)


def check(scenario: Scenario, top: Table) -> None:
    """Refuse a scenario that cannot be measured.

    Args:
        top: for messages.
    Raises: InvalidArgumentError: it cannot; the message says why.
    """
    sweep = top.table("sweep")
    _check_protocols(scenario, sweep)
    _check_addresses(scenario, top)
    _check_repositories(scenario, top)
    _check_outages(scenario, top)
    _check_without(scenario, sweep)
    cells = planning.cells(scenario)
    if not cells:
        raise sweep.error("without", "it leaves out every cell; expected something to measure")
    _check_names(cells, sweep)
    runs = len(cells) * scenario.run.repeats
    if runs > MAX_RUNS:
        raise sweep.error("", f"it has {len(cells):,} cells, {runs:,} runs; expected {MAX_RUNS:,} runs at most")
    _check_lengths(scenario, cells, top)


def _check_protocols(scenario: Scenario, sweep: Table) -> None:
    if _IMAGE_PROTOCOL not in scenario.sweep.protocols:
        return
    for model in scenario.models:
        if model.kind in _NO_IMAGES and not _left_out(scenario, model=model.name, protocol=_IMAGE_PROTOCOL):
            raise sweep.error(
                "protocols",
                f"the model {model.name!r} takes no photographs, so it cannot answer {_IMAGE_PROTOCOL!r}; leave one of them out, "
                f'or write without = [{{model = "{model.name}", protocol = "{_IMAGE_PROTOCOL}"}}]',
            )


def _check_addresses(scenario: Scenario, top: Table) -> None:
    """Everything that is there already needs an address for each transport that is asked."""
    over_grpc = [protocol for protocol in scenario.sweep.protocols if protocol.endswith("-grpc")]
    for site in scenario.sites:
        if over_grpc and site.url and not site.grpc and site.name in scenario.sweep.targets:
            raise (
                top.table("site")
                .table(site.name)
                .error("grpc", f"missing, expected HOST:PORT: the sweep asks {site.name} by {over_grpc[0]!r}")
            )
    if over_grpc and scenario.gateway.url and not scenario.gateway.grpc and GATEWAY in scenario.sweep.targets:
        raise top.table("gateway").error("grpc", f"missing, expected HOST:PORT: the sweep asks it by {over_grpc[0]!r}")


def _check_repositories(scenario: Scenario, top: Table) -> None:
    started = [site for site in planning.asked_sites(scenario) if not site.url]
    for model in scenario.models:
        if started and model.kind == "repository" and model.directory is None:
            raise (
                top.table("model")
                .table(model.name)
                .error(
                    "directory", f"missing, expected the model repository that the site {started[0].name!r} is to serve"
                )
            )
    if scenario.sweep.batching:
        for site in planning.asked_sites(scenario):
            if site.url:
                raise top.table("sweep").error(
                    "batching",
                    f"the site {site.name!r} is there already and keeps its own; leave its url or the batching out",
                )


def _check_outages(scenario: Scenario, top: Table) -> None:
    if not scenario.sweep.outages:
        return
    if not any(planning.crosses_link(scenario, target) for target in scenario.sweep.targets):
        raise top.table("sweep").error(
            "targets", "an outage is of the link, and no target crosses it; expected a cloud or the gateway among them"
        )
    for place, outage in enumerate(scenario.sweep.outages):
        steps = read_steps(outage.steps)
        if steps and steps[-1].at_s >= scenario.run.duration_s:
            raise top.error(
                f"outage[{place}].steps",
                f"the step at {steps[-1].at_s:g} s lies behind the end of a run of {scenario.run.duration_s:g} s (run.duration_s)",
            )


def _check_without(scenario: Scenario, sweep: Table) -> None:
    """Each has to leave something out: a value that nothing has is a slip of the pen."""
    everything = planning.product(scenario)
    for rule in scenario.sweep.without:
        for name, value in rule.items():
            known = list(dict.fromkeys(getattr(cell, name) for cell in everything))
            if value not in known:
                near = hint(value, [str(one) for one in known]) if isinstance(value, str) else ""
                raise sweep.error(
                    "without",
                    f"no cell has {name} = {shown(value)}{near}; expected one of {', '.join(shown(one) for one in known[:20])}",
                )
        if not any(planning.matches(cell, rule) for cell in everything):
            said = ", ".join(f"{name} = {shown(value)}" for name, value in rule.items())
            raise sweep.error("without", f"no cell has {said} together, so it leaves out nothing")


def _check_names(cells: Sequence[Cell], sweep: Table) -> None:
    names: dict[str, Cell] = {}
    for cell in cells:
        if cell.name in names:
            raise sweep.error("", f"two cells would share the name {cell.name!r}; expected names without underscores")
        names[cell.name] = cell


def _check_lengths(scenario: Scenario, cells: Sequence[Cell], top: Table) -> None:
    run = scenario.run
    shape = arrivals.parse_shape(run.shape)
    rate = max(cell.rate for cell in cells) * shape.mean_factor(run.duration_s)
    requests = rate * (run.warmup_s + run.duration_s)
    if requests > MAX_RUN_REQUESTS:
        raise top.table("run").error(
            "duration_s", f"the longest run would have {requests:,.0f} requests; expected {MAX_RUN_REQUESTS:,} at most"
        )


def _left_out(scenario: Scenario, **values: Any) -> bool:
    """Whether every cell with these values is left out."""
    return any(all(values.get(name) == value for name, value in rule.items()) for rule in scenario.sweep.without)
