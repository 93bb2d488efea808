"""The first page: how many sites and rollouts are in which state, and what somebody has to see to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.core.wording import counted
from edgewise.hub.control.status import RolloutSummary, SiteStatus
from edgewise.hub.pages.rendering import path
from edgewise.hub.pages.rollout_view import is_moving, needs_person
from edgewise.hub.pages.signs import Kind, LinkState, sign
from edgewise.hub.pages.site_view import concerns, link

_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        tone: a class of the style sheet; "" for none.
    """

    name: str
    count: int
    href: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that somebody has to see to."""

    name: str
    href: str
    text: str
    mark: str
    tone: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page says.

    Attributes:
        more: concerns that are not shown.
        versions: at how many sites each version answers: (model, ((version, sites), ...)).
        said: for who does not see the page, when it has changed.
    """

    figures: tuple[Figure, ...]
    attention: tuple[Concern, ...]
    more: int
    running: tuple[RolloutSummary, ...]
    versions: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    said: str


def overview(sites: Sequence[SiteStatus], rollouts: Sequence[RolloutSummary], now_s: float) -> Overview:
    """Of all sites and rollouts."""
    here = [site for site in sites if site.retired_s is None]
    links = Counter(link(site) for site in here)
    running = tuple(rollout for rollout in rollouts if is_moving(rollout))
    attention = [*_rollout_concerns(rollouts), *_site_concerns(here, now_s)]
    offline, never = links[LinkState.OFFLINE], links[LinkState.NEVER]
    return Overview(
        figures=(
            Figure("sites", len(here), "/sites"),
            Figure("online", links[LinkState.ONLINE], "/sites?show=online"),
            Figure("offline", offline, "/sites?show=offline", "bad" if offline else ""),
            Figure("never seen", never, "/sites?show=never"),
            Figure("rollouts under way", len(running), "/rollouts"),
            Figure("need a person", len(attention), "#needs", "lost" if attention else ""),
        ),
        attention=tuple(attention[:_SHOWN]),
        more=max(len(attention) - _SHOWN, 0),
        running=running,
        versions=answering(here),
        said=f"{counted(len(attention), 'thing needs', 'things need')} a person; "
        f"{links[LinkState.ONLINE]} of {counted(len(here), 'site')} online; {counted(len(running), 'rollout')} under way.",
    )


def answering(sites: Sequence[SiteStatus]) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
    """At how many sites each version of each model answers, the newest version first."""
    counts: dict[str, Counter[int]] = {}
    for site in sites:
        for model, version in site.inventory.serving.items():
            counts.setdefault(model, Counter())[version] += 1
    return tuple((model, tuple(sorted(counts[model].items(), reverse=True))) for model in sorted(counts))


def _rollout_concerns(rollouts: Sequence[RolloutSummary]) -> list[Concern]:
    found = []
    for rollout in rollouts:
        if text := needs_person(rollout):
            shown = sign(Kind.ROLLOUT, rollout.state)
            found.append(Concern(rollout.name, path("rollouts", rollout.name), text, shown.mark, shown.tone))
    return found


def _site_concerns(sites: Sequence[SiteStatus], now_s: float) -> list[Concern]:
    return [
        Concern(site.site, path("sites", site.site), "; ".join(texts), "!", "lost")
        for site in sites
        if (texts := concerns(site, now_s))
    ]
