"""Where the gateway's microseconds go: what a request costs unobserved, and two profilers' shares of it.

py-spy says which Python function runs, with what it calls in C counted as its own (a `send` is the caller's); compiled
functions it does not see, so `make interpreted` first to have the functions' shares. perf, where
the kernel allows it, says which library or system call runs. Each has a load of its own; neither is on during the
measurement whose CPU time the shares divide.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench_serve.generator import Generator
from bench_serve.report import commit, cpu_model

from bench_gateway.plan import LATENCY, Sample, Settings, Stage, Way
from bench_gateway.proxies import OURS, OURS_CARRIED, OURS_HTTP2
from bench_gateway.rounds import StageRun

SAMPLES_PER_S = 250
SECONDS = 6
FUNCTIONS, SYMBOLS = 40, 25
GATEWAYS = (OURS, OURS_CARRIED, OURS_HTTP2)
LOOP = "the event loop in C (uvloop: epoll, recv, accept), and what is compiled"

Shares = list[tuple[str, float]]


class ProfileError(Exception):
    """A profiler did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One proxy under one load.

    Attributes:
        unobserved: the measurement without a profiler.
        modules, functions: shares of Python code's time, greatest first.
        libraries, calls, symbols: shares by library, by system call or fault, and by function in C outside the kernel; empty
            where perf does not run.
    """

    name: str
    way: Way
    unobserved: Sample
    samples: int
    modules: Shares
    functions: Shares
    libraries: Shares
    calls: Shares
    symbols: Shares


def run(stages: Mapping[str, Stage], keys: Sequence[str], settings: Settings, command: str) -> str:
    """Profile the gateway in the stages named.

    Returns: the report, as markdown.
    Raises: ProfileError: py-spy failed.
    """
    settings = replace(settings, window_s=SECONDS, latency_window_s=float(SECONDS))
    profiles = []
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as name, Generator(set(settings.load_cpus)) as generator:
        for key in keys:
            stage = stages[key]
            print(stage.title, flush=True)
            stage_run = StageRun(stage, settings, generator, Path(name))
            try:
                stage_run.start(set(GATEWAYS))
                for contestant in filter(stage_run.runs, GATEWAYS):
                    profiles += [_profile(stage_run, contestant, way, settings, Path(name)) for way in _worth_it(stage)]
            finally:
                stage_run.stop()
    return _markdown(profiles, command)


def _worth_it(stage: Stage) -> list[Way]:
    """The first way of every question."""
    ways: dict[object, Way] = {}
    for way in stage.ways:
        if way.kind != LATENCY:
            ways.setdefault((way.kind, way.question), way)
    return list(ways.values())


def _profile(stage_run: StageRun, name: str, way: Way, settings: Settings, directory: Path) -> Profile:
    pid = stage_run.pid(name)
    unobserved = stage_run.once(name, way)
    if unobserved.measured.problem:
        raise ProfileError(f"{name}, {way.title}: {unobserved.measured.problem}")

    def under_load(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        pinned = ["taskset", "-c", ",".join(str(cpu) for cpu in settings.load_cpus), *command]
        with subprocess.Popen(pinned, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as profiler:
            stage_run.once(name, way)
            out, errors = profiler.communicate(timeout=60)
        return subprocess.CompletedProcess(command, profiler.returncode, out, errors)

    counts = _py_spy(pid, directory / "py-spy.txt", under_load)
    modules: Counter[str] = Counter()
    for function, count in counts.items():
        modules[_module(function)] += count
    native = _perf(pid, directory / "perf.data", under_load)
    return Profile(name, way, unobserved, counts.total(), _shares(modules), _shares(counts)[:FUNCTIONS], *native)


UnderLoad = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def _py_spy(pid: int, path: Path, under_load: UnderLoad) -> Counter[str]:
    """Samples by the Python function that ran."""
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        raise ProfileError("py-spy is not installed: pip install -r loadtests/bench_gateway/requirements.txt")
    command = [str(program), "record", "--format", "raw", "--function", "--pid", str(pid)]
    command += ["--rate", str(SAMPLES_PER_S), "--duration", str(SECONDS - 2), "--output", str(path)]
    done = under_load(command)
    if done.returncode or not path.exists():
        raise ProfileError(f"py-spy ended with code {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    counts: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        counts[_named(stack.rpartition(";")[2])] += int(count)
    path.unlink()
    return counts


def _named(frame: str) -> str:
    if frame.startswith(("run (uvloop/", "Runner.run (asyncio/")):
        return LOOP
    match = re.fullmatch(r"(.+) \((.+?)(?::\d+)?\)", frame)
    if match is None:
        return frame
    file = match[2].removesuffix(".py").replace("/", ".")
    # An editable install is shown with its whole path.
    at = file.rfind("edgewise.")
    return f"{file[at:] if at >= 0 else file}: {match[1]}"


def _module(function: str) -> str:
    return function if function == LOOP else function.partition(": ")[0]


def _perf(pid: int, path: Path, under_load: UnderLoad) -> tuple[Shares, Shares, Shares]:
    """Shares by library, by system call or fault with all that the kernel does in it, and by function in C outside the kernel."""
    program = shutil.which("perf")
    if program is None:
        return [], [], []
    command = [program, "record", "-F", "997", "-g", "-p", str(pid), "-o", str(path), "--", "sleep", str(SECONDS - 2)]
    if under_load(command).returncode or not path.exists():
        return [], [], []

    def report(*arguments: str) -> str:
        command = [program, "report", "-i", str(path), "--stdio", "-g", "none", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    libraries: dict[str, float] = {}
    for line in report("--no-children", "--sort", "dso").splitlines():
        if match := re.match(r"\s*(\d+\.\d+)%\s+(\S+)", line):
            library = _library(match[2])
            libraries[library] = libraries.get(library, 0.0) + float(match[1]) / 100
    calls: dict[str, float] = {}
    for line in report("--children", "--sort", "symbol").splitlines():
        if match := re.match(
            r"\s*(\d+\.\d+)%\s+\d+\.\d+%\s+\[k\] (?:__x64_sys_|ksys_|__sys_|__do_sys_|do_(?=(?:read|write)v)|asm_exc_)(\w+)",
            line,
        ):
            # One call has several entries, of which not all are always there; the outermost has it all.
            calls[match[2]] = max(calls.get(match[2], 0.0), float(match[1]) / 100)
    symbols: dict[str, float] = {}
    for line in report("--no-children", "--sort", "symbol").splitlines():
        if match := re.match(r"\s*(\d+\.\d+)%\s+\[\.\] (\S+)", line):
            symbols[match[2]] = symbols.get(match[2], 0.0) + float(match[1]) / 100
    path.unlink()
    return _greatest_first(libraries), _greatest_first(calls), _greatest_first(symbols)[:SYMBOLS]


def _greatest_first(shares: Mapping[str, float]) -> Shares:
    return sorted(shares.items(), key=lambda item: -item[1])


def _library(name: str) -> str:
    known = {"[kernel.kallsyms]": "the kernel", "[kernel]": "the kernel"}
    return known.get(name) or name.partition(".cpython")[0].partition(".so")[0]


def _shares(counts: Counter[str]) -> Shares:
    total = counts.total() or 1
    return [(name, count / total) for name, count in counts.most_common()]


def _markdown(profiles: Sequence[Profile], command: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    lines = [f"<!-- Generated by `{command}`; edits are lost. -->", "", "# Where the gateway's microseconds go", ""]
    lines += [f"Measured {when}, commit {commit()}, on {os.cpu_count()} cores of {cpu_model()}.", ""]
    lines += [" ".join((__doc__ or "").split()), ""]
    lines.append(
        f"py-spy takes {SAMPLES_PER_S} samples a second while the process is not idle, running or not: where other programs "
        "want the core it overstates the calls in which the process is put aside, the sends above all. perf samples CPU "
        "time. µs are shares of the CPU time that a request takes unobserved. Shares under 0.3 % are left out."
    )
    for profile in profiles:
        measured = profile.unobserved.measured
        cpu_us = measured.server_cpu_ms * 1e3
        lines += ["", f"## {profile.name}: {profile.way.title}", ""]
        lines.append(
            f"{measured.requests_per_s:,.0f} requests/s, {cpu_us:.1f} µs of CPU a request, the core "
            f"{profile.unobserved.proxy_share:.0%} busy, {profile.unobserved.foreign:.0%} of a core used by other programs; "
            f"{profile.samples} samples of py-spy."
        )
        lines += _table("module", profile.modules, cpu_us) + _table("function", profile.functions, cpu_us)
        if profile.libraries:
            lines += _table("library (perf)", profile.libraries, cpu_us)
            lines += _table("system call or fault, with what the kernel does in it (perf)", profile.calls, cpu_us)
            lines += _table("function in C, outside the kernel (perf)", profile.symbols, cpu_us)
        else:
            lines += ["", "perf is not there, or may not be used here."]
    return "\n".join(lines) + "\n"


def _table(head: str, shares: Shares, cpu_us: float) -> list[str]:
    lines = ["", f"| {head} | share | µs a request |", "|---|--:|--:|"]
    return lines + [f"| {name} | {share:.1%} | {share * cpu_us:.2f} |" for name, share in shares if share >= 0.003]
