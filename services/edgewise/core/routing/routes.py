"""Routes: the rule for a model that says which sites may answer, and in which order they are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edgewise.core.errors import InvalidArgumentError


class RouteKind(StrEnum):
    """The names that configuration and `x-edgewise-route` use."""

    PREFER_CLOUD = "prefer-cloud"
    PREFER_EDGE = "prefer-edge"
    FASTEST = "fastest"
    CASCADE = "cascade"
    CLOUD_ONLY = "cloud-only"
    EDGE_ONLY = "edge-only"
    WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Route:
    """The rule for one model.

    Attributes:
        kind: how sites are ordered.
        weights: for `weights`: share by site name; 0 takes requests only when the others are lost.
        confidence: for `cascade`: an answer of the edge under this is asked again in the cloud.
        hedge_ratio: of requests that may be hedged, 0 to 1.
        deadline_s: for requests that bring none.
        max_queue_wait_s: a request that would wait longer than this for a site is not queued there.
        idempotent: what requests are taken for when they do not say.
    """

    kind: RouteKind = RouteKind.PREFER_CLOUD
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    confidence: float = 0.5
    hedge_ratio: float = 0.004
    deadline_s: float = 10.0
    max_queue_wait_s: float = 1.0
    idempotent: bool = True


DEFAULT_ROUTE: Final = Route()
_OVERRIDES: Final = {kind.value: kind for kind in RouteKind if kind is not RouteKind.WEIGHTS}


def overridden(route: Route, wish: str) -> Route:
    """The route with the kind that a request asks for in `x-edgewise-route`.

    Args:
        route: the model's own.
        wish: a kind by name; `weights` only where the model's route has them.
    Returns: `route` itself where nothing changes.
    Raises: InvalidArgumentError: there is no such kind.
    """
    if wish == route.kind.value:
        return route
    kind = _OVERRIDES.get(wish)
    if kind is None:
        raise InvalidArgumentError(f"x-edgewise-route is not one of {', '.join(sorted(_OVERRIDES))}")
    return replace(route, kind=kind)
