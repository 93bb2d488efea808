"""Reads a scenario's TOML file; the keys are described in docs/study-scenarios.md.

A scenario is small to write: what most studies have in common is left out and has a default.

title = "Where should pets run?"

[run]
duration_s = 5
repeats = 3

[sweep]
targets = ["cloud", "edge", "gateway"]
profiles = ["fibre", "4g"]
models = ["pets"]
protocols = ["rest-image"]
loads = [10, 40]
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import hint
from edgewise.protocols.toml_files import read_toml
from edgewise.study import arrivals, photographs, scenario_checks
from edgewise.study.cells import CLOUD, EDGE, GATEWAY, PROTOCOLS
from edgewise.study.outage_steps import read_steps
from edgewise.study.planning import price_names
from edgewise.study.results import NetworkProfile
from edgewise.study.scenario import (
    ROUTES,
    Arrivals,
    GatewaySpec,
    Inputs,
    MlperfSpec,
    ModelSpec,
    Outage,
    RunSettings,
    Scenario,
    SiteSpec,
    Sweep,
)
from edgewise.study.scenario_models import batching_keys, checked_toml, implied, read_batching, read_models
from edgewise.study.scenario_table import Table

NO_LINK: Final = "none"
"""The profile of a link that changes nothing."""

NETWORKS: Final = "networks"
"""The table of a comparison of networks, whose scenarios `edgewise.train.networks_study` reads."""

MLPERF_SCENARIOS: Final = ("SingleStream", "MultiStream", "Server", "Offline")

_MAX_SEED: Final = (1 << 53) - 1
_ARRIVALS: Final = ("poisson", "constant", "trace")
_TIERS: Final = ("cloud", "edge")
_CUSTOM_SHAPE: Final = "custom "
_LABELS_FILE: Final = "labels.csv"
_TOP_KEYS: Final = (
    "title",
    "description",
    "seed",
    "calibrate",
    "run",
    "model",
    "site",
    "gateway",
    "inputs",
    "sweep",
    "outage",
    "profile",
    "prices",
    "mlperf",
    NETWORKS,
)
_SITE_KEYS: Final = ("tier", "url", "grpc", "pooled", "instances", "threads", "cpus")
_SWEEP_KEYS: Final = ("targets", "profiles", "models", "protocols", "loads", "batching", "without")


def load(path: Path, profiles: Mapping[str, NetworkProfile], *, directory: Path | None = None) -> Scenario:
    """Read a scenario.

    Args:
        path: of the file.
        profiles: of the link emulator, by name.
        directory: where relative file names in it begin; the file's own directory.
    Raises: InvalidArgumentError: it cannot be read, or says what cannot be measured; the message names the file, the key,
        what was found and what is allowed.
    """
    text, values = read(path)
    return scenario_of(path, text, values, profiles, directory=directory)


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a scenario, and its tables.

    Raises: InvalidArgumentError: it cannot be read, or is not TOML.
    """
    return read_toml(path, "the scenario")


def scenario_of(
    path: Path,
    text: str,
    values: Mapping[str, Any],
    profiles: Mapping[str, NetworkProfile],
    *,
    directory: Path | None = None,
) -> Scenario:
    """The scenario that these tables say; arguments and errors as those of `load`."""
    top = Table(str(path), "", values, _TOP_KEYS)
    if NETWORKS in top:
        raise top.error(
            NETWORKS,
            "this compares networks, which `edgewise study run` and `report` can do; leave it out for all else",
        )
    place = path.parent if directory is None else directory
    sites = _sites(top.table("site"))
    own_profiles = _profiles(top.table("profile"), profiles)
    declared = read_models(top.table("model"), sites, place)
    sweep = _sweep(top, sites, {**profiles, **own_profiles}, declared)
    scenario = Scenario(
        title=top.text("title", path.stem) or path.stem,
        description=top.text("description", ""),
        seed=top.integer("seed", 0, _MAX_SEED, 1),
        text=text,
        run=_run(top.table("run", RunSettings.__slots__), place),
        models=_swept_models(declared, sweep, sites),
        sites=sites,
        gateway=_gateway(top.table("gateway", GatewaySpec.__slots__)),
        inputs=_inputs(top.table("inputs", Inputs.__slots__), place),
        sweep=sweep,
        prices=_prices(top.table("prices", price_names(sites))),
        calibrate=top.flag("calibrate", default=True),
        mlperf=_mlperf(top.table("mlperf", MlperfSpec.__slots__)) if "mlperf" in top else None,
        profiles=own_profiles,
    )
    scenario_checks.check(scenario, top)
    return scenario


