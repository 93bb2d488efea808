"""A site as one, by the links to its endpoints."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgewise.core.routing.link_state import LinkState

# A site is what its best endpoint is.
_BEST_FIRST: Final = (LinkState.UP, LinkState.RAMP, LinkState.SUSPECT, LinkState.PROBING, LinkState.DOWN)
NO_ENDPOINT: Final = "no endpoint is known"


def best_state(states: Sequence[LinkState]) -> LinkState:
    """The state of a site whose links have these; DOWN where there are none."""
    return min(states, key=_BEST_FIRST.index, default=LinkState.DOWN)


def site_snapshot(name: str, tier: str, links: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is known of a site.

    Args:
        name, tier: of the site.
        links: `Link.snapshot` of each link to it; none where it has no endpoint.
    Returns: the same keys as of a link, and `states`: how many links have which. State, reason and times are those of the link
        in the best state; counts are summed; of what was learned, the latencies that rest on the most.
    """
    if not links:
        return {
            "name": name,
            "site": name,
            "tier": tier,
            "state": LinkState.DOWN.value,
            "states": {},
            "why": NO_ENDPOINT,
            **dict.fromkeys(("since_s", "hold_s", "in_flight", "limit", "queue"), 0),
            "probe": {},
            "paths": [],
        }
    states = Counter(link["state"] for link in links)
    best = best_state([LinkState(state) for state in states])
    shown = next(link for link in links if link["state"] == best.value)
    if len(links) == 1:
        return {**shown, "name": name, "site": name, "states": dict(states)}
    return {
        "name": name,
        "site": name,
        "tier": tier,
        "state": best.value,
        "states": dict(states),
        "since_s": shown["since_s"],
        "why": shown["why"],
        "hold_s": shown.get("hold_s", 0.0),
        **{part: sum(link[part] for link in links) for part in ("in_flight", "limit", "queue")},
        "probe": max((link.get("probe", {}) for link in links), key=lambda probe: probe.get("effective_count", 0.0)),
        "paths": _paths(links),
    }


def _paths(links: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for link in links:
        for path in link["paths"]:
            found.setdefault((path["model"], path["size_class"]), []).append(path)
    return [
        {**max(paths, key=lambda path: path["effective_count"]), "count": sum(path["count"] for path in paths)}
        for paths in found.values()
    ]
