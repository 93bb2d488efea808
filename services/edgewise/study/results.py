"""What a study found, as numbers: the port between analysis, report, prediction and comparison."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewise.study.cells import Cell, Run


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % confidence interval; all three nan where there is nothing to estimate it from."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run, in figures.

    Attributes:
        requests: of the schedule, without the warm-up; `counts` adds up to it.
        counts: requests by the name of their state in lower case: ok, rejected, expired, error, lost, unsent.
        mean_ms, quantiles_ms: latency of what was answered, from the due time; quantiles by their ratio: 0.5, 0.9, 0.95, 0.99, 0.999.
        max_ms: likewise.
        lag_p99_ms: how late the engine was.
        engine_share: of one core, that the engine used.
        void: why the run does not count; "" when it does.
        sites: answers by site.
        right, labelled: of the answers to questions whose right answer is known.
        errors: distinct texts with counts.
        arrival_scv: squared coefficient of variation of the gaps of the schedule.
    """

    run: Run
    requests: int
    counts: Mapping[str, int]
    mean_ms: float
    quantiles_ms: Mapping[float, float]
    max_ms: float
    duration_s: float
    lag_p99_ms: float
    engine_share: float
    void: str = ""
    sites: Mapping[str, int] = field(default_factory=dict)
    right: int = 0
    labelled: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    arrival_scv: float = 1.0


