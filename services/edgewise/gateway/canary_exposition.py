"""The canaries as Prometheus families; imported when someone first asks."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from edgewise.gateway.canary_view import ARMS, shown_canary

_COUNTS: Final = (
    ("count", "answers", "Answers of either version since the canary began."),
    ("errors", "errors", "Of these, errors that are the version's fault."),
    ("timed", "timed_answers", "Answers that were held against the bound on how long one may take."),
    ("slow", "slow_answers", "Of these, the ones that took longer."),
)
_SHADOW_COUNTS: Final = (
    ("shadowed", "shadowed_requests", "Requests that the old version answered, and the new one was asked as well."),
    ("disagreed", "disagreed_requests", "Of these, the ones that both answered, and differently."),
    ("shadow_errors", "shadow_errors", "Of these, the ones that the new version failed to answer."),
)
_SITE: Final = ("site", "model")


def canary_families(canaries: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    """The families.

    Args:
        canaries: as `merged_canaries` has them.
    """
    shown = [shown_canary(canary) for canary in canaries]
    share = GaugeMetricFamily(
        "edgewise_gateway_canary_share",
        "The share of a site's requests for a model that goes to the new version.",
        labels=(*_SITE, "old", "new"),
    )
    for canary in shown:
        share.add_metric(_labels(canary, "old", "new"), canary["share"])
    yield share
    for part, name, text in _COUNTS:
        yield _counter(name, text, ("arm", "version"), _of_arms(shown, part))
    for part, name, text in _SHADOW_COUNTS:
        yield _counter(name, text, ("version",), ((_labels(canary, "new"), canary[part]) for canary in shown))
    yield _latency(shown)


def _of_arms(shown: list[dict[str, Any]], part: str) -> Iterator[tuple[list[str], Any]]:
    for canary in shown:
        for arm in ARMS:
            yield [*_labels(canary), arm, str(canary[arm])], canary[f"{arm}_{part}"]


def _latency(shown: list[dict[str, Any]]) -> GaugeMetricFamily:
    latency = GaugeMetricFamily(
        "edgewise_gateway_canary_latency_seconds",
        "Quantiles of the time from sending a request to its answer since the canary began, by version.",
        labels=(*_SITE, "arm", "version", "quantile"),
    )
    for labels, found in _of_arms(shown, "ms"):
        for quantile, value_ms in found["quantiles"].items():
            if value_ms is not None:
                latency.add_metric([*labels, quantile], value_ms / 1e3)
    return latency


def _counter(
    name: str, text: str, labels: tuple[str, ...], found: Iterable[tuple[list[str], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"edgewise_gateway_canary_{name}", text, labels=(*_SITE, *labels))
    for values, count in found:
        family.add_metric(values, count)
    return family


def _labels(canary: Mapping[str, Any], *more: str) -> list[str]:
    return [str(canary[name]) for name in (*_SITE, *more)]
