"""What a study is to measure, as its scenario says it. `scenario_file` reads it, `planning` makes cells and runs of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from edgewise.study.results import NetworkProfile

Arrivals = Literal["poisson", "constant", "trace"]
ModelKind = Literal["pets", "zoo", "tiny", "repository"]

ROUTES: Final = ("prefer-cloud", "prefer-edge", "fastest", "cascade", "cloud-only", "edge-only")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How each cell is measured.

    Attributes:
        duration_s: of a run, behind its warm-up.
        warmup_s: at the cell's rate; not counted.
        repeats: of each cell, interleaved with those of the others.
        timeout_s: the asker's patience.
        deadline_ms: told to the server; 0 for none.
        arrivals: of the schedule; "trace" takes the offsets of `trace`.
        trace: a CSV file with one column `offset_s`, rising.
        shape: how the rate moves over a run, in the words of `arrivals.parse_shape`, such as "constant", "ramp 0.2..1",
            "spike 3x at 40% for 10%"; the cell's rate is its unit.
        max_lag_p99_ms, max_engine_share: beyond either a run is void.
        void_retries: how often a void run is tried again.
    """

    duration_s: float = 5.0
    warmup_s: float = 0.5
    repeats: int = 3
    timeout_s: float = 5.0
    deadline_ms: float = 0.0
    arrivals: Arrivals = "poisson"
    trace: Path | None = None
    shape: str = "constant"
    max_lag_p99_ms: float = 1.0
    max_engine_share: float = 0.9
    void_retries: int = 2


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that the sites serve.

    Attributes:
        name: of the scenario.
        served_as: the model's name in requests.
        kind: how it comes about: `edgewise models build pets|zoo|tiny`, or a model repository that is there.
        network: of the zoo.
        variants: of pets, by site: "cloud", "edge", "edge-lite2", "edge-float32".
        directory: of a repository.
        batching: keys of `[batching]` in model.toml, for every site; the scenario's batching settings go before them.
        config: further tables of model.toml, as text, added to what the build wrote. `scenario_file` gives each network of
            the zoo the image signature that it lacks.
    """

    name: str
    served_as: str
    kind: ModelKind
    network: str = ""
    variants: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    batching: Mapping[str, object] = field(default_factory=dict)
    config: str = ""


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """A model server that the study starts, or one that is there.

    Attributes:
        name: "cloud", "edge", or of the scenario.
        tier: "cloud" or "edge"; a cloud is asked through the link.
        url, grpc: of a server that is there ("http://host:port", "host:port"); "" when the study starts one.
        pooled: places whose load it serves: a cell's rate is its load times this.
        instances: batches that it runs at once (`instances` of model.toml).
        threads: of one run of the model; 0 is one per core.
        cpus: cores that its process may use; empty for all.
    """

    name: str
    tier: Literal["cloud", "edge"]
    url: str = ""
    grpc: str = ""
    pooled: int = 1
    instances: int = 1
    threads: int = 1
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """The gateway that the study starts, or one that is there.

    Attributes:
        route: of every model.
        url, grpc: as of a site.
        config: further tables of gateway.toml, as text.
    """

    route: str = "prefer-cloud"
    url: str = ""
    grpc: str = ""
    config: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is asked.

    Attributes:
        images: a directory of photographs.
        labels: a CSV file with the columns `file`, `label`; the labels are verdicts such as dog, cat, other.
        short_side_px: photographs are scaled down to it before they are sent; 0 sends them as they are.
        jpeg_quality: of what was scaled or augmented.
        augment: seeded variations (turned, cropped, brighter, darker, mirrored) of each photograph, beside itself.
        limit: of distinct questions.
    """

    images: Path
    labels: Path | None = None
    short_side_px: int = 0
    jpeg_quality: int = 85
    augment: int = 0
    limit: int = 256


@dataclass(frozen=True, slots=True)
class Outage:
    """What happens to the link during a run.

    Attributes:
        steps: in the words of `edgewise link --schedule`, from the end of the warm-up: "2s:blackhole, 5s:heal".
    """

    name: str
    steps: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """The product that is measured; a target that does not cross the link is measured once for all profiles.

    Attributes:
        loads: requests a second of one place.
        batching: by name, keys of `[batching]` in model.toml; a model is served with each in turn. Empty: as the model says.
        without: parts of the product that are left out: each a mapping of an attribute of `Cell` to a value.
    """

    targets: tuple[str, ...]
    profiles: tuple[str, ...]
    models: tuple[str, ...]
    protocols: tuple[str, ...]
    loads: tuple[float, ...]
    batching: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    without: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class MlperfSpec:
    """What `mlcommons-loadgen` is to run, for each target and model of the sweep, over the first protocol.

    Attributes:
        scenarios: of "SingleStream", "MultiStream", "Server", "Offline".
        target_latency_ms: of Server.
        target_qps: of Server; how much Offline has to ask is seen before it runs.
        min_duration_s, min_queries: what loadgen demands at least. Fewer than `mlperf.LEAST_QUERIES` cannot be valid.
    """

    scenarios: tuple[str, ...]
    target_latency_ms: float = 100.0
    target_qps: float = 10.0
    min_duration_s: float = 10.0
    min_queries: int = 662


@dataclass(frozen=True, slots=True)
class Scenario:
    """A study as it was asked for.

    Attributes:
        text: the file, kept with the results.
        prices: by name (`cloud_node_per_hour`, `edge_node_per_hour`, `per_gb`, `cloud_node_watts`, `edge_node_watts`,
            `device_watts`, ...); `planning` knows the defaults.
        calibrate: whether a calibration goes before the sweep, so that predictions can be compared.
        profiles: networks of the scenario's own, by name, beside those of the link emulator; none has a name of those.
    """

    title: str
    seed: int
    text: str
    run: RunSettings
    models: tuple[ModelSpec, ...]
    sites: tuple[SiteSpec, ...]
    gateway: GatewaySpec
    inputs: Inputs
    sweep: Sweep
    description: str = ""
    prices: Mapping[str, float] = field(default_factory=dict)
    calibrate: bool = True
    mlperf: MlperfSpec | None = None
    profiles: Mapping[str, NetworkProfile] = field(default_factory=dict)
