"""Medians, ratios and the markdown table."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_serve.contestants import BINARY, FASTAPI, JSON, JSON_ASYNC, OIP, OURS, TFS
from bench_serve.generator import Measured
from bench_serve.rounds import BARE_CASE, Case, Sample, Settings, StageResult

PACKAGES = (
    "bentoml", "edgewise", "fastapi", "grpcio", "httptools", "numpy", "onnxruntime", "orjson", "pydantic",
    "uvicorn", "uvloop",
)  # fmt: skip
ROOT = Path(__file__).parents[2]

Ratio = tuple[float, float, float]
Pick = Callable[[Measured], float]


def spread(values: Sequence[float]) -> Ratio | None:
    """Median, least and greatest; None of nothing."""
    return (statistics.median(values), min(values), max(values)) if values else None


def _rate(measured: Measured) -> float:
    return measured.requests_per_s


def _p50(measured: Measured) -> float:
    return measured.p50_ms


def _cpu(measured: Measured) -> float:
    return measured.server_cpu_ms


def _samples(result: StageResult, case: Case) -> list[Sample]:
    return [sample for sample in result.samples.get(case, []) if sample is not None]


def ratio(result: StageResult, case: Case, other: Case, pick: Pick = _rate) -> Ratio | None:
    """`case` over `other`, round by round: median and spread over the rounds in which both counted."""
    if other == BARE_CASE:
        pairs = [(one.measured, one.bare) for one in _samples(result, case)]
    else:
        both = zip(result.samples.get(case, []), result.samples.get(other, []), strict=False)
        pairs = [(one.measured, two.measured) for one, two in both if one is not None and two is not None]
    return spread([pick(one) / pick(two) for one, two in pairs if two is not None and pick(two)])


def shown(value: Ratio | None, digits: int = 2) -> str:
    """`median (least to greatest)`."""
    if value is None:
        return "-"
    return f"{value[0]:.{digits}f} ({value[1]:.{digits}f} to {value[2]:.{digits}f})"


@dataclass(frozen=True, slots=True)
class Target:
    """A number to reach.

    Attributes:
        at_least: whether more is better.
        value: as `ratio` gives it; None when nothing was measured.
    """

    what: str
    limit: float
    at_least: bool
    value: Ratio | None

    def line(self) -> str:
        """A row of the table of targets."""
        sign = "≥" if self.at_least else "≤"
        if self.value is None:
            return f"| {self.what} | {sign} {self.limit:g} | - | not measured |"
        reached = self.value[0] >= self.limit if self.at_least else self.value[0] <= self.limit
        return f"| {self.what} | {sign} {self.limit:g} | {shown(self.value)} | {'yes' if reached else 'no'} |"


def targets(tiny: StageResult | None, lite0: Sequence[StageResult]) -> list[Target]:
    """The numbers that the server is meant to reach, with what it reached."""
    found: list[Target] = []
    if tiny is not None:
        found += _tiny_targets(tiny)
    for result in lite0:
        title = f"lite0, {len(result.stage.server_cpus)} core(s)"
        found += _lite0_targets(result, title)
        starts = result.starts.get(OURS, [])
        first = spread([start.first_answer_s for start in starts])
        found.append(Target(f"{title}: exec to the first right answer, s", 0.8, at_least=False, value=first))
        then = spread([start.rss_bytes / 1e6 for start in starts])
        found.append(Target(f"{title}: resident memory after the first answer, MB", 130, at_least=False, value=then))
        memory = result.memory.get(OURS)
        after = None if memory is None else spread([memory[0] / 1e6])
        found.append(Target(f"{title}: resident memory after the load, MB", 130, at_least=False, value=after))
    return found


def _tiny_targets(result: StageResult) -> list[Target]:
    found = []
    for way, whose in ((JSON, "FastAPI"), (JSON_ASYNC, "FastAPI's async def")):
        other = Case(FASTAPI, way, 32)
        for ours, limit in ((JSON, 4.0), (OIP, 1.3), (TFS, 1.3)):
            what = f"tiny, {ours}, 32: requests/s over the REST JSON of {whose}"
            found.append(Target(what, limit, at_least=True, value=ratio(result, Case(OURS, ours, 32), other)))
    single = spread([one.measured.p50_ms for one in _samples(result, Case(OURS, JSON, 1))])
    return [*found, Target("tiny, REST JSON, 1: p50 in ms", 0.15, at_least=False, value=single)]


def _lite0_targets(result: StageResult, title: str) -> list[Target]:
    found = []
    for way, limit in ((BINARY, 0.95), (OIP, 0.95), (TFS, 0.95), (JSON, 0.65)):
        for concurrency in (2, 8):
            case = Case(OURS, way, concurrency)
            if case in result.stage.cases:
                what = f"{title}, {way}, {concurrency}: requests/s over bare"
                found.append(Target(what, limit, at_least=True, value=ratio(result, case, BARE_CASE)))
    for way in (BINARY, OIP):
        case = Case(OURS, way, 1)
        if case in result.stage.cases:
            what = f"{title}, {way}, 1: p50 over bare"
            found.append(Target(what, 1.05, at_least=False, value=ratio(result, case, BARE_CASE, _p50)))
    return found


def markdown(results: Sequence[StageResult], settings: Settings, elapsed_s: float) -> str:
    """The whole report."""
    tiny = next((result for result in results if result.stage.model.name == "tiny"), None)
    lite0 = [result for result in results if result.stage.model.name != "tiny"]
    lines = ["<!-- Generated by `make bench-serve`; edits are lost. -->", "", "# How fast the server is", ""]
    lines += _circumstances(settings, elapsed_s)
    lines += ["", "## Targets", "", "| what | target | reached | |", "|---|---|---|---|"]
    lines += [target.line() for target in targets(tiny, lite0)]
    for result in results:
        lines += ["", f"## {result.stage.title}", "", *_measurements(result), "", *_starts(result)]
    lines += ["", "## Void measurements", ""]
    lines += [f"- {void}" for result in results for void in result.voids] or ["None."]
    return "\n".join(lines) + "\n"


def _circumstances(settings: Settings, elapsed_s: float) -> list[str]:
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} absent")
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    machine = f"{os.cpu_count()} cores of {cpu_model()}, Linux {platform.release()}"
    measured = f"Measured {when}, commit {commit()}, in {elapsed_s:.0f} s, on {machine}"
    method = (
        f"{settings.rounds} rounds; in each, every case runs {settings.warmup_s:g} s of warm-up and "
        f"{settings.window_s:g} s of closed-loop load, one after the other, on loopback. A row gives medians over the "
        "rounds; a ratio is taken within a round and given as median (least to greatest). Bare ONNX Runtime runs "
        "before and after every group of cases and each case is compared with the mean of its two neighbours. Every "
        "answer is checked. gRPC is one connection that carries all calls; REST is one connection per client. The "
        "speed of a shared machine drifts: compare ratios. CPU over bare is CPU seconds a request over those of a bare run, "
        "which holds when other programs take their share of the cores too."
    )
    return [f"{measured}, Python {platform.python_version()}.", "", f"{', '.join(versions)}.", "", method]


def _measurements(result: StageResult) -> list[str]:
    fastapi_json = any(case.contestant == FASTAPI and case.way == JSON for case in result.stage.cases)
    head = "| server | asked by | clients | requests/s | p50 ms | p99 ms | CPU ms/request | generator | over bare | CPU over bare |"
    rule = "|---|---|--:|--:|--:|--:|--:|--:|---|---|"
    lines = [head + (" over FastAPI JSON |" if fastapi_json else ""), rule + ("---|" if fastapi_json else "")]
    for case in (BARE_CASE, *result.stage.cases):
        samples = _samples(result, case)
        name = f"| {case.contestant} | {case.way} | {'-' if case == BARE_CASE else case.concurrency} "
        if not samples:
            lines.append(name + "| void | | | | | | |" + (" |" if fastapi_json else ""))
            continue

        def median(pick: Pick, samples: list[Sample] = samples) -> float:
            return statistics.median(pick(one.measured) for one in samples)

        share = "-" if case == BARE_CASE else f"{median(lambda one: one.generator_share):.0%}"
        over_bare = cpu_over_bare = "1"
        if case != BARE_CASE:
            over_bare = shown(ratio(result, case, BARE_CASE), 3)
            cpu_over_bare = shown(ratio(result, case, BARE_CASE, _cpu))
        line = (
            f"{name}| {_short(median(_rate))} | {median(_p50):.3f} | {median(lambda one: one.p99_ms):.3f} "
            f"| {median(lambda one: one.server_cpu_ms):.3f} | {share} | {over_bare} "
            f"| {cpu_over_bare} |"
        )
        if fastapi_json:
            other = Case(FASTAPI, JSON, case.concurrency)
            same = case in {other, BARE_CASE}
            line += f" {('1' if case == other else '-') if same else shown(ratio(result, case, other))} |"
        lines.append(line)
    return lines


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.1f}"


def _starts(result: StageResult) -> list[str]:
    head = "| server | exec to ready, s | exec to first right answer, s | CPU s until then | RSS MB then "
    lines = [head + "| RSS MB after the load | PSS MB after the load |", "|---|---|---|---|--:|--:|--:|"]
    for name, (rss, pss) in result.memory.items():
        starts = result.starts.get(name, [])
        ready = shown(spread([start.ready_s for start in starts]))
        first = shown(spread([start.first_answer_s for start in starts]))
        cpu = shown(spread([start.cpu_s for start in starts]))
        then = f"{statistics.median(start.rss_bytes for start in starts) / 1e6:.0f}" if starts else "-"
        lines.append(f"| {name} | {ready} | {first} | {cpu} | {then} | {rss / 1e6:.0f} | {pss / 1e6:.0f} |")
    return lines


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
