"""`make bench-failover`, or `python loadtests/bench_failover.py [--only cut size] [--rtt 5 60 300] [--opponents edgewise envoy]`."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench_failover import namespaces, report
from bench_failover.children import ChildError
from bench_failover.faults import CORE, FAULTS, REAL
from bench_failover.link_world import LinkWorld
from bench_failover.opponents import GRPC, OPPONENTS, OURS, REST, Opponent, find
from bench_failover.run import Case, Result, as_json, from_json, run
from bench_failover.world import NamespaceWorld, World, why_no_namespaces
from edgewise.model_server.building import tiny

RESULT: Final = Path(__file__).parents[1] / "results" / "bench-failover.md"
_RTTS_MS: Final = (5.0, 60.0, 300.0)
_OVERHEAD_S: Final = 3.0
_BEFORE_S: Final = 10.0
# What is in flight at the cut has to be sent twice: at 300 ms and 200 requests/s that alone is 1 % of a run of 31 s.
_LONG_RTT_MS: Final = 200.0
_LONG_BEFORE_S: Final = 20.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_failover", description="Put gateways through the fault matrix.")
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--rtt", nargs="+", type=float, metavar="MS", help="5, 60 and 300 for the cut, 60 for the rest")
    parser.add_argument("--opponents", nargs="+", choices=list(OPPONENTS), metavar="NAME", help=", ".join(OPPONENTS))
    parser.add_argument("--protocol", nargs="+", choices=(REST, GRPC), default=[REST, GRPC])
    parser.add_argument("--core", action="store_true", help="the cut at every RTT alone, for everybody")
    parser.add_argument("--rate", type=float, default=200.0, metavar="PER_S")
    parser.add_argument("--body-bytes", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="of the service times")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each case, with seeds that follow")
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="of the fault `none`, such as 600")
    parser.add_argument("--real", action="store_true", help="real model servers with a small model, over REST")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; more than 1 only on idle cores")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="keep logs and records there")
    parser.add_argument(
        "--add", action="store_true", help="keep the results in the file of --out that are not run anew"
    )
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE", help="and FILE with .json")
    return parser.parse_args()


def _cases(arguments: argparse.Namespace, repository: Path | None) -> list[Case]:
    """All that is to be run."""
    faults = arguments.only or list(CORE if arguments.core else REAL if repository else FAULTS)
    protocols = [REST] if repository else arguments.protocol
    names = arguments.opponents or list(OPPONENTS)
    return [
        Case(
            name,
            protocol,
            fault,
            rtt_ms,
            rate=arguments.rate,
            body_bytes=arguments.body_bytes,
            seed=arguments.seed + number,
            before_s=_LONG_BEFORE_S if rtt_ms >= _LONG_RTT_MS else _BEFORE_S,
            lasts_s=arguments.duration if fault == "none" else 0.0,
            repository=repository,
        )
        for fault in faults
        for protocol in protocols
        for rtt_ms in arguments.rtt or (_RTTS_MS if fault in {*CORE, "none"} and not repository else (60.0,))
        for name in names
        # Opponents are given addresses; what becomes of names is not asked of them.
        if protocol in OPPONENTS[name].protocols and (name == OURS or not FAULTS[fault].by_name)
        for number in range(arguments.repeat)
    ]


def _version(opponent: Opponent) -> str:
    program = find(opponent.program)
    if not opponent.version or program is None:
        return ""
    told = subprocess.run([program, *opponent.version], check=False, capture_output=True, text=True)
    words = (told.stdout + told.stderr).replace("/", " ").split()
    return next((word for word in words if word[0].isdigit() and "." in word), "")


def _carry_out(
    cases: list[Case], arguments: argparse.Namespace, make_world: Callable[..., World]
) -> tuple[list[Result], list[str]]:
    """Run them all. Returns: the results, and what went wrong."""
    results: list[Result] = []
    problems: list[str] = []
    left_s = sum(case.duration_s + _OVERHEAD_S for case in cases) / arguments.jobs
    print(f"{len(cases)} runs, about {left_s / 60:.0f} minutes", flush=True)

    def one(numbered: tuple[int, Case]) -> None:
        nonlocal left_s
        number, case = numbered
        keep = arguments.keep / f"{number:03}-{case.opponent}-{case.protocol}-{case.fault}" if arguments.keep else None
        try:
            result = run(case, make_world, keep)
        except (ChildError, OSError, subprocess.SubprocessError) as error:
            problems.append(f"{case.opponent} {case.protocol} {case.fault} {case.rtt_ms:g} ms: {error}")
            text = f"did not run: {problems[-1]}"
        else:
            results.append(result)
            text = report.line(result)
        left_s -= (case.duration_s + _OVERHEAD_S) / arguments.jobs
        print(f"[{len(results) + len(problems)}/{len(cases)}, {left_s / 60:.0f} min left] {text}", flush=True)

    if arguments.jobs == 1:
        for numbered in enumerate(cases):
            one(numbered)
    else:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(one, enumerate(cases)))
    return results, problems


def _kept(out: Path, results: list[Result]) -> list[Result]:
    """The results of earlier runs whose case was not run anew."""
    file = out.with_suffix(".json")
    if not file.exists():
        return []

    def key(result: Result) -> tuple[object, ...]:
        case = result.case
        return (case.opponent, case.protocol, case.fault, case.rtt_ms, case.rate, case.body_bytes, case.seed)

    anew = {key(result) for result in results}
    earlier = [from_json(values) for values in json.loads(file.read_text())]
    return [result for result in earlier if key(result) not in anew]


def _write(results: Iterable[Result], text: str, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    content = json.dumps([as_json(result) for result in results], indent=1)
    out.with_suffix(".json").write_text(content + "\n")
    print(f"written to {out} and {out.with_suffix('.json')}")


def main() -> int:
    """Run the bench.

    Returns: the exit code; 1 when something did not run, or a run of ours missed a bar.
    """
    arguments = _arguments()
    # Children and namespaces are taken away on the way out; a plain SIGTERM would leave them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not arguments.real:
        return _bench(arguments, None)
    with tempfile.TemporaryDirectory(prefix="bench-failover-models-") as directory:
        tiny.build(Path(directory))
        return _bench(arguments, Path(directory))


def _bench(arguments: argparse.Namespace, repository: Path | None) -> int:
    cases = _cases(arguments, repository)
    make_world: Callable[..., World] = NamespaceWorld
    world = "network namespaces, TCP over a wire with delay"
    reason = why_no_namespaces()
    if reason:
        print(f"bench_failover: no network namespaces ({reason}); the link emulator stands in", file=sys.stderr)
        make_world = LinkWorld
        world = f"the link emulator on loopback, since there are no namespaces: {reason}"
        cases = [case for case in cases if FAULTS[case.fault].by_link]
    else:
        namespaces.sweep()
    if repository:
        world += "; real model servers with the model `tiny`, which keep no record of what they run"
    names = dict.fromkeys(case.opponent for case in cases)
    missing = [name for name in names if OPPONENTS[name].missing()]
    if missing:
        print(f"bench_failover: not installed, left out: {', '.join(missing)}", file=sys.stderr)
        cases = [case for case in cases if case.opponent not in missing]
    started_s = time.monotonic()
    results, problems = _carry_out(cases, arguments, make_world)
    if arguments.add:
        results += _kept(arguments.out, results)
    names = dict.fromkeys(result.case.opponent for result in results)
    versions = {name: _version(OPPONENTS[name]) for name in names}
    text = report.markdown(results, world, versions, time.monotonic() - started_s)
    print(text)
    _write(sorted(results, key=report.sort_key), text, arguments.out)
    for problem in problems:
        print(f"bench_failover: {problem}", file=sys.stderr)
    ours = [result for result in results if result.case.opponent == OURS]
    return int(bool(problems) or not all(result.passed for result in ours))


if __name__ == "__main__":
    sys.exit(main())
