"""What stands in the box for a new rollout at first: a specification that could be started, for the release that waits for one."""

import json
from collections.abc import Sequence
from typing import Final

from edgewise.hub.control.status import ReleaseStatus, SiteStatus

KEYS: Final = (
    ("model, version", "the release", ""),
    ("waves", "groups of sites, one after another", ""),
    ("waves[].name", "for people", ""),
    ("waves[].sites", "which sites, by labels: tier=edge,region in (eu, us),!gpu. tier and site are labels of every site", "every site"),
    ("waves[].take", "how many of them: 3 or 25%", "all"),
    ("waves[].at_once", "how many may be switching at one time", "25%"),
    ("waves[].may_fail", "how many may fail before the rollout does: 2 or 2%", "none"),
    ("gates.errors", "by how much more often the new version may fail: {margin: 1%, confidence: 99%}, or off", "on"),
    ("gates.latency", "the same of slow answers: {margin: 5%, quantile: 95%, ratio: 1.25}, or off", "on"),
    ("gates.disagreement", "how many shadowed requests may be answered differently: {margin: 2%}", "off"),
    ("gates.accuracy", "by how much more often it may be wrong about its held-out examples: {worse_by: 2%, confidence: 95%}", "off"),
    ("gates.golden", "whether the release's golden inputs have to give their known outputs", "true"),
    ("canary.shadow, shadow_for", "the share of requests that the new version is asked as well, answers thrown away; for how long", "none"),
    ("canary.shares, each_for", "the shares of requests that it answers, rising; for how long each", "[1%, 10%, 50%], 1m"),
    ("canary.bake", "for how long the old version stays loaded behind the new one", "10m"),
    ("silent_after", "a site that was not heard of for so long is Unreachable", "90s"),
    ("patience", "so long may a wave wait for data or sites before the rollout pauses", "1h"),
    ("on_failure", "roll-back, or pause", "roll-back"),
    ("prestage", "whether every site fetches at the start, not only when its turn comes", "true"),
)  # fmt: skip
"""What can be said: the key, what it is for, and what counts when it is left out."""


def first_draft(releases: Sequence[ReleaseStatus], sites: Sequence[SiteStatus]) -> str:
    """For the newest release whose version is beyond all that answer; else for the newest one.

    Args:
        sites: all that there are.

    Returns: YAML; "" when there is no release.
    """
    here = [site for site in sites if site.retired_s is None]
    answering = {release.model: _newest_answering(release.model, here) for release in releases}
    chosen = max(releases, key=lambda one: (one.version > answering[one.model], one.added_s, one.version), default=None)
    if chosen is None:
        return ""
    lines = [
        f"model: {json.dumps(chosen.model)}",
        f"version: {chosen.version}",
        "waves: # one after another; a site is in the first one that means it",
        "  - name: first",
        f"    {_first_sites(chosen, here)}",
        "  - name: everyone else",
        "    at_once: 25% # so many may be switching at one time",
        "    # may_fail: 2% # so many may fail before everything goes back; left out: none",
        "gates:",
        *_gates(chosen, here),
        "canary:",
        "  shares: [1%, 10%, 50%] # of the requests, answered by the new version; then all",
        "  each_for: 1m",
        "  bake: 10m # the old version stays loaded for so long",
    ]
    return "\n".join(lines) + "\n"


def _newest_answering(model: str, sites: Sequence[SiteStatus]) -> int:
    """0 for none."""
    return max((site.inventory.serving.get(model, 0) for site in sites), default=0)


def _first_sites(release: ReleaseStatus, sites: Sequence[SiteStatus]) -> str:
    """One that is there: of a wave none of whose sites is, nothing would be learned."""
    tiers = release.sizes_bytes.keys()
    there = [site.site for site in sites if site.online and ("any" in tiers or site.tier in tiers)]
    if not there:
        return "take: 1 # of all sites; or by their labels: sites: tier=edge,region=eu"
    return (
        f"sites: {json.dumps(f'site={min(there)}')} # by labels, such as tier=edge,region=eu; take: 1 takes one of them"
    )


def _gates(release: ReleaseStatus, sites: Sequence[SiteStatus]) -> tuple[str, ...]:
    if _newest_answering(release.model, sites):
        return (
            "  errors: {margin: 1%} # it may fail by so much more often than the old version; off: not asked",
            "  latency: {margin: 5%} # the same of slow answers",
            "  golden: true # golden inputs have to give their known outputs",
        )
    return (
        "  errors: off # no site has reported a version of this model to compare with",
        "  latency: off",
        "  golden: true # golden inputs have to give their known outputs",
    )
