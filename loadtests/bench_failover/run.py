"""One run: a world, a gateway in it, a load through the gateway, a fault on the way."""

import contextlib
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench_failover import bars, ledger, phases
from bench_failover.children import Child, ChildError
from bench_failover.faults import FAULTS
from bench_failover.load import LoadSettings
from bench_failover.opponents import GRPC, OPPONENTS, REST
from bench_failover.site import SiteSettings, service_s
from bench_failover.world import CLOUD, EDGE, NamespaceWorld, World, WorldSettings

LAG_LIMIT_MS: Final = 1.0
_START_S: Final = {REST: 0.8, GRPC: 1.8}


@dataclass(frozen=True, slots=True)
class Case:
    """What is run.

    Attributes:
        fault: by name.
        before_s: measured before the fault.
        warmup_s: before that; not counted.
        lasts_s: of the fault; 0 for its own.
        after_s: how long to look at it afterwards.
        repository: as in `WorldSettings`.
    """

    opponent: str
    protocol: str
    fault: str
    rtt_ms: float
    rate: float = 200.0
    body_bytes: int = 20_000
    seed: int = 1
    before_s: float = 10.0
    warmup_s: float = 4.0
    lasts_s: float = 0.0
    after_s: float = phases.FAILBACK_S + 4.0
    repository: Path | None = None

    @property
    def fault_s(self) -> float:
        """How long the fault is there."""
        return self.lasts_s or FAULTS[self.fault].lasts_s

    @property
    def duration_s(self) -> float:
        """Of the load."""
        return self.warmup_s + self.before_s + self.fault_s + self.after_s


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it; plain values, for JSON.

    Attributes:
        phases: a row each.
        edge_own_p99_ms: what the edge alone would have given the requests of the rest of the fault.
        cloud_own_p99_ms: what the drawn service times at the cloud say of the phases, for the comparison of phases.
        void: why the run does not count; "" when it does.
    """

    case: Case
    phases: list[phases.Phase]
    passage: phases.Passage
    asked: int
    ok: int
    errors: int
    lost: int
    residual: int
    unaccounted: int
    duplicates: int
    ghosts: int
    ghost_s: float
    edge_own_p99_ms: float
    cloud_own_p99_ms: dict[str, float]
    lag_p99_ms: float
    error_details: dict[str, int]
    retry_after: int
    late_answers: int
    bars: list[bars.Verdict]
    void: str = ""

    @property
    def passed(self) -> bool:
        """Whether every bar was reached in a run that counts."""
        return not self.void and all(verdict.reached for verdict in self.bars)


@dataclass(frozen=True, slots=True)
class Times:
    """When the warm-up was over, the fault began and the fault ended, on the monotonic clock."""

    measured_s: float
    begin_s: float
    heal_s: float


def run(
    case: Case, make_world: Callable[[WorldSettings, Path], World] = NamespaceWorld, keep: Path | None = None
) -> Result:
    """Carry a case out.

    Args:
        keep: a directory for logs and records; None drops them.
    Raises: ChildError: something did not start or died.
    """
    with contextlib.ExitStack() as stack:
        directory = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-failover-")))
        directory.mkdir(parents=True, exist_ok=True)
        fault = FAULTS[case.fault]
        settings = WorldSettings(
            case.rtt_ms,
            edge_service_ms=fault.edge_service_ms,
            seed=case.seed,
            by_name=fault.by_name,
            repository=case.repository,
        )
        world = stack.enter_context(make_world(settings, directory))
        command = OPPONENTS[case.opponent].command(case.protocol, world.gateway_port, world.sites, directory)
        gateway = world.start(command, "gateway.log")
        world.wait_for(gateway, "127.0.0.1", world.gateway_port)
        times = _load(case, world, gateway)
        books = ledger.read(directory / "records", {site: world.executions(site) for site in (CLOUD, EDGE)})
    result = _result(case, books, times, settings)
    return dataclasses.replace(result, bars=bars.judge(fault.bars, result))


def _load(case: Case, world: World, gateway: Child) -> Times:
    """Run the load and the fault."""
    fault = FAULTS[case.fault]
    start_s = time.monotonic() + _START_S[case.protocol]
    settings = LoadSettings(
        protocol=case.protocol,
        port=world.gateway_port,
        rate=case.rate,
        start_s=start_s,
        duration_s=case.duration_s,
        out=str(world.directory / "records"),
        body_bytes=case.body_bytes,
        deadline_ms=fault.deadline_ms,
        path=f"/v1/models/{'tiny' if case.repository else 'm'}:predict",
    )
    load = world.start(
        [sys.executable, "-m", "bench_failover.load", json.dumps(dataclasses.asdict(settings))], "load.log"
    )
    fault_s = start_s + case.warmup_s + case.before_s
    begin_s = heal_s = 0.0
    for step in fault.steps:
        at_s = case.fault_s if step is fault.steps[-1] else step.at_s
        time.sleep(max(0.0, fault_s + at_s - time.monotonic()))
        gateway.check()
        done_s = world.carry_out(step)
        begin_s = begin_s or done_s
        heal_s = done_s
    load.process.wait(timeout=case.duration_s + settings.timeout_s + 10)
    if load.process.returncode:
        raise ChildError(f"the generator ended with {load.process.returncode}{load.log_tail()}")
    gateway.check()
    return Times(start_s + case.warmup_s, begin_s, heal_s)


def _result(case: Case, books: ledger.Ledger, times: Times, settings: WorldSettings) -> Result:
    measured_s, begin_s, heal_s = times.measured_s, times.begin_s, times.heal_s
    books.records = [record for record in books.records if record.due_s >= measured_s]
    known = {record.request_id for record in books.records}
    books.executions = {key: runs for key, runs in books.executions.items() if key in known}
    split = phases.split(books.records, measured_s, begin_s, heal_s)
    counts = books.counts
    ghosts, ghost_s = books.ghosts()
    lag_ms = phases.quantile([(record.sent_s - record.due_s) * 1e3 for record in books.records], 0.99)
    details: dict[str, int] = {}
    for record in books.records:
        if record.detail:
            details[record.detail] = details.get(record.detail, 0) + 1
    deadline_s = FAULTS[case.fault].deadline_ms / 1e3
    latest_s = deadline_s + bars.DEADLINE_GRACE_S
    return Result(
        case=case,
        phases=[phases.summarize("whole run", books.records), *(phases.summarize(*item) for item in split.items())],
        passage=phases.passage(books, measured_s, begin_s, heal_s),
        asked=len(books.records),
        ok=counts["ok"],
        errors=counts["error"],
        lost=counts["lost"],
        residual=books.residual,
        unaccounted=0 if case.repository else books.unaccounted,
        duplicates=books.duplicates,
        ghosts=ghosts,
        ghost_s=ghost_s,
        edge_own_p99_ms=_edge_own_p99_ms(split["rest of it"], case, settings),
        cloud_own_p99_ms={name: _cloud_own_p99_ms(records, settings) for name, records in split.items()},
        lag_p99_ms=lag_ms,
        error_details=dict(sorted(details.items(), key=lambda item: -item[1])[:6]),
        retry_after=sum(record.retry_after for record in books.records),
        late_answers=sum(record.state == "ok" and record.ended_s - record.due_s > latest_s for record in books.records)
        if deadline_s
        else 0,
        bars=[],
        void=f"the generator lagged {lag_ms:.1f} ms at p99" if lag_ms > LAG_LIMIT_MS else "",
    )


def _site_settings(name: str, settings: WorldSettings) -> SiteSettings:
    cloud = name == CLOUD
    return SiteSettings(
        name,
        name,
        "",
        0,
        0,
        settings.cloud_workers if cloud else settings.edge_workers,
        settings.cloud_service_ms if cloud else settings.edge_service_ms,
        "",
        settings.service,
        settings.seed,
    )


def _edge_own_p99_ms(records: list[ledger.Record], case: Case, settings: WorldSettings) -> float:
    """The p99 of these requests had the edge alone served them from the start, by Lindley's recursion over its one queue."""
    site = _site_settings(EDGE, settings)
    free_s, times_ms = 0.0, []
    for number, record in enumerate(records):
        due_s = number / case.rate
        free_s = max(due_s, free_s) + service_s(site, record.request_id)
        times_ms.append((free_s - due_s) * 1e3)
    return phases.quantile(times_ms, 0.99)


def _cloud_own_p99_ms(records: list[ledger.Record], settings: WorldSettings) -> float:
    site = _site_settings(CLOUD, settings)
    return phases.quantile([service_s(site, record.request_id) * 1e3 for record in records], 0.99)


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain values."""
    values = {**dataclasses.asdict(result), "passed": result.passed}
    values["case"]["repository"] = bool(result.case.repository)
    return values


def from_json(values: dict[str, Any]) -> Result:
    """What `as_json` gave."""
    case = {**values["case"], "repository": Path() if values["case"]["repository"] else None}
    kept = {key: value for key, value in values.items() if key != "passed"}
    return Result(
        **{
            **kept,
            "case": Case(**case),
            "phases": [phases.Phase(**phase) for phase in values["phases"]],
            "passage": phases.Passage(**values["passage"]),
            "bars": [bars.Verdict(**verdict) for verdict in values["bars"]],
        }
    )
