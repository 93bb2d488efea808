"""What each site did second by second, for people who look at the gateway."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from edgewise.gateway.metrics import GatewayMetrics, SiteCounts

SECONDS: Final = 120


class SiteHistory:
    """The last seconds of one site, oldest first.

    Attributes:
        answered: answers that apps got from there.
        mean_ms, slowest_ms: of those answers; None for a second without one.
        failed: attempts that ended without an answer.
        states: of the link at the end of the second.
    """

    __slots__ = ("_answered", "_answered_s", "_failed", "answered", "failed", "mean_ms", "slowest_ms", "states")

    def __init__(self, counts: SiteCounts) -> None:
        self.answered: deque[int] = deque(maxlen=SECONDS)
        self.mean_ms: deque[float | None] = deque(maxlen=SECONDS)
        self.slowest_ms: deque[float | None] = deque(maxlen=SECONDS)
        self.failed: deque[int] = deque(maxlen=SECONDS)
        self.states: deque[str] = deque(maxlen=SECONDS)
        self._answered = counts.answered
        self._answered_s = counts.answered_s
        self._failed = _failures(counts)

    def sample(self, counts: SiteCounts, state: str) -> None:
        """Take in what has happened since the last sample."""
        answered = counts.answered - self._answered
        spent_s = counts.answered_s - self._answered_s
        failures = _failures(counts)
        self.answered.append(answered)
        self.mean_ms.append(round(spent_s / answered * 1e3, 2) if answered else None)
        self.slowest_ms.append(round(counts.slowest_s * 1e3, 2) if answered else None)
        self.failed.append(failures - self._failed)
        self.states.append(state)
        self._answered, self._answered_s, self._failed = counts.answered, counts.answered_s, failures
        counts.slowest_s = 0.0

    def shown(self) -> dict[str, list[Any]]:
        """As JSON carries it."""
        return {
            "answered": list(self.answered),
            "mean_ms": list(self.mean_ms),
            "slowest_ms": list(self.slowest_ms),
            "failed": list(self.failed),
            "states": list(self.states),
        }


class History:
    """All sites; sampled once a second."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self.sites: dict[str, SiteHistory] = {}

    def sample(self, states: Iterable[tuple[str, str]]) -> None:
        """Take in the second that has passed.

        Args:
            states: of each link by site; sites that are not among them are forgotten.
        """
        kept: dict[str, SiteHistory] = {}
        for name, state in states:
            counts = self._metrics.name_site(name)
            history = self.sites.get(name)
            if history is None:
                history = SiteHistory(counts)
            history.sample(counts, state)
            kept[name] = history
        self.sites = kept


def _failures(counts: SiteCounts) -> int:
    return sum(counts.failures.values())


def added(histories: list[Mapping[str, list[Any]]]) -> dict[str, list[Any]]:
    """The histories of several processes as one, the newest second at the end of each."""
    if len(histories) == 1:
        return dict(histories[0])
    length = max(len(history["answered"]) for history in histories)
    rows = [_row([_at(history, back) for history in histories]) for back in range(length, 0, -1)]
    return {name: [row[name] for row in rows] for name in ("answered", "mean_ms", "slowest_ms", "failed", "states")}


def _at(history: Mapping[str, list[Any]], back: int) -> Mapping[str, Any] | None:
    if back > len(history["answered"]):
        return None
    return {name: values[-back] for name, values in history.items()}


def _row(found: list[Mapping[str, Any] | None]) -> dict[str, Any]:
    seconds = [second for second in found if second is not None]
    answered = sum(second["answered"] for second in seconds)
    spent_ms = sum(second["answered"] * (second["mean_ms"] or 0.0) for second in seconds)
    slowest = [second["slowest_ms"] for second in seconds if second["slowest_ms"] is not None]
    return {
        "answered": answered,
        "mean_ms": round(spent_ms / answered, 2) if answered else None,
        "slowest_ms": max(slowest, default=None),
        "failed": sum(second["failed"] for second in seconds),
        "states": seconds[0]["states"],
    }
