"""Synthetic results of studies, with queues behind the numbers, so that there is a crossover to be found.

Every request passes an uplink (one server, its time is its size over the bandwidth) and a site (several servers, gamma
service times), first come, first served. Nothing here was measured; titles and environments say so.
"""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgewise.study.cells import CLOUD, EDGE, GATEWAY, Cell, Run
from edgewise.study.results import (
    Calibration,
    CellResult,
    Estimate,
    Judgement,
    NetworkProfile,
    Prediction,
    RunResult,
    Second,
    StudyResult,
)

Floats = NDArray[np.float64]

STATES = ("ok", "rejected", "expired", "error", "lost", "unsent")
RATIOS = (0.5, 0.9, 0.95, 0.99, 0.999)
NAN = Estimate(math.nan, math.nan, math.nan)
TIMEOUT_S = 5.0

PROFILES = {
    profile.name: profile
    for profile in (
        NetworkProfile("none", 0.0),
        NetworkProfile("lan", 0.0, 1e6, 1e6),
        NetworkProfile("fibre", 4.0, 5_000, 20_000),
        NetworkProfile("cable", 4.0, 1_000, 6_000),
        NetworkProfile("dsl", 10.0, 256, 2_000),
        NetworkProfile("4g", 40.0, 10_240, 10_240, 2.0),
        NetworkProfile("starlink", 50.0, 13_540, 87_250, 3.0, 0.005),
        NetworkProfile("slow-4g", 150.0, 750, 1_638, 7.5),
        NetworkProfile("3g", 200.0, 330, 780, 10.0),
        NetworkProfile("geo", 600.0, 2_540, 19_300),
        NetworkProfile("edge-lossy", 840.0, 200, 240, 0.0, 0.01),
    )
}

PRICES = {
    "cloud_node_per_hour": 0.40,
    "edge_node_per_hour": 0.06,
    "per_gb": 0.09,
    "cloud_node_watts": 180.0,
    "edge_node_watts": 12.0,
    "device_watts": 2.0,
}


@dataclass(frozen=True)
class Served:
    """A model at one site.

    Attributes:
        servers: batches at once.
        scv: squared coefficient of variation of the service time.
        right_ratio: share of labelled inputs that it answers rightly.
    """

    service_ms: float
    servers: int
    scv: float = 0.15
    right_ratio: float = 0.97


@dataclass(frozen=True)
class Model:
    name: str
    cloud: Served
    edge: Served
    request_bytes: int = 9_000
    response_bytes: int = 400


@dataclass(frozen=True)
class Sweep:
    """What `study` makes a result of.

    Attributes:
        pooled: places whose load the cloud serves.
        outage: seconds at which the link is cut and heals; None for no outage.
    """

    title: str
    models: Sequence[Model]
    profiles: Sequence[NetworkProfile]
    loads: Sequence[float]
    targets: Sequence[str] = (CLOUD, EDGE, GATEWAY)
    duration_s: float = 8.0
    repeats: int = 3
    seed: int = 7
    pooled: int = 1
    labelled: int = 74
    outages: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    protocol: str = "rest-image"
    predict: bool = True


def pets(edge_ms: float = 22.0) -> Model:
    """Fast in the cloud, slower and a little less accurate at the edge."""
    return Model("pets", Served(9.0, 4, right_ratio=0.986), Served(edge_ms, 2, right_ratio=0.946))


def fifo(arrivals_s: Floats, service_s: Floats, servers: int) -> Floats:
    """When each request leaves a queue of several servers; all float64[n]."""
    free = [0.0] * servers
    left = np.empty_like(arrivals_s)
    for index, (arrived_s, needed_s) in enumerate(zip(arrivals_s, service_s, strict=True)):
        left[index] = max(arrived_s, free[0]) + needed_s
        heapq.heapreplace(free, left[index])
    return left


