"""The formulas of `edgewise.core.queueing` against a discrete-event simulation of the same queues.

    python loadtests/simulate_queues.py [--requests 4000000] [--seed 1] [--only TEXT]

Each row: the formula, the simulation's mean over independent replications, their ratio, the simulation's 95 % interval as a share of
its mean, and what the formula claims. Exits with 1 when one that is exact is further from the simulation than 2 % and its noise.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewise.core.queueing import (
    Stage,
    allen_cunneen_wait_s,
    break_even_delay,
    kingman_wait_s,
    kraemer_langenbach_belz_wait_s,
    mm1_mean_wait_variance_s2,
    mmc_wait_quantile_s,
    mmc_wait_s,
    occupancy,
    pollaczek_khinchine_wait_s,
    tandem,
    whitt_wait_s,
)

Array = NDArray[np.float64]

EXACT_WITHIN = 0.02
UTILISATIONS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Row:
    """A formula beside its simulation; `error` is half of the simulation's 95 % interval over its mean."""

    name: str
    formula: float
    simulated: float
    error: float
    exact: bool

    @property
    def ratio(self) -> float:
        """The formula over the simulation."""
        return self.formula / self.simulated if self.simulated else math.nan

    @property
    def holds(self) -> bool:
        """An exact formula agrees; of an approximation nothing is asked."""
        return not self.exact or abs(self.ratio - 1) <= EXACT_WITHIN + self.error


def times(rng: np.random.Generator, scv: float, shape: tuple[int, ...]) -> Array:
    """Gamma distributed times with mean 1 and a squared coefficient of variation; constant for 0."""
    if scv == 0:
        return np.ones(shape)
    return rng.standard_exponential(shape) if scv == 1 else rng.gamma(1 / scv, scv, shape)


def fifo_departures(arrivals: Array, services: Array) -> Array:
    """When each request leaves a single server, first come first served; rows are replications.

    A request departs after all that the busy period it belongs to has served: the latest, over every k before it, of the
    arrival of k plus the services from k on.
    """
    served = np.cumsum(services, axis=1)
    return served + np.maximum.accumulate(arrivals - served + services, axis=1)


def waits_of_servers(arrivals: Array, services: Array, servers: int) -> Array:
    """Waits at several servers with one queue (Kiefer and Wolfowitz, 1955); rows are replications."""
    if servers == 1:
        return fifo_departures(arrivals, services) - services - arrivals
    rows = np.arange(len(arrivals))
    free = np.zeros((len(arrivals), servers))
    waits = np.empty_like(arrivals)
    for request in range(arrivals.shape[1]):
        first = free.argmin(axis=1)
        begins = np.maximum(arrivals[:, request], free[rows, first])
        waits[:, request] = begins - arrivals[:, request]
        free[rows, first] = begins + services[:, request]
    return waits


