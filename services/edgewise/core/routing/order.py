"""Which sites a route asks, and in which order."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from edgewise.core.routing.routes import Route, RouteKind

if TYPE_CHECKING:
    from edgewise.core.routing.calls import Request
    from edgewise.core.routing.link import Link

CLOUD: Final = "cloud"
EDGE: Final = "edge"
# So often `fastest` asks the second best, to learn whether it still is.
_EXPLORED_RATIO: Final = 0.005


def fixed_orders(links: "Iterable[Link]") -> "dict[RouteKind, tuple[Link, ...]]":
    """The orders that do not depend on the moment; within a tier, sites keep the order of the configuration."""
    everywhere = tuple(links)
    cloud = tuple(link for link in everywhere if link.tier == CLOUD)
    edge = tuple(link for link in everywhere if link.tier != CLOUD)
    return {
        RouteKind.PREFER_CLOUD: cloud + edge,
        RouteKind.PREFER_EDGE: edge + cloud,
        RouteKind.CASCADE: edge + cloud,
        RouteKind.CLOUD_ONLY: cloud,
        RouteKind.EDGE_ONLY: edge,
    }


def by_weight(route: Route, links: "Iterable[Link]", draw: float) -> "tuple[Link, ...]":
    """One site by its share, the others behind it by theirs.

    Args:
        route: of kind `weights`; sites it does not name have weight 0.
        links: to choose from.
        draw: uniform in [0, 1).
    """
    weighted = sorted(((route.weights.get(link.name, 0.0), link) for link in links), key=lambda pair: -pair[0])
    point = draw * sum(weight for weight, _ in weighted)
    first = None
    for weight, link in weighted:
        point -= weight
        if point < 0.0:
            first = link
            break
    rest = tuple(link for _, link in weighted if link is not first)
    return rest if first is None else (first, *rest)


def by_speed(request: "Request", links: "Iterable[Link]", now_s: float, draw: float) -> "tuple[Link, ...]":
    """The site that should answer first, then the others.

    Expected is the learned median, plus the site's own queue at the pace it has been answering at; a site that nothing is known of
    is taken for as fast as its probes.
    """
    expected = []
    for link in links:
        latency = link.path(request.model, request.size_class).latency
        pace = link.limiter.throughput_per_s(now_s)
        wait_s = link.queue_depth / pace if pace > 0.0 else 0.0
        expected.append(((latency.q50 or link.probe_latency.q50) + wait_s, link))
    ordered = [link for _, link in sorted(expected, key=lambda pair: pair[0])]
    if draw < _EXPLORED_RATIO and len(ordered) > 1:
        ordered[0], ordered[1] = ordered[1], ordered[0]
    return tuple(ordered)