def erlang_c(servers: int, offered: float) -> float:
    """The share of arrivals that wait, in M/M/c."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def waiting_ms(rate: float, served: Served) -> float:
    """Mean wait, by Allen and Cunneen; infinite at a utilisation of 1 or more."""
    offered = rate * served.service_ms / 1e3
    if offered >= served.servers:
        return math.inf
    return erlang_c(served.servers, offered) * served.service_ms / (served.servers - offered) * (1 + served.scv) / 2


def upload_ms(profile: NetworkProfile, size_bytes: int) -> float:
    return size_bytes * 8 / profile.up_kbit_s if profile.up_kbit_s else 0.0


def study(sweep: Sweep) -> StudyResult:
    """All of a synthetic study."""
    random = np.random.default_rng(sweep.seed)
    cells = tuple(_cell(sweep, model, cell, random) for model, cell in planned(sweep))
    profiles = {profile.name: profile for profile in sweep.profiles}
    predictions = [
        _prediction(sweep, model, cell) for model, cell in planned(sweep) if cell.target != GATEWAY and not cell.outage
    ]
    calibrations = [
        Calibration(
            target,
            model.name,
            sweep.protocol,
            "",
            at.service_ms + 1.0,
            tuple(at.service_ms + 1.0 + random.normal(0, 0.3, 50)),
            tuple(1e3 * inside / at.service_ms for inside in range(1, at.servers + 1)),
            at.scv,
            model.request_bytes,
            model.response_bytes,
        )
        for model in sweep.models
        for target, at in ((CLOUD, model.cloud), (EDGE, model.edge))
        if target in sweep.targets
    ]
    return StudyResult(
        title=f"{sweep.title} (synthetic)",
        seed=sweep.seed,
        cells=cells,
        calibrations=tuple(calibrations) if sweep.predict else (),
        predictions=tuple(predictions) if sweep.predict else (),
        profiles=profiles,
        environment={
            "note": "synthetic: simulated queues, nothing was measured",
            "date": "2026-11-23",
            "edgewise": "0.1.0, commit 0123456",
            "machine": "a simulation",
            "run": f"{sweep.duration_s:g} s behind 0.5 s of warm-up, {sweep.repeats} repeats, Poisson arrivals",
        },
        prices=PRICES,
        outages={
            name: ", ".join(f"{cut:g}s:blackhole, {heal:g}s:heal" for cut, heal in cuts)
            for name, cuts in sweep.outages.items()
        },
    )


def planned(sweep: Sweep) -> Iterable[tuple[Model, Cell]]:
    """Each cell of the sweep with its model; the edge once for all networks and outages."""
    for model in sweep.models:
        for load in sweep.loads:
            for target in sweep.targets:
                if target == EDGE:
                    yield model, Cell(target, "", model.name, sweep.protocol, load, load)
                    continue
                rate = load * (sweep.pooled if target == CLOUD else 1)
                for outage in sweep.outages or ("",):
                    for profile in sweep.profiles:
                        yield model, Cell(target, profile.name, model.name, sweep.protocol, load, rate, outage=outage)


def _cell(sweep: Sweep, model: Model, cell: Cell, random: np.random.Generator) -> CellResult:
    runs, latencies, dues, ended, sites = [], [], [], [], []
    for repeat in range(sweep.repeats):
        due_s, latency_ms, site = _one_run(sweep, model, cell, random)
        ok = latency_ms <= TIMEOUT_S * 1e3
        runs.append(_run_result(sweep, model, Run(cell, repeat, int(random.integers(2**31))), latency_ms, site, random))
        latencies.append(latency_ms[ok])
        dues.append(due_s)
        ended.append(latency_ms)
        sites.append(site)
    answered = np.concatenate(latencies)
    counts = {state: sum(run.counts[state] for run in runs) for state in STATES}
    requests = sum(counts.values())
    right, labelled = sum(run.right for run in runs), sum(run.labelled for run in runs)
    timeline = _timeline(np.concatenate(dues), np.concatenate(ended), np.concatenate(sites)) if cell.outage else ()
    return CellResult(
        cell,
        tuple(runs),
        requests,
        counts,
        _mean(answered),
        {ratio: _quantile(answered, ratio) for ratio in (0.5, 0.95, 0.99)},
        _share(counts["ok"], requests),
        _share(right, labelled),
        tuple(np.quantile(answered, [*(step / 200 for step in range(201)), 0.999, 1.0], method="inverted_cdf"))
        if len(answered)
        else (),
        timeline,
        _judgements(sweep, model, cell, random),
    )


def _one_run(
    sweep: Sweep, model: Model, cell: Cell, random: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Due times in s, latencies in ms and sites of one run; a lost request's latency is infinite."""
    gaps_s = random.exponential(1 / cell.rate, max(20, round(cell.rate * sweep.duration_s)))
    due_s = np.cumsum(gaps_s)
    profile = next((one for one in sweep.profiles if one.name == cell.profile), None)
    cut = np.zeros(len(due_s), dtype=bool)
    since_s = np.zeros(len(due_s))
    for begin_s, end_s in sweep.outages.get(cell.outage, ()):
        inside = (due_s >= begin_s) & (due_s < end_s)
        cut |= inside
        since_s[inside] = due_s[inside] - begin_s
    if cell.target == EDGE or profile is None:
        return due_s, _site_ms(model.edge, due_s, due_s, random) + 1.0, np.full(len(due_s), EDGE)
    sent_s = fifo(due_s, np.full(len(due_s), upload_ms(profile, model.request_bytes) / 1e3), 1)
    jitter_ms = np.abs(random.normal(0, profile.jitter_ms, len(due_s)))
    cloud_ms = _site_ms(model.cloud, due_s, sent_s, random) + profile.rtt_ms + jitter_ms + 1.5
    if cell.target == CLOUD:
        return due_s, np.where(cut, np.inf, cloud_ms), np.full(len(due_s), CLOUD)
    # The gateway: to the cloud while the link holds; what was under way when it was cut is rescued at the edge.
    edge_ms = _site_ms(model.edge, due_s, due_s, random) + 1.5
    rescued_ms = edge_ms + np.where(since_s < 0.3, 300 - 1e3 * since_s, 0)
    return due_s, np.where(cut, rescued_ms, cloud_ms + 0.4), np.where(cut, EDGE, CLOUD)


