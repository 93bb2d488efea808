"""A station whose speed depends on how many it serves, and several stations one behind another.

Two instances of a model on two cores slow each other down, and a batch of four takes less than four times one: the rate at which
requests are completed is measured for each number in service. With exponential times that is a birth-death process,
solved exactly; the part of its time that is waiting is corrected for other SCVs, as Allen and Cunneen do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.queueing.checks import require_positive, require_rate
from edgewise.core.queueing.general import departure_scv, whitt_correction


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What a birth-death station is like in its steady state.

    Attributes:
        utilisation: arrivals over capacity.
        waiting_ratio: share of (Poisson) arrivals that find no server free.
        mean_waiting, mean_served: requests in the queue, and in service; infinite and c without a steady state.
    """

    utilisation: float
    waiting_ratio: float
    mean_waiting: float
    mean_served: float


def occupancy(arrivals_per_s: float, capacity_per_s: Sequence[float]) -> Occupancy:
    """Poisson arrivals at a station with exponential times that completes `capacity_per_s[n - 1]` a second with n in service.

    With capacities 1/s, 2/s, ... c/s it is M/M/c.

    Args:
        arrivals_per_s: 0 or more.
        capacity_per_s: with 1, 2, ... c in service; the last holds for all that wait besides.
    Raises: InvalidArgumentError: a capacity is not over 0, or there is none.
    Source: Kleinrock, Queueing Systems, volume 1, section 3.1; pools whose rate depends on their content stand for whole
        subsystems in Chandy, Herzog and Woo, "Parametric analysis of queuing networks", IBM J. 19, 1975.
    """
    require_rate("arrivals_per_s", arrivals_per_s)
    if not capacity_per_s:
        raise InvalidArgumentError(
            "capacity_per_s is empty; expected the completions a second with 1, 2, ... in service"
        )
    for capacity in capacity_per_s:
        require_positive("capacity_per_s", capacity)
    servers = len(capacity_per_s)
    rho = arrivals_per_s / capacity_per_s[-1]
    if rho >= 1:
        return Occupancy(rho, 1.0, math.inf, float(servers))
    # Weights of 0, 1, ... c inside, scaled by the largest so far: a product of many rates would overflow.
    weights = [1.0]
    for capacity in capacity_per_s:
        weights.append(weights[-1] * arrivals_per_s / capacity)
        if weights[-1] > 1e200:
            weights = [weight / weights[-1] for weight in weights]
    tail = weights[-1] / (1 - rho)  # c or more inside
    total = math.fsum(weights[:-1]) + tail
    served = math.fsum(count * weight for count, weight in enumerate(weights[:-1])) + servers * tail
    return Occupancy(rho, tail / total, tail * rho / (1 - rho) / total, served / total)


@dataclass(frozen=True, slots=True)
class Stage:
    """One station of several that a request passes.

    Attributes:
        name: such as "server".
        capacity_per_s: as of `occupancy`; one value is a single server.
        service_scv: SCV of its service times.
    """

    name: str
    capacity_per_s: tuple[float, ...]
    service_scv: float = 0.0


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage does to a request in the mean.

    Attributes:
        utilisation: at 1 or more the wait is infinite.
        waiting_ratio: share of the requests that wait.
        wait_s: in its queue.
        service_s: at its server.
        arrival_scv: of what arrives at it.
    """

    name: str
    utilisation: float
    waiting_ratio: float
    wait_s: float
    service_s: float
    arrival_scv: float


def time_at(stage: Stage, arrivals_per_s: float, arrival_scv: float) -> StageTime:
    """Mean times at one stage.

    Service takes what those beside it leave it, as the birth-death process has it; the wait is that of the same process, times
    (ca² + cs²) / 2 and Whitt's correction. Exact for exponential times, and for M/G/1.

    Args:
        arrivals_per_s: 0 or more.
        arrival_scv: SCV of the gaps between arrivals.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: as of `occupancy` and `whitt_wait_s`.
    """
    require_rate("arrival_scv", arrival_scv)
    require_rate("service_scv", stage.service_scv)
    servers = len(stage.capacity_per_s)
    state = occupancy(arrivals_per_s, stage.capacity_per_s)
    if state.utilisation >= 1:
        return StageTime(stage.name, state.utilisation, 1.0, math.inf, servers / stage.capacity_per_s[-1], arrival_scv)
    if arrivals_per_s == 0:
        return StageTime(stage.name, 0.0, 0.0, 0.0, 1 / stage.capacity_per_s[0], arrival_scv)
    both = (arrival_scv + stage.service_scv) / 2
    wait_s = state.mean_waiting / arrivals_per_s * both
    if wait_s > 0:
        wait_s *= whitt_correction(state.utilisation, servers, arrival_scv, stage.service_scv)
    return StageTime(
        stage.name, state.utilisation, state.waiting_ratio, wait_s, state.mean_served / arrivals_per_s, arrival_scv
    )


def tandem(stages: Sequence[Stage], arrivals_per_s: float, arrival_scv: float) -> tuple[StageTime, ...]:
    """Mean times at stages that each request passes one after another.

    Between two known cases, by how much the service times vary. Exponential ones: each stage by itself, its arrivals being what
    left the one before (Jackson, 1957; with `departure_scv` for other arrivals). Constant ones: all stages together let
    wait as long as the slowest alone would, since who has waited at one comes to the next evenly spaced (Friedman, 1965).

    Args:
        stages: in the order in which they are passed.
        arrivals_per_s: at the first, and so at each.
        arrival_scv: at the first.
    Returns: one for each stage. Behind a stage that is overloaded the others get what it lets through.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Whitt, "The Queueing Network Analyzer", Bell System Technical Journal 62, 1983; Friedman, "Reduction methods for
        tandem queuing systems", Operations Research 13, 1965. The mixture is ours; `loadtests/simulate_queues.py` prints its error.
    """
    times: list[StageTime] = []
    waited_s = 0.0
    passed_scv = arrival_scv
    varied = 0.0
    for stage in stages:
        time = time_at(stage, arrivals_per_s, passed_scv)
        varied = min(1.0, max(varied, stage.service_scv))
        if times and varied < 1 and math.isfinite(time.wait_s) and math.isfinite(waited_s):
            alone_s = time_at(stage, arrivals_per_s, arrival_scv).wait_s
            time = replace(time, wait_s=varied * time.wait_s + (1 - varied) * max(0.0, alone_s - waited_s))
        times.append(time)
        waited_s += time.wait_s
        passed_scv = departure_scv(time.utilisation, len(stage.capacity_per_s), passed_scv, stage.service_scv)
        arrivals_per_s = min(arrivals_per_s, stage.capacity_per_s[-1])
    return tuple(times)


def transfer_s(size_bytes: float, bandwidth_kbit_s: float) -> float:
    """How long bytes occupy a link: bytes × 8 / bandwidth.

    Args:
        size_bytes: with what the protocol puts around them.
        bandwidth_kbit_s: in 1000 bit/s; 0 is no limit.
    Returns: seconds.
    Raises: InvalidArgumentError: an argument is negative or not finite.
    """
    require_rate("size_bytes", size_bytes)
    require_rate("bandwidth_kbit_s", bandwidth_kbit_s)
    return size_bytes / (bandwidth_kbit_s * 125) if bandwidth_kbit_s else 0.0
