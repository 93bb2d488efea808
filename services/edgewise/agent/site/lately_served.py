"""How models were answered at each tier in the last minute, from what the gateway counts."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from edgewise.agent.site.metric_text import quantile_of, samples
from edgewise.core.rollout.reports import Served

WINDOW_S: Final = 60.0
_SECONDS: Final = "edgewise_gateway_request_seconds_bucket"
_REQUESTS: Final = "edgewise_gateway_requests_total"
_STATE: Final = "edgewise_gateway_link_state"
_FAILED: Final = "failed"
_Key = tuple[str, str, str]
"""Tier, model, and the bound of a bucket, or "" for errors."""


class LatelyServed:
    """Remembers what was counted a minute ago.

    Args:
        now_s: a monotonic clock.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._looks: deque[tuple[float, Mapping[_Key, float]]] = deque()

    def read(self, text: str) -> tuple[Mapping[str, Served], Mapping[str, Served]]:
        """What the gateway's numbers say.

        Returns: (cloud, edge), by model.
        """
        counts = _counts(text)
        now_s = self._now_s()
        self._looks.append((now_s, counts))
        # The newest look that is a minute old stays.
        while len(self._looks) > 1 and self._looks[1][0] <= now_s - WINDOW_S:
            self._looks.popleft()
        before = self._looks[0][1]
        more = {key: count - before.get(key, 0.0) for key, count in counts.items()}
        if any(count < 0.0 for count in more.values()):
            self._looks.clear()
            return {}, {}
        return _served(more, "cloud"), _served(more, "edge")


def _counts(text: str) -> dict[_Key, float]:
    found: dict[_Key, float] = {}
    read = list(samples(text, _SECONDS, _REQUESTS, _STATE))
    tiers = {labels["site"]: labels["tier"] for name, labels, _ in read if name == _STATE}
    for name, labels, value in read:
        tier = tiers.get(labels.get("site", ""), "")
        if name == _SECONDS:
            key = (tier, labels["model"], labels["le"])
        elif name == _REQUESTS and labels["outcome"] == _FAILED:
            key = (tier, labels["model"], "")
        else:
            continue
        found[key] = found.get(key, 0.0) + value
    return found


def _served(counts: Mapping[_Key, float], tier: str) -> dict[str, Served]:
    found = {}
    for model in sorted({key[1] for key in counts if key[0] == tier}):
        mine = {key[2]: count for key, count in counts.items() if key[:2] == (tier, model)}
        errors = int(mine.pop("", 0.0))
        buckets = {float(bound): count for bound, count in mine.items()}
        p50_s, p99_s = quantile_of(buckets, 0.5), quantile_of(buckets, 0.99)
        if p50_s is not None and p99_s is not None:
            found[model] = Served(
                requests=int(max(buckets.values())) + errors,
                errors=errors,
                p50_ms=round(p50_s * 1000.0, 3),
                p99_ms=round(p99_s * 1000.0, 3),
            )
    return found
