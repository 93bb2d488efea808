"""The rollout core on virtual time: a release reaches many sites while agents and hub are killed and links are cut.

    python loadtests/simulate_rollouts.py [--sites 1000] [--seed 1] [--release good|errors|slow|golden|broken] [--bad-share 1.0]

Every invariant of `rollout_simulator/ledger.py` is checked as the run goes. A seed replays a run exactly: the digest of all moves is
printed. Exits with 1 when an invariant did not hold.
"""

import argparse
import sys
import time
from collections import Counter

from rollout_simulator.scenario import Release, Scenario
from rollout_simulator.simulation import Simulation

from edgewise.core.rollout.gates import Gates
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.specification import Canary, OnFailure, Specification
from edgewise.core.rollout.waves import Amount, Wave

TENTH = Amount(share=0.1)
RELEASES = {
    "good": Release(),
    "errors": Release(error_ratio=0.05),
    "slow": Release(slow_ratio=0.2),
    "golden": Release(golden_wrong=1),
    "broken": Release(loads=False),
}


def main() -> int:
    """Run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--release", choices=sorted(RELEASES), default="good", help="what the new version is like")
    parser.add_argument("--bad-share", type=float, default=1.0, help="of the sites, at which it is like that")
    arguments = parser.parse_args()
    if arguments.sites < 1:
        parser.error("at least one site is needed")
    release = RELEASES[arguments.release]
    scenario = Scenario(
        specification(),
        Release(release.error_ratio, release.slow_ratio, release.golden_wrong, release.loads, arguments.bad_share),
        sites=arguments.sites,
        seed=arguments.seed,
        quick_s=10.0,
        late_share=0.1,
    )
    started_s = time.perf_counter()
    simulation = Simulation(scenario)
    simulation.run()
    report(simulation, time.perf_counter() - started_s)
    return 1 if simulation.ledger.found else 0


def specification(error_budget: Amount = TENTH) -> Specification:
    """Three waves: a few sites, a quarter, the rest."""
    return Specification(
        model="pets",
        version=2,
        waves=(
            Wave("canary", parse_selector("ring=canary"), max_concurrent=Amount(count=5), error_budget=error_budget),
            Wave("quarter", amount=Amount(share=0.25), max_concurrent=Amount(share=0.5), error_budget=error_budget),
            Wave("rest", max_concurrent=Amount(share=0.5), error_budget=error_budget),
        ),
        gates=Gates(),
        canary=Canary(stage_s=30.0, bake_s=300.0),
        on_failure=OnFailure.ROLL_BACK,
    )


def report(simulation: Simulation, took_s: float) -> None:
    """Print what happened."""
    agents = simulation.agents.values()
    states = Counter(agent.disk.record.state.value for agent in agents)
    for when_s, state, why in simulation.ended:
        print(f"  {when_s:7.0f} s  {state.value:<12} {why}")
    print(
        f"{len(agents)} sites at the end: {', '.join(f'{count} {state}' for state, count in states.most_common())}; "
        f"{simulation.ledger.reverts} went back by themselves, {simulation.hub.crashes} crashes of the hub, "
        f"{sum(agent.harmed for agent in agents)} requests got an error from the new version"
    )
    print(
        f"{simulation.events:,} events in {took_s:.1f} s, {simulation.ledger.checks:,} checks, "
        f"{sum(simulation.ledger.found.values())} violations, digest {simulation.digest:08x}"
    )
    for text in simulation.ledger.texts:
        print(f"  VIOLATED {text}")


if __name__ == "__main__":
    sys.exit(main())
