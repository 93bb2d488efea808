"""Where many small sites begin to lose against one large one.

A site at the edge saves the way to the cloud, and waits longer: each has its own queue, where the cloud has one for all. The
longer wait outweighs the way from some utilisation on (Ali-Eldin, Wang and Shenoy, "The Hidden Cost of the Edge", SC '21, who call
it performance inversion).
"""

import math
from collections.abc import Callable
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.queueing.checks import require_rate
from edgewise.core.queueing.erlang import mm1_wait_s, mmc_wait_s
from edgewise.core.queueing.general import kraemer_langenbach_belz_wait_s, whitt_wait_s

_STEPS: Final = 256
_HALVINGS: Final = 60


def break_even_delay(utilisation: float, places: float) -> float:
    """The extra way to the cloud, in service times, at which one queue for several places is no better than one each.

    A cloud nearer than this wins. Poisson arrivals, exponential service times, as many servers in the cloud as places:
    Wq(M/M/1) - Wq(M/M/N).

    Args:
        utilisation: of each server, in [0, 1).
        places: whole, 1 or more; infinite for a cloud where nobody waits.
    Returns: ΔRTT / s.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Ali-Eldin, Wang and Shenoy, "The Hidden Cost of the Edge: A Performance Comparison of Edge and Cloud Latencies",
        SC '21, section 3.
    """
    if not 0 <= utilisation < 1:
        raise InvalidArgumentError(f"utilisation is {utilisation:g}; expected 0 or more and less than 1")
    alone = mm1_wait_s(utilisation, 1.0)
    if places == math.inf:
        return alone
    if not (places >= 1 and places == int(places)):
        raise InvalidArgumentError(f"places is {places:g}; expected a whole number that is 1 or more, or infinity")
    servers = int(places)
    return alone - mmc_wait_s(utilisation * servers, 1.0, servers)


def crossover_utilisation(
    delay: float,
    places: int,
    *,
    service_scv: float = 1.0,
    edge_arrival_scv: float = 1.0,
    cloud_arrival_scv: float = 1.0,
) -> float | None:
    """The utilisation from which on one queue for several places beats a queue each, though it is farther away.

    Waits are those of Krämer and Langenbach-Belz (edge) and of Whitt (cloud): exact for the edge with Poisson arrivals.

    Args:
        delay: the extra way to the cloud, in service times: ΔRTT / s.
        places: each has one server; the cloud has as many.
        service_scv: of all.
        edge_arrival_scv, cloud_arrival_scv: of what arrives at one place, and at the cloud; many independent processes
            together are nearly Poisson, whatever each of them is (Palm, 1943; Khinchine, 1955).
    Returns: in [0, 1); None when the cloud wins at no load.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: as of `break_even_delay`, by bisection.
    """
    require_rate("delay", delay)

    def edge_loses_by(utilisation: float) -> float:
        edge = kraemer_langenbach_belz_wait_s(utilisation, 1.0, edge_arrival_scv, service_scv)
        cloud = whitt_wait_s(utilisation * places, 1.0, places, cloud_arrival_scv, service_scv)
        return edge - cloud - delay

    return first_crossing(edge_loses_by, 0.0, 1 - 1e-6)


def first_crossing(rises: Callable[[float], float], low: float, high: float) -> float | None:
    """Where a function first becomes positive.

    Args:
        rises: continuous; infinite values are allowed, nan counts as not positive.
        low, high: where to look.
    Returns: `low` when it is positive there already; None when it never is. Looks at 256 places, which lie closer towards
        `high`, and then halves: a shorter excursion may be missed.
    Raises: InvalidArgumentError: low > high.
    """
    if low > high:
        raise InvalidArgumentError(f"there is nothing between {low:g} and {high:g}; expected the smaller one first")
    if rises(low) > 0:
        return low
    left = low
    for step in range(1, _STEPS + 1):
        right = high - (high - low) * (1 - step / _STEPS) ** 2
        if rises(right) > 0:
            break
        left = right
    else:
        return None
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        if rises(middle) > 0:
            right = middle
        else:
            left = middle
    return (left + right) / 2
