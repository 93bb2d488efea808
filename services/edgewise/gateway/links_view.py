"""`/edgewise/v1/links`: every link with its state and latency, for people and for programs."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from edgewise import __version__
from edgewise.core.routing.calls import Reason
from edgewise.core.routing.link_state import LinkState
from edgewise.gateway.address_text import address_text
from edgewise.gateway.history import added
from edgewise.gateway.metrics import DUPLICATING, MAX_CHANGES
from edgewise.gateway.site_view import site_snapshot

if TYPE_CHECKING:
    from edgewise.core.routing.link import Link
    from edgewise.gateway.service import GatewayService

RATE_SECONDS: Final = 60
_QUANTILES: Final = ("q50", "q95", "q99", "q999")
USABLE: Final = frozenset({LinkState.UP, LinkState.SUSPECT, LinkState.RAMP})
"""States in which requests may be sent over a link."""


def own_view(service: "GatewayService") -> dict[str, Any]:
    """What this process knows."""
    now_s = monotonic()
    metrics = service.metrics
    attempts = dict.fromkeys(Reason, 0)
    for counts in metrics.sites.values():
        for reason, count in counts.attempts.items():
            attempts[reason] += count
    return {
        "gateway": {
            "version": __version__,
            "uptime_s": round(now_s - service.started_s, 1),
            "ready": service.ready(),
            "draining": service.draining,
            "workers": 1,
        },
        "requests": {
            "received": metrics.received_count,
            "in_flight": metrics.in_flight,
            **metrics.outcomes,
        },
        "attempts": {
            **{reason.value: count for reason, count in attempts.items()},
            "duplicates": sum(attempts[reason] for reason in DUPLICATING),
        },
        "sites": [_site(service, name, links, now_s) for name, links in service.links().items()],
        "changes": [
            {
                "ago_s": round(now_s - at_s, 2),
                "site": link,
                "before": before,
                "after": after,
                "why": why,
                "worker": service.worker,
            }
            for at_s, link, before, after, why in reversed(metrics.changes)
        ],
    }


def _site(service: "GatewayService", name: str, links: "Sequence[Link]", now_s: float) -> dict[str, Any]:
    config = next((site for site in service.config.sites if site.name == name), None)
    search = service.followed.get(name)
    snapshots = [link.snapshot(now_s) for link in links]
    site = site_snapshot(name, config.tier if config is not None else "", snapshots)
    if not links and search is not None:
        site["since_s"] = now_s - search.since_s
    history = service.history.sites.get(name)
    counts = service.metrics.name_site(name)
    return {
        "name": name,
        "tier": site["tier"],
        "rest": address_text(config.rest) if config is not None and config.rest else None,
        "grpc": address_text(config.grpc, plain="grpc", secure="grpcs") if config is not None and config.grpc else None,
        **_link(site),
        "models": [
            {
                "model": path["model"],
                "size_class": path["size_class"],
                "count": path["count"],
                "latency_ms": _latency(path),
            }
            for path in site["paths"]
            if path["count"]
        ],
        "answered": counts.answered,
        "failures": {kind.value: count for kind, count in counts.failures.items()},
        "history": history.shown() if history is not None else _NO_HISTORY,
        "discover": config.discover or None if config is not None else None,
        "problem": search.why if search is not None else "",
        "endpoints": [_endpoint(name, snapshot) for snapshot in snapshots] if search is not None else [],
    }


def _endpoint(site: str, link: Mapping[str, Any]) -> dict[str, Any]:
    """One endpoint. Its answers are those that latencies were learned from, also such as came too late for an app."""
    answers = sum(path["count"] for path in link["paths"])
    return {"name": link["name"].removeprefix(f"{site}/"), **_link(link), "answers": answers}


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    paths = [path for path in link["paths"] if path["count"]]
    return {
        "state": link["state"],
        "since_s": round(link["since_s"], 2),
        "why": link["why"],
        "hold_s": round(link.get("hold_s", 0.0), 2),
        "in_flight": link["in_flight"],
        "limit": link["limit"],
        "queue": link["queue"],
        "latency_ms": _latency(max(paths, key=lambda path: path["effective_count"], default={})),
        "probe_ms": _latency(link.get("probe", {})),
    }


_NO_HISTORY: Final[Mapping[str, list[Any]]] = {
    name: [] for name in ("answered", "mean_ms", "slowest_ms", "failed", "states")
}


def _latency(learned: Mapping[str, Any]) -> dict[str, float | None]:
    known = bool(learned.get("count"))
    return {quantile: round(learned[f"{quantile}_s"] * 1e3, 3) if known else None for quantile in _QUANTILES}


def merged_view(views: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The views of several processes as one; states and latencies are those of the first, which was asked."""
    first = views[0]
    sites = [_merged_site([_named(view["sites"], site["name"]) or site for view in views]) for site in first["sites"]]
    changes = sorted((change for view in views for change in view["changes"]), key=lambda change: change["ago_s"])
    return {
        "gateway": {**first["gateway"], "workers": len(views)},
        "requests": _summed([view["requests"] for view in views]),
        "attempts": _summed([view["attempts"] for view in views]),
        "sites": sites,
        "changes": changes[:MAX_CHANGES],
    }


def _named(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((one for one in found if one["name"] == name), None)


def _merged_endpoint(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        **found[0],
        **{name: sum(one[name] for one in found) for name in ("in_flight", "limit", "queue", "answers")},
    }


def _merged_site(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = found[0]
    history = added([site["history"] for site in found])
    recent = history["answered"][-RATE_SECONDS:]
    return {
        **first,
        **{name: sum(site[name] for site in found) for name in ("in_flight", "limit", "queue", "answered")},
        "failures": _summed([site["failures"] for site in found]),
        "recent_failures": sum(history["failed"][-RATE_SECONDS:]),
        "answered_per_s": recent,
        "endpoints": [
            _merged_endpoint([one for site in found for one in site["endpoints"] if one["name"] == endpoint["name"]])
            for endpoint in first["endpoints"]
        ],
        "history": history,
    }


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(one.get(name, 0) for one in counts) for name in counts[0]}