def _site_ms(served: Served, due_s: Floats, arrivals_s: Floats, random: np.random.Generator) -> Floats:
    service_s = random.gamma(1 / served.scv, served.scv * served.service_ms / 1e3, len(due_s))
    return (fifo(arrivals_s, service_s, served.servers) - due_s) * 1e3


def _run_result(
    sweep: Sweep, model: Model, run: Run, latency_ms: Floats, site: NDArray[np.str_], random: np.random.Generator
) -> RunResult:
    ok = latency_ms <= TIMEOUT_S * 1e3
    answered = latency_ms[ok]
    labelled = int(ok.sum()) if sweep.labelled else 0
    ratio = np.where(site[ok] == EDGE, model.edge.right_ratio, model.cloud.right_ratio)
    right = int((random.random(labelled) < ratio[:labelled]).sum())
    counts = dict.fromkeys(STATES, 0) | {"ok": int(ok.sum()), "lost": int((~ok).sum())}
    some = len(answered) > 0
    return RunResult(
        run,
        len(latency_ms),
        counts,
        float(answered.mean()) if some else math.nan,
        {ratio: float(np.quantile(answered, ratio)) if some else math.nan for ratio in RATIOS},
        float(answered.max()) if some else math.nan,
        sweep.duration_s,
        float(random.lognormal(-1.8, 0.4)),
        min(0.85, 0.02 + run.cell.rate / 2500),
        sites={name: int((site[ok] == name).sum()) for name in sorted(set(site[ok].tolist()))},
        right=right,
        labelled=labelled,
        errors={"timed out after 5 s": int((~ok).sum())} if not ok.all() else {},
        arrival_scv=float(random.normal(1.0, 0.04)),
    )


def _timeline(due_s: Floats, latency_ms: Floats, site: NDArray[np.str_]) -> tuple[Second, ...]:
    seconds = []
    for second in range(int(due_s.max()) + 1):
        now = (due_s >= second) & (due_s < second + 1)
        ok = now & (latency_ms <= TIMEOUT_S * 1e3)
        some = bool(ok.any())
        seconds.append(
            Second(
                second,
                {"ok": int(ok.sum()), "lost": int(now.sum() - ok.sum())},
                {name: int((site[ok] == name).sum()) for name in sorted(set(site[ok].tolist()))},
                float(np.quantile(latency_ms[ok], 0.5)) if some else math.nan,
                float(np.quantile(latency_ms[ok], 0.99)) if some else math.nan,
            )
        )
    return tuple(seconds)


