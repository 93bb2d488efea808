"""Waits where arrivals or service times are not exponential.

An SCV is a squared coefficient of variation, variance over squared mean: 0 for what is constant, 1 for exponential times.
Arrivals are a renewal process; service times are independent of it and of one another. Of these, Pollaczek-Khinchine is
exact, Kingman a bound, the rest are approximations from two moments; `loadtests/simulate_queues.py` prints by how much they err.
"""

import math

from edgewise.core.queueing.checks import require_positive, require_rate, require_servers
from edgewise.core.queueing.erlang import mmc_wait_s


def pollaczek_khinchine_wait_s(arrivals_per_s: float, service_s: float, service_scv: float) -> float:
    """Mean wait with Poisson arrivals and one server (M/G/1): s ρ / (1 - ρ) (1 + cs²) / 2. Exact.

    Args:
        arrivals_per_s: 0 or more.
        service_s, service_scv: mean and SCV of the service time.
    Returns: seconds; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Pollaczek, 1930; Khinchine, 1932; Kleinrock, Queueing Systems, volume 1, section 5.6.
    """
    return kingman_wait_s(arrivals_per_s, service_s, 1.0, service_scv)


def kingman_wait_s(arrivals_per_s: float, service_s: float, arrival_scv: float, service_scv: float) -> float:
    """Mean wait with one server (G/G/1): s ρ / (1 - ρ) (ca² + cs²) / 2.

    Right in heavy traffic for every G/G/1, exact for Poisson arrivals at every utilisation.

    Args:
        arrivals_per_s: 0 or more.
        service_s: mean.
        arrival_scv, service_scv: of the gaps between arrivals, and of the service times.
    Returns: seconds; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Kingman, "The single server queue in heavy traffic", Proc. Cambridge Philosophical Society 57, 1961.
    """
    return allen_cunneen_wait_s(arrivals_per_s, service_s, 1, arrival_scv, service_scv)


def kraemer_langenbach_belz_wait_s(
    arrivals_per_s: float, service_s: float, arrival_scv: float, service_scv: float
) -> float:
    """Mean wait with one server (G/G/1): Kingman's, less where arrivals are more even than Poisson.

    Kingman's alone is far too long for even arrivals at a low utilisation: where both are constant nobody waits at all.

    Args: as of `kingman_wait_s`.
    Returns: seconds; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Krämer and Langenbach-Belz, "Approximate formulae for the delay in the queueing system GI/G/1", 8th
        International Teletraffic Congress, 1976; for arrival SCVs up to 1 only, as in Whitt, "The Queueing Network Analyzer",
        Bell System Technical Journal 62, 1983, equation 45.
    """
    wait_s = kingman_wait_s(arrivals_per_s, service_s, arrival_scv, service_scv)
    if wait_s == 0 or math.isinf(wait_s):
        return wait_s
    return wait_s * _evenness(arrivals_per_s * service_s, arrival_scv, service_scv)


def allen_cunneen_wait_s(
    arrivals_per_s: float, service_s: float, servers: int, arrival_scv: float, service_scv: float
) -> float:
    """Mean wait with several servers (G/G/c): that of M/M/c, times (ca² + cs²) / 2.

    Exact for M/M/c and M/G/1, right in heavy traffic. Too short for several servers and service times that vary little (6 %
    for M/D/2 at ρ = 0.5), too long for even arrivals at a low utilisation.

    Args:
        arrivals_per_s: of all together.
        service_s: mean, of one server.
        servers: 1 or more.
        arrival_scv, service_scv: as of `kingman_wait_s`.
    Returns: seconds; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Allen, Probability, Statistics, and Queueing Theory, 2nd ed., 1990, section 5.3, after Cunneen.
    """
    require_rate("arrival_scv", arrival_scv)
    require_rate("service_scv", service_scv)
    wait_s = mmc_wait_s(arrivals_per_s, service_s, servers)
    return wait_s if math.isinf(wait_s) else wait_s * (arrival_scv + service_scv) / 2


