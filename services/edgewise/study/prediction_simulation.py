"""What requests wait in runs of a given length, simulated many times at once.

A measured run starts empty and is short: at a high utilisation its mean wait is below that of the steady state and scatters widely.
Both are computed here, with the same queues as the formulas of `edgewise.core.queueing` have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.study.prediction_path import Path
from edgewise.study.prediction_pauses import Pauses

Array = NDArray[np.float64]

_MOST_REQUESTS: Final = 20_000
_MOST_DRAWN: Final = 1_200_000
_MOST_BATCHED: Final = 60_000
_MOST_REPLICATIONS: Final = 200
_LEAST_REPLICATIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Server:
    """What serves.

    Attributes:
        capacity_per_s: with 1, 2, ... in service.
        service_scv: of its service times.
        batches: whether those in service are one batch, which begins and ends together.
        wait_ratio: put on what requests wait at it.
        pauses: what requests take longer after it had nothing to do; None for nothing.
    """

    capacity_per_s: tuple[float, ...]
    service_scv: float
    batches: bool = False
    wait_ratio: float = 1.0
    pauses: Pauses | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """How long is measured.

    Attributes:
        rate: requests a second.
        arrival_scv: of the gaps between them.
        requests, warmup: of a run that count, and before them.
        runs: whose mean is taken.
        schedules_s: float64 [n] for each run, when its requests are due, where that is known.
        warmup_s: requests of `schedules_s` that are due before do not count; 0 leaves out the first `warmup` of each.
    """

    rate: float
    arrival_scv: float
    requests: int
    warmup: int = 0
    runs: int = 1
    schedules_s: Sequence[Array] = ()
    warmup_s: float = 0.0

    @property
    def simulated(self) -> int:
        """Requests of one run that are simulated: of a very long run only the beginning, which is like the rest."""
        return min(self.requests, _MOST_REQUESTS)


@dataclass(frozen=True, slots=True)
class Waits:
    """What was found.

    Attributes:
        means_ms: float64 [replications], mean wait over all runs of a replication.
        moves_ms: what it is longer at another speed of the server, drawn for each replication.
        waits_ms: float64 [k], of single requests.
        simulated: requests of each run.
    """

    means_ms: Array
    moves_ms: Array
    waits_ms: Array
    simulated: float

    def moved_means_ms(self, requests: int) -> Array:
        """Means of runs of so many requests, at a speed drawn anew for each replication.

        Where fewer are simulated, the scatter is what longer runs leave of it.
        """
        mean_ms = self.means_ms.mean()
        left = math.sqrt(min(1.0, self.simulated / max(1, requests)))
        moved: Array = mean_ms + left * (self.means_ms - mean_ms) + self.moves_ms
        return moved


def simulate(runs: Runs, path: Path | None, server: Server, *, speed_error: float, seed: int) -> Waits:
    """Let runs happen.

    Args:
        path: to the server; None for none.
        speed_error: standard error of the server's capacity, as a share of it.
    Returns: time in queues, with what requests take longer after a pause; of a server that batches, all of the time beyond that of
        a lone request.
    """
    rng = np.random.default_rng([seed, 5])
    most = _MOST_BATCHED if server.batches else _MOST_DRAWN
    length = max((len(due) for due in runs.schedules_s), default=runs.warmup + runs.simulated)
    count = min(_MOST_REPLICATIONS, max(_LEAST_REPLICATIONS, most // max(1, length * runs.runs)))
    slower = np.exp(speed_error * rng.standard_normal((count, 1)))
    sums, moved_sums, weight = np.zeros(count), np.zeros(count), 0
    kept: list[Array] = []
    for run in range(runs.runs):
        warmup = runs.warmup
        if runs.schedules_s:
            due_s = runs.schedules_s[run % len(runs.schedules_s)]
            if runs.warmup_s > 0:
                warmup = int(np.searchsorted(due_s, runs.warmup_s))
            due_s = due_s[: warmup + _MOST_REQUESTS]
            arrivals = np.broadcast_to(due_s, (count, due_s.size))
        else:
            arrivals = np.cumsum(gamma(rng, runs.arrival_scv, (count, length)) / runs.rate, axis=1)
        if arrivals.shape[1] <= warmup:
            continue
        draws = _Draws(rng, arrivals.shape, path, server)
        waits = draws.waits_s(arrivals, np.ones((count, 1)))[:, warmup:]
        moved = draws.waits_s(arrivals, slower)[:, warmup:] if speed_error else waits
        sums += waits.sum(axis=1)
        moved_sums += moved.sum(axis=1)
        weight += waits.shape[1]
        kept.append(waits.ravel())
    if not weight:
        nothing = np.zeros(count)
        return Waits(nothing, nothing, np.zeros(1), 0.0)
    means_ms, moved_ms = 1e3 * sums / weight, 1e3 * moved_sums / weight
    return Waits(means_ms, moved_ms - means_ms, 1e3 * np.concatenate(kept), weight / runs.runs)


def gamma(rng: np.random.Generator, scv: float, shape: tuple[int, ...]) -> Array:
    """Times with mean 1 and a squared coefficient of variation; constant for 0."""
    if scv <= 0:
        return np.ones(shape)
    return rng.standard_exponential(shape) if scv == 1 else rng.gamma(1 / scv, scv, shape)


class _Draws:
    """The random part of one run in all replications, so that two speeds can be compared on the same draws."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], path: Path | None, server: Server) -> None:
        self._path = path
        self._server = server
        self._service = gamma(rng, server.service_scv, shape)
        self._up_size = gamma(rng, path.up.size_scv, shape) if path and path.up.transfer_ms else None
        self._up_delay_s = (
            rng.choice(path.up.delays_ms, size=shape, p=path.up.delay_masses) / 1e3
            if path and path.up.delays_ms.size > 1
            else None
        )

    def waits_s(self, arrivals: Array, slower: Array) -> Array:
        """Time in queues, of each request; arrivals rise along each row."""
        if self._path is None:
            return self._at_server(arrivals, slower)[0]
        total = np.zeros(arrivals.shape)
        at_server = arrivals
        if self._up_size is not None:
            transfer = self._up_size * (self._path.up.transfer_ms / 1e3)
            at_server = fifo_departures(arrivals, transfer)
            total += at_server - transfer - arrivals
        order = None
        if self._up_delay_s is not None:
            at_server = at_server + self._up_delay_s
            order = np.argsort(at_server, axis=1, kind="stable")
            at_server = np.take_along_axis(at_server, order, axis=1)
        waits, departures = self._at_server(at_server, slower)
        if self._path.down.transfer_ms:
            # With several servers answers may leave in another order; the link takes them as they come.
            leaving = np.argsort(departures, axis=1, kind="stable")
            sorted_departures = np.take_along_axis(departures, leaving, axis=1)
            transfer_s = self._path.down.transfer_ms / 1e3
            through = fifo_departures(sorted_departures, np.full(departures.shape, transfer_s))
            down = np.empty_like(waits)
            np.put_along_axis(down, leaving, through - transfer_s - sorted_departures, axis=1)
            waits = waits + down
        if order is not None:
            unsorted = np.empty_like(waits)
            np.put_along_axis(unsorted, order, waits, axis=1)
            waits = unsorted
        return total + waits

    def _at_server(self, arrivals: Array, slower: Array) -> tuple[Array, Array]:
        """Waits and departures."""
        waits, departures = self._queue(arrivals, slower, np.zeros(1))
        pauses = self._server.pauses
        if pauses is None:
            return waits, departures
        # A request stays longer than its service: what is left of it happens beside the server.
        beside_s = max(0.0, pauses.busy_ms / 1e3 - 1 / self._server.capacity_per_s[0])
        idle_since = np.maximum.accumulate(departures, axis=1)
        paused_s = np.full(arrivals.shape, np.inf)
        paused_s[:, 1:] = arrivals[:, 1:] - idle_since[:, :-1] - beside_s
        costs_s = pauses.after_ms(1e3 * paused_s) / 1e3
        if self._server.batches:
            return waits + costs_s, departures + costs_s
        # Who comes right behind waits for that too. That a pause is shorter for it is left out.
        return self._queue(arrivals, slower, costs_s)

    def _queue(self, arrivals: Array, slower: Array, costs_s: Array) -> tuple[Array, Array]:
        """Waits, with what each takes longer, and departures.

        Args:
            costs_s: what each takes longer, as part of its service; broadcast; not for batches.
        """
        server = self._server
        if server.batches:
            return _batch_waits(arrivals, self._service * slower, server.capacity_per_s)
        servers = len(server.capacity_per_s)
        service = self._service * slower * (servers / server.capacity_per_s[-1])
        longer = service + costs_s
        if servers == 1:
            departures = fifo_departures(arrivals, longer)
            return departures - service - arrivals, departures
        rows = np.arange(len(arrivals))
        free = np.zeros((len(arrivals), servers))
        begins = np.empty_like(service)
        for request in range(arrivals.shape[1]):
            first = free.argmin(axis=1)
            begin = np.maximum(arrivals[:, request], free[rows, first])
            begins[:, request] = begin
            free[rows, first] = begin + longer[:, request]
        return server.wait_ratio * (begins - arrivals) + costs_s, begins + longer