def _run(table: Table, place: Path) -> RunSettings:
    defaults = RunSettings()
    kind = cast("Arrivals", table.choice("arrivals", _ARRIVALS, defaults.arrivals))
    trace = None
    if "trace" in table:
        trace = place / table.text("trace")
        if kind != "trace":
            raise table.error("trace", f'goes with arrivals = "trace", and this is {kind!r}')
        try:
            arrivals.read_trace(trace)
        except InvalidArgumentError as error:
            raise table.error("trace", error.message) from None
    elif kind == "trace":
        raise table.missing("trace", "the name of a CSV file with a column offset_s of rising seconds")
    shape = table.text("shape", defaults.shape)
    if shape.startswith(_CUSTOM_SHAPE):
        shape = f"{_CUSTOM_SHAPE}{place / shape.removeprefix(_CUSTOM_SHAPE).strip()}"
    try:
        arrivals.parse_shape(shape)
    except InvalidArgumentError as error:
        raise table.error("shape", error.message) from None
    return RunSettings(
        duration_s=table.number("duration_s", 0.2, 86_400, defaults.duration_s),
        warmup_s=table.number("warmup_s", 0, 3_600, defaults.warmup_s),
        repeats=table.integer("repeats", 1, 1_000, defaults.repeats),
        timeout_s=table.number("timeout_s", 0.01, 600, defaults.timeout_s),
        deadline_ms=table.number("deadline_ms", 0, 600_000, defaults.deadline_ms),
        arrivals=kind,
        trace=trace,
        shape=shape,
        max_lag_p99_ms=table.number("max_lag_p99_ms", 0.1, 10_000, defaults.max_lag_p99_ms),
        max_engine_share=table.number("max_engine_share", 0.05, 1, defaults.max_engine_share),
        void_retries=table.integer("void_retries", 0, 100, defaults.void_retries),
    )


def _sites(tables: Table) -> tuple[SiteSpec, ...]:
    """Cloud and edge are always there, as the file says or as they are by default; then the others."""
    if GATEWAY in tables:
        raise tables.error(GATEWAY, "a site cannot have the gateway's name; its table is [gateway]")
    return tuple(_site(name, tables.table(name, _SITE_KEYS)) for name in dict.fromkeys((CLOUD, EDGE, *tables)))


def _site(name: str, table: Table) -> SiteSpec:
    tier = table.choice("tier", _TIERS, name if name in _TIERS else None)
    if name in _TIERS and tier != name:
        raise table.wrong("tier", tier, f"{name!r}, which is this site's name")
    url, grpc = _addresses(table)
    return SiteSpec(
        name=name,
        tier=cast("Any", tier),
        url=url,
        grpc=grpc,
        pooled=table.integer("pooled", 1, 1_000, 1),
        instances=table.integer("instances", 1, 64, 1),
        threads=table.integer("threads", 0, 1_024, 1),
        cpus=_cores(table),
    )


def _cores(table: Table) -> tuple[int, ...]:
    """The cores that are meant: the file counts those that this process may use, whatever their numbers."""
    usable = sorted(os.sched_getaffinity(0))
    found = table.integers("cpus", 0, 4_095)
    for place, index in enumerate(found):
        if index >= len(usable):
            raise table.wrong(
                f"cpus[{place}]", index, f"less than {len(usable)}, the number of cores that can be used here"
            )
    return tuple(usable[index] for index in found)


def _addresses(table: Table) -> tuple[str, str]:
    """`url` and `grpc` of something that is there, "" for what the study starts."""
    url = table.text("url", "").rstrip("/")
    if "url" in table:
        host, _, port = url.removeprefix("http://").rpartition(":")
        if not url.startswith("http://") or not _is_address(host, port):
            raise table.wrong("url", table.text("url", ""), "http://HOST:PORT (the link relays plain connections)")
    grpc = table.text("grpc", "")
    if "grpc" in table:
        if not url:
            raise table.error("grpc", "goes with url: both are of one server")
        host, _, port = grpc.rpartition(":")
        if not _is_address(host, port):
            raise table.wrong("grpc", grpc, "HOST:PORT")
    return url, grpc


def _is_address(host: str, port: str) -> bool:
    return bool(host) and "/" not in host and port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535


def _gateway(table: Table) -> GatewaySpec:
    defaults = GatewaySpec()
    url, grpc = _addresses(table)
    return GatewaySpec(
        route=table.choice("route", ROUTES, defaults.route), url=url, grpc=grpc, config=checked_toml(table, "config")
    )


def _inputs(table: Table, place: Path) -> Inputs:
    defaults = Inputs(images=place)
    images = place / table.text("images") if "images" in table else photographs.example_images()
    labels: Path | None = images / _LABELS_FILE
    if "labels" in table:
        labels = place / table.text("labels")
        if not labels.is_file():
            raise table.error("labels", f"there is no file {labels}")
    elif labels is not None and not labels.is_file():
        labels = None
    try:
        known = tuple(path.name for path in photographs.files(images))
    except InvalidArgumentError as error:
        raise table.error("images", error.message) from None
    try:
        if labels is not None:
            photographs.read_labels(labels, known)
    except InvalidArgumentError as error:
        raise table.error("labels", error.message) from None
    return Inputs(
        images=images,
        labels=labels,
        short_side_px=table.integer("short_side_px", 0, 8_192, defaults.short_side_px),
        jpeg_quality=table.integer("jpeg_quality", 1, 95, defaults.jpeg_quality),
        augment=table.integer("augment", 0, 1_000, defaults.augment),
        limit=table.integer("limit", 1, 65_535, defaults.limit),
    )


