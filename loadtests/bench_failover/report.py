"""The results as tables for people."""

import math
import os
import platform
import time
from collections.abc import Iterable
from typing import Final

from bench_failover.faults import FAULTS
from bench_failover.opponents import OURS
from bench_failover.run import Result

_HEAD: Final = (
    "| | phase | asked | cloud | edge | lost | errors | p50 ms | p99 ms | max ms |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
)
_SUMMARY_HEAD: Final = (
    (
        "| | asked | cloud | edge | lost | errors | p99 before | first second | rest | failback | to the edge ms | back ms "
        "| waited | duplicates | ghosts | switches | residual | bars |"
    ),
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
)

_METHOD: Final = (
    "Open loop, constant rate, latency from the intended time of sending, every id in exactly one state (residual 0), "
    "bodies of 20 kB, service times exponential and drawn from the id (the same for all): cloud 16 workers of 8 ms, "
    "edge 1 worker of 3 ms (0.6 at 200 requests/s), pure timers. 4 s of warm-up are not counted; 10 s before (20 s from "
    "200 ms on: what is in flight at the cut has to be sent twice, which is 1 % of a shorter run), the fault, 7 s after. "
    "Latencies are in milliseconds. *waited*: requests of the fault that waited for the cloud before the switch + after "
    "it. *ghosts*: run more than 1 s after the app had its end."
)


def number(value: float | None) -> str:
    """A number as short as it may be; a dash for none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}"


def sort_key(result: Result) -> tuple[float, ...]:
    """Where a result stands: by protocol, fault, RTT, ours first."""
    case = result.case
    faults = list(FAULTS)
    return (case.protocol == "grpc", faults.index(case.fault), case.rtt_ms, case.opponent != OURS)


def label(result: Result) -> str:
    """The run in a word."""
    return f"**{OURS}**" if result.case.opponent == OURS else result.case.opponent


def bars_cell(result: Result) -> str:
    """Whether the bars were reached, or which were not."""
    if result.void:
        return f"void: {result.void}"
    missed = [
        f"{verdict.name} {verdict.measured} (allowed {verdict.allowed})"
        for verdict in result.bars
        if not verdict.reached
    ]
    return "all reached" if not missed else "; ".join(missed)


def summary_row(result: Result) -> str:
    """One line for the whole run."""
    by_name = {phase.name: phase for phase in result.phases}
    whole = by_name["whole run"]
    passage = result.passage
    cells = [
        label(result),
        str(result.asked),
        str(whole.cloud),
        str(whole.edge),
        str(result.lost),
        str(result.errors),
        *(number(by_name[name].p99_ms) for name in ("before", "first second", "rest of it", "failback")),
        number(passage.switch_ms),
        number(passage.back_ms),
        f"{passage.late} + {passage.strays}",
        f"{result.duplicates / result.asked:.2%}",
        f"{result.ghosts}" + (f" ({result.ghost_s:.1f} s)" if result.ghosts else ""),
        str(passage.switches),
        str(result.residual + result.unaccounted),
        bars_cell(result),
    ]
    return "| " + " | ".join(cells) + " |"


def phase_rows(result: Result) -> list[str]:
    """The run phase by phase."""
    return [
        f"| {label(result)} | {phase.name} | {phase.asked} | {phase.cloud} | {phase.edge} | {phase.lost} | {phase.errors} | "
        f"{number(phase.p50_ms)} | {number(phase.p99_ms)} | {number(phase.max_ms)} |"
        for phase in result.phases
    ]


def markdown(results: Iterable[Result], world: str, versions: dict[str, str], took_s: float) -> str:
    """The whole report."""
    ordered = sorted(results, key=sort_key)
    ours = [result for result in ordered if result.case.opponent == OURS]
    lines = [
        "# The fault matrix",
        "",
        (
            f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
            f"Python {platform.python_version()}; {took_s / 60:.0f} minutes. World: {world}."
        ),
        "",
        _METHOD,
        "",
        "Compared: " + "; ".join(f"{name} {version}".strip() for name, version in versions.items()) + ".",
        "",
    ]
    if ours:
        passed = sum(result.passed for result in ours)
        lines += [f"Ours: {passed} of {len(ours)} runs reach every bar of their fault.", ""]
    for protocol, title in (("rest", "REST"), ("grpc", "gRPC")):
        of_protocol = [result for result in ordered if result.case.protocol == protocol]
        if not of_protocol:
            continue
        lines += [f"## {title}", ""]
        for key in dict.fromkeys((result.case.fault, result.case.rtt_ms) for result in of_protocol):
            group = [result for result in of_protocol if (result.case.fault, result.case.rtt_ms) == key]
            fault = FAULTS[key[0]]
            lines += [f"### {fault.title}, RTT {key[1]:g} ms, {title}, {group[0].case.rate:g} requests/s", ""]
            if fault.note:
                lines += [f"Not all bars apply: {fault.note}.", ""]
            lines += [*_SUMMARY_HEAD, *(summary_row(result) for result in group), ""]
            lines += ["<details><summary>phases</summary>", "", *_HEAD]
            lines += [row for result in group for row in phase_rows(result)]
            lines += ["", "</details>", ""]
            for result in group:
                if result.error_details:
                    told = "; ".join(f"{count} × `{detail}`" for detail, count in result.error_details.items())
                    lines += [f"{label(result)} said: {told}.", ""]
    return "\n".join(lines)


def line(result: Result) -> str:
    """The run in one line, while it goes on."""
    by_name = {phase.name: phase for phase in result.phases}
    p99s = "/".join(number(by_name[name].p99_ms) for name in ("before", "first second", "rest of it", "failback"))
    verdict = "void" if result.void else "reached" if result.passed else "missed"
    case = result.case
    return (
        f"{case.protocol} {case.fault:13} {case.rtt_ms:3g} ms {case.opponent:9} lost {result.lost} errors {result.errors} "
        f"p99 {p99s} switch {number(result.passage.switch_ms)} back {number(result.passage.back_ms)} "
        f"dup {result.duplicates / result.asked:.2%} ghosts {result.ghosts} {verdict}"
    )