def _judgements(sweep: Sweep, model: Model, cell: Cell, random: np.random.Generator) -> tuple[Judgement, ...]:
    """What a variant gets wrong is the same whenever it is asked: the hardest inputs first."""
    words = ("dog", "cat", "other")
    hardness = np.random.default_rng(sweep.seed).random(sweep.labelled)
    luck = np.random.default_rng(sweep.seed + 1 + (cell.target == EDGE)).normal(0, 0.01, sweep.labelled)
    ratio = (model.edge if cell.target == EDGE else model.cloud).right_ratio
    return tuple(
        Judgement(f"photo-{index:03}.jpg", words[index % 3], words[(index + int(hard + off > ratio)) % 3])
        for index, (hard, off) in enumerate(zip(hardness, luck, strict=True))
    )


def _prediction(sweep: Sweep, model: Model, cell: Cell) -> Prediction:
    served = model.edge if cell.target == EDGE else model.cloud
    used = cell.rate * served.service_ms / 1e3 / served.servers
    wait_ms = waiting_ms(cell.rate, served)
    mean_ms = served.service_ms + 1.0 + wait_ms
    bottleneck = "server"
    profile = next((one for one in sweep.profiles if one.name == cell.profile), None)
    if profile is not None:
        sending_ms = upload_ms(profile, model.request_bytes)
        line = cell.rate * sending_ms / 1e3
        queue_ms = sending_ms * line / (2 * (1 - line)) if line < 1 else math.inf
        mean_ms += 0.5 + profile.rtt_ms + 0.8 * profile.jitter_ms + sending_ms + queue_ms
        if line > used:
            used, bottleneck = line, "uplink"
    spread = 0.03 + 0.25 * max(0.0, min(used, 1.0) - 0.6)
    return Prediction(
        cell,
        used,
        bottleneck,
        mean_ms,
        mean_ms * (1 - spread),
        mean_ms * (1 + spread),
        *(mean_ms * float(ratio) for ratio in _shape(sweep, model, cell)),
    )


def _shape(sweep: Sweep, model: Model, cell: Cell) -> Floats:
    """Median, p95 and p99 over the mean, of a simulation of its own."""
    _, latency_ms, _ = _one_run(replace(sweep, outages={}), model, cell, np.random.default_rng(sweep.seed + 99))
    return np.quantile(latency_ms, (0.5, 0.95, 0.99)) / latency_ms.mean()


def _mean(latency_ms: Floats) -> Estimate:
    """By means of 20 batches, since neighbours wait for one another."""
    if len(latency_ms) < 40:
        return NAN if not len(latency_ms) else replace(NAN, value=float(latency_ms.mean()))
    batches = np.array([batch.mean() for batch in np.array_split(latency_ms, 20)])
    half = 2.09 * batches.std(ddof=1) / math.sqrt(20)
    value = float(latency_ms.mean())
    return Estimate(value, value - half, value + half)


def _quantile(latency_ms: Floats, ratio: float) -> Estimate:
    """By order statistics."""
    number = len(latency_ms)
    if not number:
        return NAN
    ordered = np.sort(latency_ms)
    # Neighbours wait for one another, so what counts is fewer than all.
    half = 1.96 * math.sqrt(3 * number * ratio * (1 - ratio))
    places = [min(number - 1, max(0, math.ceil(number * ratio + off) - 1)) for off in (0, -half, half)]
    value, low, high = (float(ordered[place]) for place in places)
    return Estimate(value, low, high)


def _share(part: int, whole: int) -> Estimate:
    """With Wilson's interval."""
    if not whole:
        return NAN
    share, square = part / whole, 1.96**2
    centre = (share + square / (2 * whole)) / (1 + square / whole)
    half = 1.96 / (1 + square / whole) * math.sqrt(share * (1 - share) / whole + square / (4 * whole**2))
    return Estimate(share, min(share, centre - half), max(share, centre + half))


def quick() -> StudyResult:
    """Small: one model, two profiles, two loads, all three targets."""
    return study(Sweep("quick", [pets()], [PROFILES["lan"], PROFILES["4g"]], [10, 60], duration_s=6))


