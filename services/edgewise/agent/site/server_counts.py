"""What a model server has counted for one model, before and after one version took over from another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edgewise.agent.site.metric_text import quantile_of, samples
from edgewise.agent.site.port import Counts, Reading

_REQUESTS: Final = "edgewise_server_requests_total"
_SECONDS: Final = "edgewise_server_request_seconds_bucket"
_ERRORS: Final = frozenset({"INTERNAL"})
# What never reached a version, or says nothing of it.
_UNCOUNTED: Final = frozenset(
    {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "DEADLINE_EXCEEDED", "NOT_FOUND", "UNAUTHENTICATED"}
)
_QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Since the model server started.

    Attributes:
        buckets: answers that took at most so many seconds, by that bound.
    """

    answers: float = 0.0
    errors: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict)

    def __add__(self, other: "_Sums") -> "_Sums":
        bounds = {**self.buckets, **other.buckets}
        return _Sums(
            self.answers + other.answers,
            self.errors + other.errors,
            {bound: self.buckets.get(bound, 0.0) + other.buckets.get(bound, 0.0) for bound in bounds},
        )

    def __sub__(self, other: "_Sums") -> "_Sums":
        return self + _Sums(-other.answers, -other.errors, {bound: -count for bound, count in other.buckets.items()})


class ServerCounts:
    """One model."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._key = ""
        self._known: _Sums | None = None
        self._total = _Sums()
        self._old = _Sums()
        self._begin = _Sums()

    def read(self, text: str) -> None:
        """Take note of what the model server says."""
        sums = _sums(text, self._model)
        known = self._known
        # The first look counts from there on; a server that was started anew begins at zero.
        more = _Sums() if known is None else sums if sums.answers < known.answers else sums - known
        self._known = sums
        self._total += more

    def turn(self, key: str) -> None:
        """What is counted from here on is the new version's."""
        self._key = key
        self._old = self._total - self._begin
        self._begin = self._total

    def reading(self, slow_ms: float | None) -> Reading:
        """What was counted of either.

        Args:
            slow_ms: an answer that takes longer is slow; rounded up to the next bound of the histogram.
        """
        new, old = self._total - self._begin, self._old
        timed = slow = 0
        if slow_ms is not None and new.buckets:
            bound = min((one for one in new.buckets if one * 1000.0 >= slow_ms), default=max(new.buckets))
            timed = int(max(new.buckets.values()))
            slow = timed - int(new.buckets[bound])
        counted = int(max(old.buckets.values(), default=0.0))
        quantiles = {one: quantile_of(old.buckets, one) for one in _QUANTILES}
        return Reading(
            key=self._key,
            counts=Counts(
                new_count=int(new.answers),
                new_errors=int(new.errors),
                old_count=int(old.answers),
                old_errors=int(old.errors),
                new_timed=timed,
                new_slow=max(0, slow),
            ),
            old_timed=counted,
            old_quantiles_ms={one: value * 1000.0 for one, value in quantiles.items() if value is not None},
        )


def _sums(text: str, model: str) -> _Sums:
    answers = errors = 0.0
    buckets: dict[float, float] = {}
    for name, labels, value in samples(text, _REQUESTS, _SECONDS):
        if labels.get("model") != model:
            continue
        if name == _SECONDS:
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        elif labels.get("code") not in _UNCOUNTED:
            answers += value
            errors += value if labels.get("code") in _ERRORS else 0.0
    return _Sums(answers, errors, buckets)