def _profiles(tables: Table, profiles: Mapping[str, NetworkProfile]) -> Mapping[str, NetworkProfile]:
    own = {}
    for name in tables:
        if name in profiles:
            raise tables.error(name, "the link emulator has a profile of this name; choose another")
        table = tables.table(name, ("rtt_ms", "up_kbit_s", "down_kbit_s", "jitter_ms", "loss_ratio"))
        rtt_ms = table.number("rtt_ms", 0, 60_000)
        own[name] = NetworkProfile(
            name,
            rtt_ms=rtt_ms,
            up_kbit_s=table.number("up_kbit_s", 0, 100_000_000, 0),
            down_kbit_s=table.number("down_kbit_s", 0, 100_000_000, 0),
            jitter_ms=table.number("jitter_ms", 0, 60_000, 0),
            loss_ratio=table.number("loss_ratio", 0, 0.5, 0),
        )
    return own


def _sweep(
    top: Table,
    sites: Sequence[SiteSpec],
    profiles: Mapping[str, NetworkProfile],
    declared: Sequence[ModelSpec],
) -> Sweep:
    if "sweep" not in top:
        raise top.missing("sweep", "a table with targets, models, protocols and loads")
    table = top.table("sweep", _SWEEP_KEYS)
    batching = table.table("batching")
    models = _model_names(table, tuple(model.name for model in declared), sites)
    loads, unloaded = _loads(table, models)
    without = scenario_checks.read_without(table.tables("without", scenario_checks.WITHOUT_KEYS))
    return Sweep(
        targets=table.words("targets", (*(site.name for site in sites), GATEWAY), "target"),
        profiles=table.words("profiles", tuple(profiles), "profile", (NO_LINK,)),
        models=models,
        protocols=table.words("protocols", PROTOCOLS, "protocol"),
        loads=loads,
        batching={name: read_batching(batching.table(name, batching_keys())) for name in batching},
        outages=_outages(top.tables("outage", Outage.__slots__)),
        without=(*without, *unloaded),
    )


def _loads(table: Table, models: Sequence[str]) -> tuple[tuple[float, ...], tuple[Mapping[str, object], ...]]:
    """The loads, and what of them each model leaves out: a table names them by model."""
    low, high = 0.01, 50_000
    if not table.holds_table("loads"):
        return table.numbers("loads", low, high), ()
    by_model = table.table("loads", tuple(models))
    found = {model: by_model.numbers(model, low, high) for model in models}
    loads = tuple(sorted({load for own in found.values() for load in own}))
    return loads, tuple(
        {"model": model, "load": load} for model, own in found.items() for load in loads if load not in own
    )


def _model_names(table: Table, declared: Sequence[str], sites: Sequence[SiteSpec]) -> tuple[str, ...]:
    if "models" not in table and declared:
        return tuple(declared)
    found = []
    for place, name in enumerate(table.values("models") if "models" in table else ()):
        if not isinstance(name, str):
            raise table.wrong(f"models[{place}]", name, "text in quotes")
        if name not in declared and implied(name, sites) is None:
            known = (*declared, "pets", "tiny", *scenario_checks.ZOO_NAMES)
            raise table.error(
                f"models[{place}]",
                f"there is no model {name!r}{hint(name, known)}; expected one with a table [model.{name}], or some of "
                f"{', '.join(dict.fromkeys(known))}",
            )
        if name in found:
            raise table.error(f"models[{place}]", f"found {name!r} a second time, expected each once")
        found.append(name)
    if not found:
        raise table.missing("models", "a list of models, such as pets")
    return tuple(found)


def _swept_models(declared: Sequence[ModelSpec], sweep: Sweep, sites: Sequence[SiteSpec]) -> tuple[ModelSpec, ...]:
    by_name = {model.name: model for model in declared}
    found = [by_name.get(name) or implied(name, sites) for name in sweep.models]
    return tuple(model for model in found if model is not None)


def _outages(tables: Sequence[Table]) -> tuple[Outage, ...]:
    found: list[Outage] = []
    for table in tables:
        name = table.name_of("name")
        if any(outage.name == name for outage in found):
            raise table.error("name", f"found {name!r} a second time, expected each once")
        steps = table.text("steps", empty=True)
        try:
            read_steps(steps)
        except InvalidArgumentError as error:
            raise table.error("steps", error.message) from None
        found.append(Outage(name, steps))
    return tuple(found)


def _prices(table: Table) -> Mapping[str, float]:
    return {name: table.number(name, 0, 1e9) for name in table}


def _mlperf(table: Table) -> MlperfSpec:
    scenarios = table.words("scenarios", MLPERF_SCENARIOS, "scenario of MLPerf")
    defaults = MlperfSpec(scenarios)
    return MlperfSpec(
        scenarios=scenarios,
        target_latency_ms=table.number("target_latency_ms", 0.1, 600_000, defaults.target_latency_ms),
        target_qps=table.number("target_qps", 0.01, 100_000, defaults.target_qps),
        min_duration_s=table.number("min_duration_s", 0, 86_400, defaults.min_duration_s),
        min_queries=table.integer("min_queries", 1, 10_000_000, defaults.min_queries),
    )
