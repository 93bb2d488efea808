"""Poisson arrivals, exponential service times: what is known exactly.

`Wait` is the time between arrival and the beginning of service. Service is first come, first served; nobody leaves; the
queue has no bound. There is no steady state at a utilisation of 1 or more: waits are infinite there.
"""

import math

from edgewise.core.queueing.checks import require_positive, require_quantile, require_rate, require_servers


def erlang_b(servers: int, offered_load: float) -> float:
    """The share of arrivals that find all servers busy when those are turned away (M/G/c/c).

    Args:
        servers: 1 or more.
        offered_load: arrivals a second times mean service time, in Erlang.
    Returns: in [0, 1).
    Raises: InvalidArgumentError: an argument is out of range.
    Source: A. K. Erlang, 1917; the recursion in the number of servers, which cannot overflow: Cooper, Introduction to
        Queueing Theory, 2nd ed., section 3.3.
    """
    require_servers(servers)
    require_rate("offered_load", offered_load)
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered_load * blocked / (count + offered_load * blocked)
    return blocked


def erlang_c(servers: int, offered_load: float) -> float:
    """The share of arrivals that have to wait (M/M/c).

    Args:
        servers, offered_load: as of `erlang_b`.
    Returns: in [0, 1]; 1 when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: A. K. Erlang, 1917; from Erlang B by Cooper, section 3.5: C = B / (1 - ρ (1 - B)).
    """
    blocked = erlang_b(servers, offered_load)
    utilisation = offered_load / servers
    return 1.0 if utilisation >= 1 else blocked / (1 - utilisation * (1 - blocked))


def mm1_wait_s(arrivals_per_s: float, service_s: float) -> float:
    """Mean wait with one server (M/M/1): s ρ / (1 - ρ).

    Args:
        arrivals_per_s: 0 or more.
        service_s: mean.
    Returns: seconds; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Kleinrock, Queueing Systems, volume 1, section 3.2.
    """
    return mmc_wait_s(arrivals_per_s, service_s, 1)


def mmc_wait_s(arrivals_per_s: float, service_s: float, servers: int) -> float:
    """Mean wait with several servers and one queue (M/M/c): C(c, λs) s / (c (1 - ρ)).

    Args:
        arrivals_per_s: of all together.
        service_s: mean, of one server.
        servers: 1 or more.
    Returns: seconds; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Kleinrock, section 3.5.
    """
    require_rate("arrivals_per_s", arrivals_per_s)
    require_positive("service_s", service_s)
    waiting = erlang_c(servers, arrivals_per_s * service_s)
    spare = servers - arrivals_per_s * service_s
    return waiting * service_s / spare if spare > 0 else math.inf


def mmc_wait_tail(time_s: float, arrivals_per_s: float, service_s: float, servers: int) -> float:
    """The share of requests that wait longer than a time (M/M/c): C exp(-(cμ - λ) t). Exact.

    Args:
        time_s: 0 or more.
        arrivals_per_s, service_s, servers: as of `mmc_wait_s`.
    Returns: in [0, 1]; 1 when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Cooper, section 3.5.
    """
    require_rate("time_s", time_s)
    require_rate("arrivals_per_s", arrivals_per_s)
    require_positive("service_s", service_s)
    waiting = erlang_c(servers, arrivals_per_s * service_s)
    spare_per_s = servers / service_s - arrivals_per_s
    return waiting * math.exp(-spare_per_s * time_s) if spare_per_s > 0 else 1.0


def mmc_wait_quantile_s(quantile: float, arrivals_per_s: float, service_s: float, servers: int) -> float:
    """The wait that a share of the requests does not exceed (M/M/c). Exact.

    Args:
        quantile: in [0, 1), such as 0.99.
        arrivals_per_s, service_s, servers: as of `mmc_wait_s`.
    Returns: seconds; 0 where so many do not wait at all; infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: `mmc_wait_tail`, solved for the time.
    """
    require_rate("arrivals_per_s", arrivals_per_s)
    require_positive("service_s", service_s)
    waiting = erlang_c(servers, arrivals_per_s * service_s)
    return wait_quantile_s(quantile, waiting, mmc_wait_s(arrivals_per_s, service_s, servers))


def wait_quantile_s(quantile: float, waiting_ratio: float, mean_wait_s: float) -> float:
    """A quantile of the wait, from the share that waits at all and the mean, where those who wait do so exponentially.

    Exact for M/M/c; for other queues right in heavy traffic (Kingman 1962), and too long for little varying service times.

    Args:
        quantile: in [0, 1).
        waiting_ratio: share of the requests that wait.
        mean_wait_s: over all requests, those that do not wait included.
    Returns: seconds.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Kingman, "On queues in heavy traffic", J. Royal Statistical Society B 24, 1962.
    """
    require_quantile(quantile)
    if math.isinf(mean_wait_s):
        return math.inf
    require_rate("mean_wait_s", mean_wait_s)
    if waiting_ratio <= 1 - quantile:
        return 0.0
    return mean_wait_s / waiting_ratio * math.log(waiting_ratio / (1 - quantile))


def mm1_mean_wait_variance_s2(arrivals_per_s: float, service_s: float, requests: int) -> float:
    """Variance of the mean wait over a run of so many requests (M/M/1 in its steady state).

    Waits that follow one another are alike, so the mean of n of them scatters far more than that of n independent ones: at a
    utilisation of 0.9 a run of 443 requests has a standard error as large as the mean wait itself.

    Args:
        arrivals_per_s, service_s: as of `mm1_wait_s`.
        requests: of the run; the formula is that of long runs, whose correlation has died out in between.
    Returns: s²: s² ρ (2 + 5ρ - 4ρ² + ρ³) / ((1 - ρ)⁴ n); infinite when there is no steady state.
    Raises: InvalidArgumentError: an argument is out of range.
    Source: Daley, "The serial correlation coefficients of waiting times in a stationary single server queue", J. Australian
        Mathematical Society 8, 1968; as a rule for planning runs: Whitt, "Planning queueing simulations", Management
        Science 35, 1989.
    """
    require_rate("arrivals_per_s", arrivals_per_s)
    require_positive("service_s", service_s)
    require_positive("requests", requests)
    rho = arrivals_per_s * service_s
    if rho >= 1:
        return math.inf
    return service_s**2 * rho * (2 + 5 * rho - 4 * rho**2 + rho**3) / ((1 - rho) ** 4 * requests)