def tradeoff() -> StudyResult:
    """Eleven profiles, three targets, four loads, two models."""
    other = Model("scenes", Served(24.0, 4, right_ratio=0.93), Served(60.0, 2, right_ratio=0.90), 14_000)
    return study(Sweep("tradeoff", [pets(), other], list(PROFILES.values()), [5, 10, 20, 30], duration_s=6))


def architectures() -> StudyResult:
    """Nine networks, four profiles, one load."""
    times = {
        "mobilenet-v2": 7,
        "efficientnet-lite0": 9,
        "efficientnet-lite2": 15,
        "squeezenet": 6,
        "shufflenet-v2": 5,
        "resnet18": 16,
        "resnet50": 34,
        "densenet121": 40,
        "inception-v3": 48,
    }
    models = [
        Model(name, Served(time / 3, 4, right_ratio=0.98), Served(time, 2, right_ratio=0.96))
        for name, time in times.items()
    ]
    profiles = [PROFILES[name] for name in ("lan", "fibre", "4g", "slow-4g")]
    return study(Sweep("architectures", models, profiles, [20], duration_s=12))


def inversion() -> StudyResult:
    """Many loads over networks that differ in nothing but their RTT; the cloud pools five places."""
    model = Model("pets", Served(20.0, 10, 1.0), Served(20.0, 2, 1.0))
    profiles = [NetworkProfile(f"rtt-{rtt:g}", rtt) for rtt in (5.0, 10.0, 20.0, 40.0)]
    loads = [20, 40, 50, 60, 70, 75, 80, 85, 90, 95]
    sweep = Sweep("inversion", [model], profiles, loads, (CLOUD, EDGE), duration_s=15, pooled=5, labelled=0)
    return study(sweep)


def outage() -> StudyResult:
    """A cut and a flapping link on a 4g network, and the same without either."""
    outages = {"calm": (), "cut": ((5.0, 12.0),), "flap": ((3.0, 5.0), (8.0, 10.0), (13.0, 15.0))}
    return study(Sweep("outage", [pets()], [PROFILES["4g"]], [30], duration_s=20, outages=outages))


def hollow() -> StudyResult:
    """`quick` as it is when a lot went wrong: void runs, a cell of which nothing counts, a missing cell, no prices."""
    whole = quick()
    first, second, *others = whole.cells
    late = replace(first.runs[0], void="the engine was late: 4.20 ms at p99, at most 1 ms counts")
    some = replace(first, runs=(late, *first.runs[1:]))
    void = tuple(replace(run, void="the engine used 0.97 of its core, at most 0.9 counts") for run in second.runs)
    zeros = dict.fromkeys(STATES, 0)
    none = CellResult(second.cell, void, 0, zeros, NAN, dict.fromkeys((0.5, 0.95, 0.99), NAN), NAN, NAN)
    gone = others.pop()
    return replace(
        whole,
        title="hollow (synthetic)",
        cells=(some, none, *others),
        missing={gone.cell.name: "interrupted before it was its turn"},
        predictions=(),
        calibrations=(),
        prices={},
    )


def hostile() -> StudyResult:
    """`quick` with names that would be markup, mathematics or foreign if they were not escaped."""
    mark = "<script>alert('x')</script>&\"$\\alpha$"
    whole = quick()
    cells = []
    for one in whole.cells:
        cell = replace(one.cell, model=f"模型{mark}")
        runs = tuple(
            replace(run, run=replace(run.run, cell=cell), errors={f"]]>--> {mark}": 3}, void="") for run in one.runs
        )
        cells.append(replace(one, cell=cell, runs=runs))
    return replace(
        whole,
        title=f"hostile {mark}",
        cells=tuple(cells),
        missing={f"cell {mark}": f"because {mark}"},
        environment={f"key {mark}": f"value {mark}"},
        predictions=tuple(replace(one, cell=replace(one.cell, model=f"模型{mark}")) for one in whole.predictions),
        calibrations=tuple(replace(one, model=f"模型{mark}") for one in whole.calibrations),
    )


def empty() -> StudyResult:
    """Nothing was measured."""
    return StudyResult("empty (synthetic)", 1, (), missing={"cloud_lan_pets_rest-image_10": "no server answered"})