def whitt_wait_s(
    arrivals_per_s: float, service_s: float, servers: int, arrival_scv: float, service_scv: float
) -> float:
    """Mean wait with several servers (G/G/c): Allen and Cunneen's, corrected where the SCVs are not 1.

    Exact for M/M/c and M/G/1; for M/D/c it is Cosmetatos' (1975) approximation, for one server Krämer and Langenbach-Belz'.

    Args: as of `allen_cunneen_wait_s`.
    Returns: seconds; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Whitt, "Approximations for the GI/G/m queue", Production and Operations Management 2, 1993, equations 2.16 to 2.25.
    """
    wait_s = allen_cunneen_wait_s(arrivals_per_s, service_s, servers, arrival_scv, service_scv)
    if wait_s == 0 or math.isinf(wait_s):
        return wait_s
    return wait_s * whitt_correction(arrivals_per_s * service_s / servers, servers, arrival_scv, service_scv)


def whitt_correction(utilisation: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """What `whitt_wait_s` puts on Allen and Cunneen's wait.

    Args:
        utilisation: over 0 and under 1.
        servers, arrival_scv, service_scv: as of `allen_cunneen_wait_s`; not both SCVs 0.
    Returns: 1 for exponential times, and for Poisson arrivals at one server.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: as of `whitt_wait_s`; one server is left to Krämer and Langenbach-Belz, and irregular arrivals (ca² of 1 or more)
        with still more irregular service times are left as they are.
    """
    require_positive("utilisation", utilisation)
    require_servers(servers)
    if servers == 1:
        return _evenness(utilisation, arrival_scv, service_scv)
    gamma = (1 - utilisation) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * servers * utilisation)
    gamma = min(0.24, gamma)
    poisson_constant = 1 + gamma  # of M/D/c
    constant_exponential = (1 - 4 * gamma) * math.exp(-2 * (1 - utilisation) / (3 * utilisation))  # of D/M/c
    both = (arrival_scv + service_scv) / 2
    even = min(1.0, (poisson_constant + constant_exponential) / 2)
    mixed = 1.0 if both >= 1 else even ** (2 * (1 - both))
    if arrival_scv >= service_scv:
        share = 4 * (arrival_scv - service_scv) / (4 * arrival_scv - 3 * service_scv)
        return share * poisson_constant + (1 - share) * mixed
    if arrival_scv >= 1:
        return 1.0
    share = (service_scv - arrival_scv) / (2 * arrival_scv + 2 * service_scv)
    return share * constant_exponential + (1 - share) * mixed


def _evenness(rho: float, arrival_scv: float, service_scv: float) -> float:
    """What Krämer and Langenbach-Belz put on Kingman's wait; the wait is not 0, so one SCV is not."""
    if arrival_scv >= 1:
        return 1.0
    return math.exp(-2 * (1 - rho) * (1 - arrival_scv) ** 2 / (3 * rho * (arrival_scv + service_scv)))


def departure_scv(utilisation: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """SCV of the gaps between departures, which are the arrivals of the next stage.

    A busy stage lets through what it makes, an idle one what it gets. Exact for M/M/c; an approximation otherwise, and the gaps
    are taken as independent, which they are not.

    Args:
        utilisation: at 1 or more the stage is always busy.
        servers, arrival_scv, service_scv: of the stage.
    Returns: 1 + (1 - ρ²)(ca² - 1) + ρ² (cs² - 1) / √c.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Whitt, "The Queueing Network Analyzer", 1983, equation 39; for one server Marshall, 1968.
    """
    require_rate("utilisation", utilisation)
    require_servers(servers)
    require_rate("arrival_scv", arrival_scv)
    require_rate("service_scv", service_scv)
    busy = min(1.0, utilisation) ** 2
    return max(0.0, 1 + (1 - busy) * (arrival_scv - 1) + busy * (service_scv - 1) / math.sqrt(servers))
