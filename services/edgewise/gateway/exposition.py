"""The gateway's numbers as Prometheus families; imported when someone first asks."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from edgewise import __version__
from edgewise.core.routing.calls import SIZE_CLASSES, Reason
from edgewise.core.routing.link_state import LinkState
from edgewise.gateway.canary_exposition import canary_families
from edgewise.gateway.capture_exposition import capture_families
from edgewise.gateway.metrics import DUPLICATING, DURATION_BOUNDS_S, OUTCOMES, OVERHEAD_BOUNDS_S
from edgewise.gateway.numbers import Numbers
from edgewise.net.distribution import Distribution
from edgewise.net.exposition import histogram_family

_QUANTILES: Final = (("0.5", "q50_s"), ("0.95", "q95_s"), ("0.99", "q99_s"), ("0.999", "q999_s"))


def families(numbers: Numbers) -> Iterator[Metric]:
    """All families of one scrape."""
    info = GaugeMetricFamily("edgewise_gateway_info", "The gateway that answers this.", labels=("version",))
    info.add_metric((__version__,), 1)
    yield info
    yield GaugeMetricFamily(
        "edgewise_gateway_workers", "Processes that these numbers are summed over.", value=numbers["workers"]
    )
    yield from _requests(numbers)
    yield from _attempts(numbers["sites"])
    yield from _links(numbers["links"])
    yield from _endpoints(numbers)
    yield from canary_families(numbers["canaries"]["canaries"])
    yield from capture_families(numbers["capture"])
    for name, (text, value) in numbers["readings"].items():
        family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        yield family(name, text, value=value)


def _requests(numbers: Numbers) -> Iterator[Metric]:
    outcomes = numbers["outcomes"]
    yield CounterMetricFamily("edgewise_gateway_received_requests", "Requests that arrived.", value=numbers["received"])
    yield _counter(
        "edgewise_gateway_outcome_requests",
        "Requests by how they ended; with those in flight they add up to those received.",
        ("outcome",),
        (((outcome,), outcomes.get(outcome, 0)) for outcome in OUTCOMES),
    )
    yield GaugeMetricFamily(
        "edgewise_gateway_in_flight_requests",
        "Requests that have no answer yet.",
        value=numbers["received"] - sum(outcomes.values()),
    )
    yield _counter(
        "edgewise_gateway_requests",
        "Requests that ended, by the model, the site whose answer the app got, and how they ended.",
        ("model", "site", "outcome"),
        ((key, count) for *key, count in numbers["requests"]),
    )
    yield _counter(
        "edgewise_gateway_errors",
        "Requests that the gateway itself answered with an error, by code.",
        ("code",),
        (((code,), count) for code, count in numbers["errors"].items()),
    )
    yield _counter(
        "edgewise_gateway_degraded_requests",
        "Requests answered otherwise than their route prefers, by why.",
        ("why",),
        (((why,), count) for why, count in numbers["degraded"].items()),
    )
    yield histogram_family(
        "edgewise_gateway_request_seconds",
        "From the complete head of a request to its answer, for requests that a site answered.",
        ("model", "site"),
        ((tuple(key), _distribution(DURATION_BOUNDS_S, counts, total)) for *key, counts, total in numbers["durations"]),
    )
    yield _overhead(numbers["overhead"])


def _overhead(found: list[Any]) -> HistogramMetricFamily:
    return histogram_family(
        "edgewise_gateway_overhead_seconds",
        "Of those seconds, what passed outside the attempt that won: the gateway's own work, and waiting to be sent.",
        (),
        (((), _distribution(OVERHEAD_BOUNDS_S, *found)),),
    )


def _attempts(sites: dict[str, Any]) -> Iterator[Metric]:
    for part, label, text in (
        ("attempts", "reason", "Attempts, by why they were made."),
        ("answers", "meaning", "Whole answers of sites by what they mean for routing, late ones included."),
        ("failures", "kind", "Attempts that ended without an answer, by kind."),
    ):
        name = {"attempts": "attempts", "answers": "site_answers", "failures": "attempt_failures"}[part]
        yield _counter(
            f"edgewise_gateway_{name}",
            text,
            ("site", label),
            (((site, value), count) for site, counts in sites.items() for value, count in counts[part].items()),
        )
    yield _counter(
        "edgewise_gateway_cancelled_attempts",
        "Attempts taken off the wire since nobody needed them any more.",
        ("site",),
        (((site,), counts["cancelled"]) for site, counts in sites.items()),
    )
    for name, text, reasons in (
        ("hedges", "Second attempts because the first was slow.", (Reason.HEDGE,)),
        ("rescues", "Second attempts because the link of the first was lost.", (Reason.RESCUE,)),
        ("duplicates", "Attempts made while another of the same request might still run.", DUPLICATING),
    ):
        yield _counter(
            f"edgewise_gateway_{name}",
            text,
            ("site",),
            (
                ((site,), sum(counts["attempts"].get(reason.value, 0) for reason in reasons))
                for site, counts in sites.items()
            ),
        )
    yield _counter(
        "edgewise_gateway_link_changes",
        "Changes of a link, by the state it went to.",
        ("site", "state"),
        (
            ((site, state.value), counts["changes"].get(state.value, 0))
            for site, counts in sites.items()
            for state in LinkState
        ),
    )


def _links(links: dict[str, Any]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "edgewise_gateway_link_state",
        "How many links to the site are taken for this: one for each worker and endpoint.",
        labels=("site", "tier", "state"),
    )
    for name, link in links.items():
        for state in LinkState:
            states.add_metric((name, link["tier"], state.value), link["states"].get(state.value, 0))
    yield states
    for part, metric, text in (
        ("in_flight", "in_flight_attempts", "Attempts that have no answer yet."),
        ("limit", "in_flight_limit_attempts", "How many attempts may be in flight: what the site was found to take."),
        ("queue", "queued_requests", "Requests that wait for room at the site."),
    ):
        gauge = GaugeMetricFamily(f"edgewise_gateway_{metric}", text, labels=("site",))
        for name, link in links.items():
            gauge.add_metric((name,), link[part])
        yield gauge
    learned = GaugeMetricFamily(
        "edgewise_gateway_learned_latency_seconds",
        "Learned quantiles of a site's answers, by model and by the size that requests are under.",
        labels=("site", "model", "under_bytes", "quantile"),
    )
    for name, link in links.items():
        for path in link["paths"]:
            if path["count"]:
                for quantile, key in _QUANTILES:
                    learned.add_metric((name, path["model"], under_bytes(path["size_class"]), quantile), path[key])
    yield learned


def _endpoints(numbers: Numbers) -> Iterator[Metric]:
    endpoints = GaugeMetricFamily(
        "edgewise_gateway_endpoints",
        "Endpoints of sites that are looked up: ready for requests, or leaving as soon as they have answered what they have.",
        labels=("site", "state"),
    )
    for site, counts in numbers["endpoints"].items():
        for state, count in counts.items():
            endpoints.add_metric((site, state), count)
    yield endpoints
    yield _counter(
        "edgewise_gateway_discovery_failures",
        "Looks for a site's endpoints that failed; those known before stay.",
        ("site",),
        (((site,), numbers["discovery_failures"].get(site, 0)) for site in numbers["endpoints"]),
    )


def under_bytes(size_class: int) -> str:
    """The size that requests of a class stay under."""
    return str(1024 << (2 * size_class)) if size_class < SIZE_CLASSES - 1 else "+Inf"


def _distribution(bounds: tuple[float, ...], counts: list[int], total: float) -> Distribution:
    found = Distribution(bounds)
    found.counts = counts
    found.total = total
    return found


def _counter(
    name: str, text: str, labels: tuple[str, ...], found: Iterable[tuple[Iterable[str], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in found:
        family.add_metric(tuple(values), count)
    return family
