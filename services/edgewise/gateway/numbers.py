"""The gateway's numbers as plain data, so that those of several worker processes can be added up."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgewise.core.routing.calls import Outcome
from edgewise.gateway.canary_view import View, merged_canaries
from edgewise.gateway.capture_view import merged_captures

if TYPE_CHECKING:
    from edgewise.gateway.metrics import GatewayMetrics

Numbers = dict[str, Any]
"""As `own_numbers` makes it; survives JSON."""


def own_numbers(
    metrics: "GatewayMetrics",
    links: Iterable[Mapping[str, Any]],
    canaries: View,
    capture: Mapping[str, Any] | None = None,
) -> Numbers:
    """What this process counted.

    Args:
        links: of each site, `site_snapshot`.
        canaries: `own_canaries`.
        capture: `own_capture`.
    """
    return {
        "received": metrics.received_count,
        "outcomes": dict(metrics.outcomes),
        "requests": [[*key, count] for key, count in metrics.requests.items()],
        "durations": [[*key, list(found.counts), found.total] for key, found in metrics.durations.items()],
        "overhead": [list(metrics.overhead.counts), metrics.overhead.total],
        "errors": dict(metrics.errors),
        "degraded": dict(metrics.degraded),
        "sites": {
            name: {
                "attempts": {reason.value: count for reason, count in counts.attempts.items()},
                "answers": {outcome.name.lower(): counts.answers[outcome] for outcome in Outcome},
                "failures": {failure.value: count for failure, count in counts.failures.items()},
                "cancelled": counts.cancelled,
                "changes": dict(counts.changes),
            }
            for name, counts in metrics.sites.items()
        },
        "links": {
            link["name"]: {
                "tier": link["tier"],
                "states": link["states"],
                "in_flight": link["in_flight"],
                "limit": link["limit"],
                "queue": link["queue"],
                "paths": link["paths"],
            }
            for link in links
        },
        "endpoints": {site: dict(counts) for site, counts in metrics.endpoints.items()},
        "discovery_failures": dict(metrics.discovery_failures),
        "canaries": canaries,
        "capture": capture,
        "readings": {name: [text, read()] for name, (text, read) in metrics.readings.items()},
        "workers": 1,
    }


def merged(all_numbers: Sequence[Numbers]) -> Numbers:
    """The numbers of several processes as those of one.

    What was learned of latencies is taken from the first process that knows of it: quantiles cannot be added up.
    """
    first, *others = all_numbers
    if not others:
        return first
    return {
        "received": sum(numbers["received"] for numbers in all_numbers),
        "outcomes": _summed(numbers["outcomes"] for numbers in all_numbers),
        "requests": _rows(numbers["requests"] for numbers in all_numbers),
        "durations": _histograms(numbers["durations"] for numbers in all_numbers),
        "overhead": [
            _added(numbers["overhead"][0] for numbers in all_numbers),
            sum(numbers["overhead"][1] for numbers in all_numbers),
        ],
        "errors": _summed(numbers["errors"] for numbers in all_numbers),
        "degraded": _summed(numbers["degraded"] for numbers in all_numbers),
        "sites": _of_sites([numbers["sites"] for numbers in all_numbers]),
        "links": _of_links([numbers["links"] for numbers in all_numbers]),
        "endpoints": _most([numbers["endpoints"] for numbers in all_numbers]),
        "discovery_failures": _summed(numbers["discovery_failures"] for numbers in all_numbers),
        "canaries": {
            **first["canaries"],
            "canaries": merged_canaries([numbers["canaries"] for numbers in all_numbers]),
        },
        "capture": merged_captures([numbers["capture"] for numbers in all_numbers]),
        "readings": {
            name: [text, sum(numbers["readings"].get(name, (text, 0))[1] for numbers in all_numbers)]
            for name, (text, _) in first["readings"].items()
        },
        "workers": sum(numbers["workers"] for numbers in all_numbers),
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _added(lists: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*lists, strict=True)]


def _rows(tables: Iterable[Sequence[Sequence[Any]]]) -> list[list[Any]]:
    total: Counter[tuple[str, ...]] = Counter()
    for table in tables:
        for *key, count in table:
            total[tuple(key)] += count
    return [[*key, count] for key, count in total.items()]


def _histograms(tables: Iterable[Sequence[Sequence[Any]]]) -> list[list[Any]]:
    found: dict[tuple[str, ...], tuple[list[int], float]] = {}
    for table in tables:
        for *key, counts, total in table:
            before = found.get(tuple(key))
            found[tuple(key)] = (counts, total) if before is None else (_added((before[0], counts)), before[1] + total)
    return [[*key, counts, total] for key, (counts, total) in found.items()]


def _of_sites(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sites = {}
    for name in dict.fromkeys(name for sites_of_one in found for name in sites_of_one):
        counts = [sites_of_one[name] for sites_of_one in found if name in sites_of_one]
        sites[name] = {
            **{part: _summed(one[part] for one in counts) for part in ("attempts", "answers", "failures", "changes")},
            "cancelled": sum(one["cancelled"] for one in counts),
        }
    return sites


def _most(found: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Each process follows the same endpoints, some a little later than others."""
    most: dict[str, dict[str, int]] = {}
    for one in found:
        for site, counts in one.items():
            into = most.setdefault(site, {})
            for state, count in counts.items():
                into[state] = max(count, into.get(state, 0))
    return most


def _of_links(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    links = {}
    for name in dict.fromkeys(name for links_of_one in found for name in links_of_one):
        views = [links_of_one[name] for links_of_one in found if name in links_of_one]
        paths: dict[tuple[str, int], Any] = {}
        for view in views:
            for path in view["paths"]:
                paths.setdefault((path["model"], path["size_class"]), path)
        links[name] = {
            "tier": views[0]["tier"],
            "states": _summed(view["states"] for view in views),
            "in_flight": sum(view["in_flight"] for view in views),
            "limit": sum(view["limit"] for view in views),
            "queue": sum(view["queue"] for view in views),
            "paths": list(paths.values()),
        }
    return links
