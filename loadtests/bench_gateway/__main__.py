"""`make bench-gateway`, or `python loadtests/bench_gateway.py [--quick] [--profile]`."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench_serve.generator import Generator
from bench_serve.processes import ServerError

from bench_gateway import profiling, programs, proxies, questions, report, sites
from bench_gateway.plan import GRPC, LATENCY, THROUGHPUT, Settings, Stage, Way
from bench_gateway.rounds import run_stage
from bench_gateway.wrk import WrkError

RESULTS = Path(__file__).parents[1] / "results"
COMMAND = "make bench-gateway"

STAGES = {
    "small": Stage(
        "small predictions",
        sites.small,
        proxies.REST,
        (
            Way("Small predictions, 32 connections", THROUGHPUT, questions.SMALL, 32),
            Way("Small predictions, 64 connections", THROUGHPUT, questions.SMALL, 64),
            Way("Small predictions, one at a time", LATENCY, questions.SMALL),
            Way("Small predictions, one at a time, cores kept awake", LATENCY, questions.SMALL, awake=True),
        ),
    ),
    "large": Stage(
        "large bodies",
        sites.large,
        proxies.REST,
        (
            Way("Requests of 50 kB, 32 connections", THROUGHPUT, questions.LARGE_BODY, 32),
            Way("Answers of 50 kB, 32 connections", THROUGHPUT, questions.LARGE_REPLY, 32),
        ),
    ),
    "grpc": Stage(
        "gRPC",
        sites.grpc,
        proxies.GRPC,
        (
            Way("gRPC, 1 connection with 32 calls", GRPC, connections=1, streams=32),
            Way("gRPC, 8 connections with 8 calls", GRPC, connections=8, streams=8),
        ),
    ),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_gateway", description="Measure the gateway against other proxies.")
    parser.add_argument("--quick", action="store_true", help="two rounds of a second each")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES), help="stages to run")
    parser.add_argument(
        "--proxies", nargs="+", metavar="WORD", help="first words of the proxies to run; all by default"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--window-s", type=int, help="whole seconds of each load by wrk")
    parser.add_argument(
        "--foreign-limit", type=float, default=0.25, metavar="CORES", help="void when other programs use more"
    )
    parser.add_argument(
        "--patience-s", type=float, default=0.0, metavar="S", help="wait this long for other programs to use less"
    )
    parser.add_argument("--profile", action="store_true", help="record where the gateway's time goes instead")
    parser.add_argument("--out", type=Path, metavar="FILE")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        print("only one core: load, sites and proxies share it")
    return Settings(
        rounds=arguments.rounds or (2 if arguments.quick else 5),
        window_s=arguments.window_s or (1 if arguments.quick else 3),
        warmup_s=0.2 if arguments.quick else 0.3,
        latency_window_s=0.5 if arguments.quick else 2.0,
        foreign_limit=arguments.foreign_limit,
        patience_s=arguments.patience_s,
        proxy_cpus=frozenset(cpus[:1]),
        load_cpus=frozenset(cpus[-1:]),
    )


def main() -> int:
    """Run the bench.

    Returns: the exit code; 1 when a program is missing, a proxy could not be started or nothing but void measurements
        came of a stage.
    """
    arguments = _arguments()
    # The servers are children that this program ends; a plain SIGTERM would leave them behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        programs.versions()
        return _profile(arguments) if arguments.profile else _bench(arguments)
    except (programs.ProgramMissingError, ServerError, WrkError, profiling.ProfileError) as error:
        print(f"bench_gateway: {error}", file=sys.stderr)
        return 1


def _bench(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    started_s = time.monotonic()
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-gateway-") as directory,
        Generator(set(settings.load_cpus)) as generator,
    ):
        for key in arguments.only:
            stage = STAGES[key]
            print(stage.title, flush=True)
            only = _named(stage, arguments.proxies)
            results.append(run_stage(stage, settings, generator, Path(directory), only))
    text = report.markdown(results, settings, time.monotonic() - started_s, COMMAND)
    print(text)
    _write(arguments.out or RESULTS / "bench-gateway.md", text)
    counted = all(any(any(rounds) for rounds in result.samples.values()) for result in results)
    return 0 if counted else 1


def _named(stage: Stage, words: list[str] | None) -> set[str] | None:
    if not words:
        return None
    wanted = {word.lower() for word in words}
    return {name for name in stage.proxies if name.split()[0].lower() in wanted}


def _profile(arguments: argparse.Namespace) -> int:
    text = profiling.run(STAGES, arguments.only, _settings(arguments), f'{COMMAND} BENCH="--profile"')
    print(text)
    _write(arguments.out or RESULTS / "bench-gateway-profile.md", text)
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(main())