@dataclass(frozen=True, slots=True)
class Second:
    """What became of the requests that were due in one second of a run, summed over the valid repeats of a cell.

    Attributes:
        second: from the end of the warm-up; the first is 0.
        counts: requests by the name of their state, as in `RunResult`.
        sites: answers by site.
        p50_ms, p99_ms: latency of what was answered, from the due time; nan where nothing was.
    """

    second: int
    counts: Mapping[str, int]
    sites: Mapping[str, int] = field(default_factory=dict)
    p50_ms: float = float("nan")
    p99_ms: float = float("nan")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a target said of one input, most often over the valid repeats.

    Attributes:
        source: which input; the same for every target that was asked it.
        label: the right answer, "" when nobody knows.
        verdict: the answer, in the words of the labels where there are any.
    """

    source: str
    label: str
    verdict: str


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell over its valid repeats, whose histograms are merged, never averaged.

    Attributes:
        runs: all of them, void ones too.
        quantiles_ms: with intervals; by ratio: 0.5, 0.95, 0.99.
        availability: requests answered over requests of the schedule.
        accuracy: right over labelled; nan where nothing was labelled.
        cdf_ms: latencies at the quantiles i/200, i = 0..200, then 0.999 and 1; empty when nothing was answered.
        timeline: by second, for what changes during a run; may be left empty where nothing does.
        judgements: one an input, so that two targets can be compared input by input; empty where verdicts are not known.
    """

    cell: Cell
    runs: tuple[RunResult, ...]
    requests: int
    counts: Mapping[str, int]
    mean_ms: Estimate
    quantiles_ms: Mapping[float, Estimate]
    availability: Estimate
    accuracy: Estimate
    cdf_ms: tuple[float, ...] = ()
    timeline: tuple[Second, ...] = ()
    judgements: tuple[Judgement, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a short calibration of one target, model, protocol and batching found; the input of every prediction.

    Attributes:
        base_ms: mean latency of a lone request with everything but the emulated network: service and overhead. The one before
            was answered shortly before.
        base_samples_ms: such latencies, at least 50.
        capacity_per_s: predictions a second with 1, 2, ... c requests inside, c being what the target runs at once: how the
            speed depends on how many are served. The last is the capacity.
        service_scv: squared coefficient of variation of the service time.
        request_bytes, response_bytes: mean, on the wire.
        request_bytes_scv: squared coefficient of variation of the requests' sizes.
        largest_batch: 1 where `capacity_per_s` is by instances; more where it is by the size of a batch, up to this.
        capacity_error_ratio: standard error of the capacity, as a share of it.
        base_error_ratio: standard error of `base_ms`, as a share of it.
        pauses_ms, pause_costs_ms: how long a target had nothing to do before a lone request, rising, and by how much that one
            took longer than `base_ms`; empty where it was not measured.
    """

    target: str
    model: str
    protocol: str
    batching: str
    base_ms: float
    base_samples_ms: tuple[float, ...]
    capacity_per_s: tuple[float, ...]
    service_scv: float
    request_bytes: int
    response_bytes: int
    request_bytes_scv: float = 0.0
    largest_batch: int = 1
    capacity_error_ratio: float = 0.0
    base_error_ratio: float = 0.0
    pauses_ms: tuple[float, ...] = ()
    pause_costs_ms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """A network between the asker and the cloud, as the link emulator makes it.

    Attributes:
        rtt_ms: of an empty message.
        up_kbit_s, down_kbit_s: 0 is no limit.
        jitter_ms, loss_ratio: each way.
        path_spread_ms: how far each way's delay moves when the path changes, as between satellites; one path lasts 15 s.
    """

    name: str
    rtt_ms: float
    up_kbit_s: float = 0.0
    down_kbit_s: float = 0.0
    jitter_ms: float = 0.0
    loss_ratio: float = 0.0
    path_spread_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of one cell.

    Attributes:
        utilisation: of the busiest stage; at 1 or more there is no steady state and the latencies are infinite.
        bottleneck: "server", "uplink" or "downlink".
        low_mean_ms, high_mean_ms: how sure it is: bounds that hold the mean for 95 % of calibrations and schedules of this length.
        note: what the prediction leaves out or cannot know, for people; "" when there is nothing to say.
    """

    cell: Cell
    utilisation: float
    bottleneck: str
    mean_ms: float
    low_mean_ms: float
    high_mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class MlperfVerdict:
    """What MLPerf's load generator found of one target and model under one of its scenarios.

    Attributes:
        scenario: "SingleStream", "MultiStream", "Server" or "Offline".
        profile: of the network between the asker and the cloud; "" for a target that does not cross it.
        protocol: one of `PROTOCOLS`.
        valid: loadgen says "Result is : VALID", has noted no error, and no request failed.
        reasons: why it is not valid; empty when it is.
        metric: what `value` is, for people.
        value: of the scenario's metric, in `unit`; nan where loadgen gave none.
        unit: "ms" or "samples/s".
        latencies_ms: of samples (MultiStream: of queries), by ratio: 0.5, 0.9, 0.95, 0.97, 0.99, 0.999.
        queries: that loadgen issued.
        samples: that were asked; those of a query are asked one by one.
        failed: samples that got no prediction. Loadgen knows no failures, and was told that they were complete.
        duration_s: from the first query to the last answer.
        lines: the verdict and its constraints, word for word as in mlperf_log_summary.txt.
        accuracy: right over labelled, of loadgen's accuracy mode; nan where nothing is labelled.
        directory: with loadgen's logs, relative to the study directory.
    """

    scenario: str
    target: str
    profile: str
    model: str
    protocol: str
    valid: bool
    reasons: tuple[str, ...] = ()
    metric: str = ""
    value: float = math.nan
    unit: str = ""
    latencies_ms: Mapping[float, float] = field(default_factory=dict)
    queries: int = 0
    samples: int = 0
    failed: int = 0
    duration_s: float = 0.0
    lines: tuple[str, ...] = ()
    accuracy: float = math.nan
    labelled: int = 0
    directory: str = ""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """All of a study.

    Attributes:
        title, seed: of the scenario.
        environment: how it was measured, for people, in the order in which it is shown: versions, commit, machine, date.
        profiles: by name.
        missing: cells that were planned and not measured, with the reason.
        prices: the scenario's table, resolved with its defaults.
        mlperf: in the order in which they were run.
        outages: the steps of each outage schedule, by its name.
    """

    title: str
    seed: int
    cells: tuple[CellResult, ...]
    calibrations: tuple[Calibration, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    profiles: Mapping[str, NetworkProfile] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    mlperf: tuple[MlperfVerdict, ...] = ()
    outages: Mapping[str, str] = field(default_factory=dict)