def simulated(
    rng: np.random.Generator,
    requests: int,
    *,
    rho: float,
    servers: int = 1,
    scvs: tuple[float, float] = (1.0, 1.0),
    measures: tuple[Callable[[Array], Array], ...] = (np.asarray,),
) -> list[Array]:
    """What waits are like, without those of the way to the steady state.

    Args:
        requests: about how many; more at a high utilisation, where means scatter more.
        scvs: of arrivals, of services.
        measures: of the waits [replications, requests] in service times.
    Returns: for each measure its means, [replications].
    """
    # The time to forget the empty beginning grows with 1 / (1 - sqrt(rho))^2 (Cohen, 1982).
    warm = int(8 * max(1.0, sum(scvs) / 2) * servers / (1 - math.sqrt(rho)) ** 2) + 50
    length = 3 * warm
    replications = max(20, int(requests * max(1.0, 0.3 / (1 - rho)) ** 2 / length))
    means: list[list[Array]] = [[] for _ in measures]
    # Few at a time, so that a block stays within some 100 MB.
    while replications > 0:
        some = min(replications, max(1, 3_000_000 // length))
        arrivals = np.cumsum(times(rng, scvs[0], (some, length)) / (rho * servers), axis=1)
        waits = waits_of_servers(arrivals, times(rng, scvs[1], arrivals.shape), servers)[:, warm:]
        for found, measure in zip(means, measures, strict=True):
            found.append(measure(waits).mean(axis=1))
        replications -= some
    return [np.concatenate(found) for found in means]


def mean_with_error(means: Array) -> tuple[float, float]:
    """Mean over replications, and half of its 95 % interval as a share of it."""
    mean = float(means.mean())
    return mean, float(1.96 * means.std(ddof=1) / math.sqrt(len(means)) / mean) if mean else 0.0


def exact_rows(rng: np.random.Generator, requests: int) -> Iterator[Row]:
    """M/M/1, M/M/c with a quantile, M/G/1."""
    for rho in UTILISATIONS:
        for servers in (1, 2, 5, 10):
            high = mmc_wait_quantile_s(0.99, rho * servers, 1.0, servers)
            # The share that exceeds the quantile, not the quantile itself: a share has a mean, with an error.
            waits, over = simulated(
                rng, requests, rho=rho, servers=servers, measures=(np.asarray, lambda waits, high=high: waits > high)
            )
            mean, error = mean_with_error(waits)
            # Where hardly anybody waits, so many requests do not show the mean.
            if error < 2 * EXACT_WITHIN:
                formula = mmc_wait_s(rho * servers, 1.0, servers)
                yield Row(f"M/M/{servers} mean wait, rho={rho}", formula, mean, error, exact=True)
                if high > 0:
                    name = f"M/M/{servers} waits over the p99 wait, rho={rho}"
                    yield Row(name, 0.01, *mean_with_error(over), exact=True)
        for scv in (0.0, 0.05, 0.5, 2.0):
            (waits,) = simulated(rng, requests, rho=rho, scvs=(1.0, scv))
            formula = pollaczek_khinchine_wait_s(rho, 1.0, scv)
            yield Row(f"M/G/1 mean wait, scv={scv}, rho={rho}", formula, *mean_with_error(waits), exact=True)


def break_even_rows(rng: np.random.Generator, requests: int) -> Iterator[Row]:
    """The break-even delay of cloud and edge."""
    for rho in UTILISATIONS:
        edge, edge_error = mean_with_error(simulated(rng, 4 * requests, rho=rho)[0])
        for places in (2, 5, 10):
            cloud, cloud_error = mean_with_error(simulated(rng, requests, rho=rho, servers=places)[0])
            delay = edge - cloud
            error = math.hypot(edge * edge_error, cloud * cloud_error) / delay
            yield Row(
                f"break-even delay, N={places}, rho={rho}", break_even_delay(rho, places), delay, error, exact=True
            )


def approximate_rows(rng: np.random.Generator, requests: int) -> Iterator[Row]:
    """G/G/1 and G/G/c: each formula beside the same simulation."""
    for rho in (0.5, 0.7, 0.9):
        for scvs in ((0.0, 0.05), (0.0, 1.0), (0.5, 0.05), (2.0, 0.05)):
            mean, error = mean_with_error(simulated(rng, requests, rho=rho, scvs=scvs)[0])
            for name, formula in (
                ("Kingman", kingman_wait_s),
                ("Krämer-L.-B.", kraemer_langenbach_belz_wait_s),
            ):
                case = f"G/G/1, ca2={scvs[0]}, cs2={scvs[1]}, rho={rho}, {name}"
                yield Row(case, formula(rho, 1.0, *scvs), mean, error, exact=False)
        for servers in (2, 4):
            for scvs in ((1.0, 0.0), (1.0, 0.05), (1.0, 2.0), (0.0, 1.0), (0.5, 0.05)):
                mean, error = mean_with_error(simulated(rng, requests, rho=rho, servers=servers, scvs=scvs)[0])
                for name, several in (("Allen-Cunneen", allen_cunneen_wait_s), ("Whitt", whitt_wait_s)):
                    case = f"G/G/{servers}, ca2={scvs[0]}, cs2={scvs[1]}, rho={rho}, {name}"
                    yield Row(case, several(rho * servers, 1.0, servers, *scvs), mean, error, exact=False)


def simulated_inside(rng: np.random.Generator, rho: float, capacity: tuple[float, ...], requests: int) -> Array:
    """Mean number inside a station with exponential times and a speed that depends on it, [replications]."""
    steps, replications = 6000, max(100, requests // 6000)
    rates = np.array((0.0, *capacity))
    arrivals = rho * capacity[-1]
    inside = np.zeros(replications, dtype=np.int64)
    area = np.zeros(replications)
    whole = np.zeros(replications)
    for step in range(steps):
        completions = rates[np.minimum(inside, len(capacity))]
        # The mean stay, instead of a draw of it, has the same mean with less noise.
        stay = 1 / (arrivals + completions)
        if step > steps // 6:
            area += inside * stay
            whole += stay
        inside += np.where(rng.random(replications) < arrivals * stay, 1, -1)
    return area / whole


def station_rows(rng: np.random.Generator, requests: int) -> Iterator[Row]:
    """Servers that slow each other, and stages one behind another."""
    for rho in (0.3, 0.6, 0.9):
        for capacity in ((1.0, 1.5), (1.0, 1.6, 1.9, 2.0)):
            state = occupancy(rho * capacity[-1], capacity)
            mean, error = mean_with_error(simulated_inside(rng, rho, capacity, requests))
            formula = state.mean_waiting + state.mean_served
            yield Row(f"birth-death {capacity}, number inside, rho={rho}", formula, mean, error, exact=True)
    for rho in (0.5, 0.7, 0.9):
        for link, link_scv, scv in (
            (0.8, 1.0, 1.0),
            (0.5, 0.0, 0.05),
            (0.8, 0.0, 0.05),
            (0.8, 0.0, 1.0),
            (0.8, 0.3, 0.3),
        ):
            # Services of 1, behind a link of which the same load uses the share `link`.
            stages = (Stage("uplink", (rho / link,), link_scv), Stage("server", (1.0,), scv))
            formula = math.fsum(stage.wait_s for stage in tandem(stages, rho, 1.0))
            means = np.array(
                [waits_behind_a_link(rng, rho, link, (link_scv, scv)) for _ in range(max(40, requests // 40_000))]
            )
            name = f"link at {link} (scv {link_scv}), server at {rho} (scv {scv}): both waits"
            yield Row(name, formula, *mean_with_error(means), exact=link_scv == scv == 1)


def waits_behind_a_link(rng: np.random.Generator, rho: float, link: float, scvs: tuple[float, float]) -> float:
    """Mean of what 36,000 requests wait at two single servers together."""
    arrivals = np.cumsum(times(rng, 1.0, (1, 40_000)) / rho, axis=1)
    first = times(rng, scvs[0], arrivals.shape) * link / rho
    second = times(rng, scvs[1], arrivals.shape)
    departures = fifo_departures(fifo_departures(arrivals, first), second)
    return float((departures - first - second - arrivals)[:, 4000:].mean())


def scatter_rows(rng: np.random.Generator, requests: int) -> Iterator[Row]:
    """How far the mean of a run scatters."""
    for rho in (0.5, 0.7):
        lengths: list[int] = []

        def kept(waits: Array, lengths: list[int] = lengths) -> Array:
            lengths.append(waits.shape[1])
            return waits

        (means,) = simulated(rng, requests, rho=rho, measures=(kept,))
        formula = mm1_mean_wait_variance_s2(rho, 1.0, lengths[0])
        # Of a variance from n replications the relative standard error is near sqrt(2 / n), and more where tails are long.
        error = 2 * 1.96 * math.sqrt(2 / len(means))
        name = f"M/M/1 variance of the mean of {lengths[0]} waits, rho={rho}"
        yield Row(name, formula, float(means.var(ddof=1)), error, exact=False)


GROUPS: dict[str, Callable[[np.random.Generator, int], Iterator[Row]]] = {
    "exact": exact_rows,
    "break-even": break_even_rows,
    "station": station_rows,
    "approximate": approximate_rows,
    "scatter": scatter_rows,
}


def main() -> int:
    """Simulate, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4_000_000, help="simulated for each row, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help=f"groups whose name holds this: {', '.join(GROUPS)}")
    arguments = parser.parse_args()
    if arguments.requests < 10_000:
        parser.error("--requests: at least 10000 are needed for a mean worth comparing")
    chosen = {name: rows for name, rows in GROUPS.items() if arguments.only in name}
    if not chosen:
        parser.error(f"--only: no group is called like {arguments.only!r}; there are {', '.join(GROUPS)}")
    started_s = time.perf_counter()
    missed = 0
    print(f"{'':76} {'formula':>9} {'simulated':>9} {'ratio':>7} {'+-':>6}")
    for name, rows in chosen.items():
        rng = np.random.default_rng([arguments.seed, *name.encode()])
        worst = 0.0
        for row in rows(rng, arguments.requests):
            said = "" if row.holds else "  MISSED"
            missed += not row.holds
            worst = max(worst, abs(row.ratio - 1))
            kind = "exact" if row.exact else "approx"
            print(
                f"{kind:6} {row.name:69} {row.formula:9.5f} {row.simulated:9.5f} {row.ratio:7.4f} "
                f"{100 * row.error:5.2f}%{said}",
                flush=True,
            )
        print(f"{name}: the furthest is {100 * worst:.1f} % from its simulation\n")
    print(f"seed {arguments.seed}, {time.perf_counter() - started_s:.0f} s; {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
