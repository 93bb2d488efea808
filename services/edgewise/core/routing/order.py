"""Which sites a route asks, and in which order; and of a site with several endpoints, which of them.

Where every site is one endpoint, most routes have an order that does not depend on the moment: `fixed_orders`. All others are
made for each request: for each site in its turn, the less busy of two endpoints that are drawn comes first, and then the
site's others from a random place on, so that what is lost at one endpoint does not all go to the same next one.

Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.routes import Route, RouteKind

if TYPE_CHECKING:
    from edgewise.core.routing.calls import Request
    from edgewise.core.routing.link import Link

CLOUD: Final = "cloud"
EDGE: Final = "edge"
_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP
# So often `fastest` asks the second best, to learn whether it still is.
_EXPLORED_RATIO: Final = 0.005


class Endpoints:
    """The links of one site and tier. They are equals.

    Attributes:
        name, tier: of the site.
        links: one or more, in the order of the configuration.
    """

    __slots__ = ("_twice", "links", "name", "tier")

    def __init__(self, links: "tuple[Link, ...]") -> None:
        self.name = links[0].site
        self.tier = links[0].tier
        self.links = links
        # The same again, so that any part that goes over the end is one slice.
        self._twice = links + links

    def order(self, draws: Callable[[], float]) -> "tuple[Link, ...]":
        """All of them, the one that a request should go to first.

        That is the one with less in flight, of two that are drawn among those that are up or on the ramp and have room;
        among all that are up or on the ramp, if none has room; any, if none is up.

        Args:
            draws: uniform in [0, 1); asked once, and not at all where there is one link.
        """
        links = self.links
        count = len(links)
        if count == 1:
            return links
        # One draw is three: what is left of it after each is as uniform, and there are bits enough.
        draw = draws() * count
        first = int(draw)
        draw = (draw - first) * (count - 1)
        step = int(draw)
        draw -= step
        second = first + 1 + step
        if second >= count:
            second -= count
        one = links[first]
        other = links[second]
        if _has_room(one) and _has_room(other):
            if len(other.in_flight) < len(one.in_flight):
                first = second
        else:
            first = self._less_busy(first, step)
        rest = first + 1 + int(draw * (count - 1))
        twice = self._twice
        return twice[first : first + 1] + twice[rest : first + count] + twice[first + 1 : rest]

    def _less_busy(self, first: int, step: int) -> int:
        """Where not all can be asked: the place of the less busy of two that can.

        Args:
            first: drawn from all places.
            step: drawn from one less.
        """
        links = self.links
        places = [place for place, link in enumerate(links) if _has_room(link)]
        if not places:
            places = [place for place, link in enumerate(links) if link.state is _UP or link.state is _RAMP]
        count = len(places)
        if not count:
            return first
        # Each is drawn as often as any other, or once more.
        one = places[(first * (len(links) - 1) + step) % count]
        if count == 1:
            return one
        other = places[(places.index(one) + 1 + (first + step) % (count - 1)) % count]
        return other if len(links[other].in_flight) < len(links[one].in_flight) else one


def _has_room(link: "Link") -> bool:
    state = link.state
    return (state is _UP or state is _RAMP) and not link.queue and len(link.in_flight) < link.limiter.limit


def by_site(links: "Iterable[Link]") -> tuple[Endpoints, ...]:
    """The links of each site and tier together, in the order of the first of each."""
    sites: dict[tuple[str, str], list[Link]] = {}
    for link in links:
        sites.setdefault((link.site, link.tier), []).append(link)
    return tuple(Endpoints(tuple(of_site)) for of_site in sites.values())


def by_route(sites: "Iterable[Endpoints]") -> dict[RouteKind, tuple[Endpoints, ...]]:
    """The sites in the order of each route that has one; within a tier, they keep the order of the configuration."""
    everywhere = tuple(sites)
    cloud = tuple(site for site in everywhere if site.tier == CLOUD)
    edge = tuple(site for site in everywhere if site.tier != CLOUD)
    return {
        RouteKind.PREFER_CLOUD: cloud + edge,
        RouteKind.PREFER_EDGE: edge + cloud,
        RouteKind.CASCADE: edge + cloud,
        RouteKind.CLOUD_ONLY: cloud,
        RouteKind.EDGE_ONLY: edge,
    }


def fixed_orders(routes: dict[RouteKind, tuple[Endpoints, ...]]) -> "dict[RouteKind, tuple[Link, ...]]":
    """The orders that do not depend on the moment: of routes all of whose sites are one endpoint."""
    return {
        kind: tuple(site.links[0] for site in sites)
        for kind, sites in routes.items()
        if all(len(site.links) == 1 for site in sites)
    }


def spread(sites: "Iterable[Endpoints]", draws: Callable[[], float]) -> "tuple[Link, ...]":
    """Site by site, the endpoints of each in the order of the moment."""
    order: list[Link] = []
    for site in sites:
        order += site.order(draws)
    return tuple(order)


def by_weight(route: Route, sites: "Iterable[Endpoints]", draws: Callable[[], float]) -> "tuple[Link, ...]":
    """One site by its share, the others behind it by theirs.

    Args:
        route: of kind `weights`; sites it does not name have weight 0.
        sites: to choose from.
        draws: uniform in [0, 1).
    """
    weighted = sorted(((route.weights.get(site.name, 0.0), site) for site in sites), key=lambda pair: -pair[0])
    point = draws() * sum(weight for weight, _ in weighted)
    ordered = [site for _, site in weighted]
    for place, (weight, site) in enumerate(weighted):
        point -= weight
        if point < 0.0:
            del ordered[place]
            ordered.insert(0, site)
            break
    return spread(ordered, draws)


def by_speed(
    request: "Request", sites: "Iterable[Endpoints]", now_s: float, draws: Callable[[], float]
) -> "tuple[Link, ...]":
    """The site that should answer first, then the others.

    Expected is the learned median, plus the site's own queue at the pace it has been answering at; a site that nothing is known of
    is taken for as fast as its probes. For a site with several endpoints, the one that would be asked speaks.
    """
    expected: list[tuple[float, tuple[Link, ...]]] = []
    explore = draws() < _EXPLORED_RATIO
    for site in sites:
        links = site.order(draws)
        link = links[0]
        latency = link.path(request.model, request.size_class).latency
        pace = link.limiter.throughput_per_s(now_s)
        wait_s = link.queue_depth / pace if pace > 0.0 else 0.0
        expected.append(((latency.q50 or link.probe_latency.q50) + wait_s, links))
    expected.sort(key=lambda pair: pair[0])
    if explore and len(expected) > 1:
        expected[0], expected[1] = expected[1], expected[0]
    order: list[Link] = []
    for _, links in expected:
        order += links
    return tuple(order)