def fifo_departures(arrivals: Array, services: Array) -> Array:
    """When requests leave a single server that serves in the order of arrival; one run in each row.

    The latest, over every request k up to this one, of the arrival of k plus all services from k on (Lindley, 1952).
    """
    served = np.cumsum(services, axis=1)
    departures: Array = served + np.maximum.accumulate(arrivals - served + services, axis=1)
    return departures


def _batch_waits(arrivals: Array, factors: Array, capacity_per_s: tuple[float, ...]) -> tuple[Array, Array]:
    """Time beyond that of a lone request at a server that takes all that wait, up to its largest batch; departures."""
    lasts_s = [(size + 1) / capacity for size, capacity in enumerate(capacity_per_s)]
    most = len(lasts_s)
    departures = np.empty(arrivals.shape)
    for row in range(len(arrivals)):
        due = arrivals[row].tolist()
        factor = factors[row].tolist()
        free_s, first, count = 0.0, 0, len(due)
        while first < count:
            free_s = max(free_s, due[first])
            behind = first + 1
            while behind < count and behind - first < most and due[behind] <= free_s:
                behind += 1
            free_s += lasts_s[behind - first - 1] * factor[first]
            departures[row, first:behind] = free_s
            first = behind
    return departures - arrivals - lasts_s[0], departures
