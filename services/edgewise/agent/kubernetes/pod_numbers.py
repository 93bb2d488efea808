"""What a model server's pod has counted, out of its metrics.

A pod serves one version, so all that it counted is that version's. Numbers only grow while a process lives; one that was started anew
begins at zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from edgewise.core.errors import UnavailableError

_REQUESTS: Final = "edgewise_server_requests_total"
_SECONDS: Final = "edgewise_server_request_seconds_bucket"
_ERRORS: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED"})
"""What is a version's own fault; a client that went away or was sent away says nothing of it."""


@dataclass(frozen=True, slots=True)
class PodNumbers:
    """Requests for one model.

    Attributes:
        requests: that ended.
        errors: of those, the ones that are errors of the server.
        bounds_s: upper bounds of the latency buckets, ascending, the last one infinite.
        within: how many requests took no longer than each bound.
    """

    requests: int = 0
    errors: int = 0
    bounds_s: tuple[float, ...] = ()
    within: tuple[int, ...] = ()

    @property
    def timed(self) -> int:
        """Requests whose time is known."""
        return self.within[-1] if self.within else 0

    def slower(self, than_s: float) -> int:
        """Requests that took longer than the least bound that is not below `than_s`: never stricter than was asked."""
        return self.timed - next(
            (count for bound, count in zip(self.bounds_s, self.within, strict=True) if bound >= than_s), 0
        )

    def quantile_s(self, quantile: float) -> float:
        """An estimate that lies between the bounds of the right bucket; 0 when nothing was timed."""
        wanted = quantile * self.timed
        below_s, before = 0.0, 0
        for bound_s, count in zip(self.bounds_s, self.within, strict=True):
            if count >= wanted and count > before:
                if bound_s == float("inf"):
                    break
                return below_s + (bound_s - below_s) * (wanted - before) / (count - before)
            below_s, before = bound_s, count
        return below_s

    def since(self, before: "PodNumbers") -> "PodNumbers":
        """What was counted after `before`; all of it when the process was started anew."""
        if self.requests < before.requests or self.timed < before.timed or self.errors < before.errors:
            return self
        if not before.within:
            return PodNumbers(self.requests - before.requests, self.errors - before.errors, self.bounds_s, self.within)
        within = tuple(now - then for now, then in zip(self.within, before.within, strict=True))
        return PodNumbers(self.requests - before.requests, self.errors - before.errors, self.bounds_s, within)


def summed(numbers: Iterable[PodNumbers]) -> PodNumbers:
    """Of several pods together."""
    requests = errors = 0
    within: Sequence[int] = ()
    bounds: tuple[float, ...] = ()
    for one in numbers:
        requests += one.requests
        errors += one.errors
        if one.bounds_s:
            bounds = one.bounds_s
            within = [a + b for a, b in zip(within, one.within, strict=True)] if within else one.within
    return PodNumbers(requests, errors, bounds, tuple(within))


def read_numbers(text: str, model: str) -> PodNumbers:
    """What a pod counted for a model.

    Args:
        text: in Prometheus' format.
    Raises: UnavailableError: it is not in that format.
    """
    requests = errors = 0
    within: dict[float, int] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.labels.get("model") != model:
                    continue
                if sample.name == _REQUESTS:
                    requests += int(sample.value)
                    errors += int(sample.value) if sample.labels["code"] in _ERRORS else 0
                elif sample.name == _SECONDS:
                    bound = float(sample.labels["le"])
                    within[bound] = within.get(bound, 0) + int(sample.value)
    except (ValueError, KeyError, IndexError):
        raise UnavailableError("what a pod counted cannot be read: expected Prometheus' text format") from None
    bounds = tuple(sorted(within))
    return PodNumbers(requests, errors, bounds, tuple(within[bound] for bound in bounds))
