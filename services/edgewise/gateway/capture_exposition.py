"""Capturing as Prometheus families; imported when someone first asks."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_COUNTERS: Final = (
    ("accepted", "samples", "Samples that are safe in the spool; the bound may drop some of them later."),
    ("compared", "compared_requests", "Requests that two sites answered, and whose answers were compared."),
    ("disagreed", "disagreed_requests", "Of these, the ones that were answered differently."),
    (
        "questions_skipped",
        "skipped_questions",
        "Requests that were not asked of the other tier as well, since too many were.",
    ),
    (
        "in_pieces",
        "in_pieces_answers",
        "Good answers that no rule looked at, since they or their requests were passed on piece by piece.",
    ),
)


def capture_families(found: Mapping[str, Any] | None) -> Iterator[Metric]:
    """The families.

    Args:
        found: as `merged_captures` has it; None where nothing is captured, which has none.
    """
    if found is None:
        return
    for part, name, text in _COUNTERS:
        yield CounterMetricFamily(f"edgewise_gateway_capture_{name}", text, value=found[part])
    yield _by_rule(found, "chosen", "Answers by the rule that chose them, once for each rule.")
    yield _by_rule(found, "limited", "Answers that a rule would have chosen, had its limit not been reached.")
    dropped = CounterMetricFamily(
        "edgewise_gateway_capture_dropped_samples",
        "What was chosen and is not there any more or never was, by why; the priority is empty where there was none yet.",
        labels=("reason", "priority"),
    )
    for reason, priority, count in found["dropped"]:
        dropped.add_metric((reason, priority), count)
    yield dropped
    yield GaugeMetricFamily(
        "edgewise_gateway_capture_waiting_samples", "Samples on their way to the spool.", value=found["waiting"]
    )
    yield GaugeMetricFamily(
        "edgewise_gateway_capture_spool_bytes", "Of all files in the spool.", value=found["spool_bytes"]
    )
    yield GaugeMetricFamily(
        "edgewise_gateway_capture_spool_limit_bytes", "The bound of the spool.", value=found["max_bytes"]
    )
    drift = GaugeMetricFamily(
        "edgewise_gateway_capture_drift_index",
        "The population stability index of the scores that have drifted.",
        labels=("model", "site", "version"),
    )
    for model, counts in found["models"].items():
        for site, version, index in counts["drift"]:
            drift.add_metric((model, site, str(version)), index)
    yield drift


def _by_rule(found: Mapping[str, Any], part: str, text: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"edgewise_gateway_capture_{part}_answers", text, labels=("model", "rule"))
    for model, counts in found["models"].items():
        for rule, count in counts[part].items():
            family.add_metric((model, rule), count)
    return family
