"""The routing core on virtual time: many requests through many sites while things go wrong at random.

    python loadtests/simulate_routing.py [--requests 1000000] [--sites 100] [--seed 1] [--validate] [--profile FILE]

Every invariant of `routing_simulator/ledger.py` is checked as the run goes. A seed replays a run exactly: the digest of
all decisions is printed. Exits with 1 when an invariant did not hold.
"""

import argparse
import cProfile
import sys
import time

from routing_simulator.ledger import ENDS, Ledger
from routing_simulator.random_scenarios import large_scenario
from routing_simulator.simulation import Simulation

PROGRESS_EVERY_S = 5.0
STEP_S = 1.0


def main() -> int:
    """Run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="at least so many arrive")
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--validate", action="store_true", help="have the router check itself after each event (slow)")
    parser.add_argument("--profile", help="write a cProfile there")
    arguments = parser.parse_args()
    if arguments.sites < 2 or arguments.requests < 1:
        parser.error("at least 2 sites and 1 request are needed")
    scenario = large_scenario(requests=arguments.requests, sites=arguments.sites, seed=arguments.seed)
    kinds = sorted({fault.kind.value for fault in scenario.faults})
    print(
        f"{arguments.sites} sites, {len(scenario.loads)} models, {len(scenario.faults)} faults of {len(kinds)} kinds in "
        f"{scenario.healed_s:.0f} virtual seconds; seed {arguments.seed}"
    )
    simulation = Simulation(scenario, validate=arguments.validate)
    profile = cProfile.Profile() if arguments.profile else None
    if profile is not None:
        profile.enable()
    started_cpu_s = time.process_time()
    took_s = run(simulation)
    took_cpu_s = time.process_time() - started_cpu_s
    if profile is not None:
        profile.disable()
        profile.dump_stats(arguments.profile)
    report(simulation, took_s, took_cpu_s)
    return 1 if simulation.ledger.found else 0


def run(simulation: Simulation) -> float:
    """Seconds that the run took."""
    started_s = said_s = time.perf_counter()
    while simulation.now_s < simulation.scenario.ends_s:
        simulation.run_until(simulation.now_s + STEP_S)
        if time.perf_counter() - said_s > PROGRESS_EVERY_S:
            said_s = time.perf_counter()
            rate_hz = simulation.arrivals / (said_s - started_s)
            print(
                f"  {simulation.now_s:7.1f} virtual s  {simulation.arrivals:>9,} requests  {rate_hz:,.0f} requests/s  "
                f"{simulation.ledger.checks:,} checks  {sum(simulation.ledger.found.values())} violations",
                flush=True,
            )
    simulation.run()
    return time.perf_counter() - started_s


def report(simulation: Simulation, took_s: float, took_cpu_s: float) -> None:
    """Print what happened."""
    ledger: Ledger = simulation.ledger
    arrived = simulation.arrivals
    print(
        f"{arrived:,} requests in {took_s:.1f} s ({took_cpu_s:.1f} s of one core): {arrived / took_s:,.0f} requests/s, "
        f"{took_cpu_s / arrived * 1e6:.1f} us a request, {simulation.events:,} events, digest {simulation.digest & (2**64 - 1):016x}"
    )
    print("  ends      " + ", ".join(f"{name} {ledger.ends[end]:,}" for end, name in enumerate(ENDS)))
    print("  attempts  " + ", ".join(f"{reason.value} {count:,}" for reason, count in ledger.sends.most_common()))
    print(
        f"  links     {len(ledger.moves):,} changes, {ledger.switches:,} switches, {simulation.probes:,} probes; all up "
        f"{simulation.returned_after_s:.1f} s after the last fault"
    )
    print(
        f"  lost      {ledger.lost:,}, {ledger.lost_without_a_site:,} of them with no site that could have answered, "
        f"{ledger.excused:,} while the caller stood still; latest {ledger.late_s * 1e3:.0f} ms past its deadline"
    )
    print(
        f"  runs      {ledger.runs:,} at the sites, {100 * ledger.duplicates:.2f} % of them a second time; {ledger.ghosts} ghosts"
    )
    print(f"  checked   {ledger.checks:,} times; violations: {dict(ledger.found) or 'none'}")
    for violation in ledger.violations:
        print(f"    {violation}")


if __name__ == "__main__":
    sys.exit(main())
