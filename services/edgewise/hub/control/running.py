"""One rollout in memory: the machine of `core/rollout`, and what of it is written down already."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from edgewise.core.rollout.events import (
    Event,
    Instruction,
    Reported,
    RolloutMoved,
    RolloutView,
    SiteJoined,
    SiteMoved,
    SiteView,
    Tell,
    Want,
    WaveView,
)
from edgewise.core.rollout.rollout import Rollout
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.store.rollouts import NO_PROGRESS, Head, Kept, SiteProgress, Standing

TIMED: Final = frozenset({RolloutState.PROGRESSING, RolloutState.PAUSED, RolloutState.ABORTING, RolloutState.FAILED})
"""Where something can follow from time alone."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What has changed of a rollout since it was written down.

    Attributes:
        sites: that were in it.
        joined: that were not, or begin anew, in the order in which they joined.
    """

    standing: Standing
    waves: tuple[tuple[int, WaveView], ...]
    sites: tuple[tuple[str, SiteView, SiteProgress], ...]
    joined: tuple[tuple[str, SiteView, SiteProgress], ...] = ()


class Running:
    """One rollout.

    Args:
        machine: what decides; its view is what was written down, apart from when sites were heard of.

    Attributes:
        head: what does not change.
        standing: as it was written down.
    """

    def __init__(self, head: Head, machine: Rollout, standing: Standing, progress: Mapping[str, SiteProgress]) -> None:
        self.head = head
        self.machine = machine
        self.standing = standing
        self._progress = dict(progress)
        self._written = {site: (known, self.progress(site)) for site, known in machine.glance().sites.items()}
        self._waves = machine.glance().waves
        self._named: set[str] = set()
        self._joined: list[str] = []
        self._moved = False

    @classmethod
    def resumed(cls, kept: Kept, now_s: float) -> "Running":
        """One that was written down, going on."""
        return cls(kept.head, Rollout.resumed(kept.head.specification, kept.view, now_s), kept.standing, kept.progress)

    def handle(self, *events: Event) -> list[Instruction]:
        """Have it decide. `Rollout.handle` says what is raised; nothing has changed then."""
        instructions = self.machine.handle(*events)
        self._named.update(event.site for event in events if isinstance(event, Reported))
        self._named.update(one.site for one in instructions if isinstance(one, Tell | SiteMoved))
        self._moved |= any(isinstance(one, SiteMoved | SiteJoined | RolloutMoved) for one in instructions)
        for one in instructions:
            if isinstance(one, SiteJoined):
                self._joined.append(one.site)
                self._progress.pop(one.site, None)
        return instructions

    def progress(self, site: str) -> SiteProgress:
        """What a site says of it besides what decides."""
        return self._progress.get(site, NO_PROGRESS)

    def note_progress(self, site: str, progress: SiteProgress) -> None:
        """A site said that."""
        self._progress[site] = progress
        self._named.add(site)

    def listen_anew(self, now_s: float) -> None:
        """Nobody listened for a while, which was no silence of the sites."""
        self.machine = Rollout.resumed(self.head.specification, self.machine.view(), now_s)
        self._waves = self.machine.glance().waves

    def unwritten(self, now_s: float) -> Unwritten | None:
        """What is to be written down; None when nothing is."""
        view, before = self.machine.glance(), self.standing
        joined = tuple((site, view.sites[site], self.progress(site)) for site in self._joined)
        named = sorted(self._named.difference(self._joined))
        sites = tuple((site, view.sites[site], self.progress(site)) for site in named if self._differs(site, view))
        waves = tuple(
            (number, wave)
            for number, (wave, known) in enumerate(zip(view.waves, self._waves, strict=True))
            if wave != known
        )
        if not sites and not joined and not waves and (view.state, view.why) == (before.state, before.why):
            return None
        live = is_live(view) if self._moved else before.live
        return Unwritten(Standing(view.state, view.why, before.revision + 1, now_s, live), waves, sites, joined)

    def written(self, unwritten: Unwritten) -> None:
        """It is."""
        self.standing = unwritten.standing
        self._waves = self.machine.glance().waves
        both = (*unwritten.sites, *unwritten.joined)
        self._written.update({site: (known, progress) for site, known, progress in both})
        self._named.clear()
        self._joined.clear()
        self._moved = False

    def _differs(self, site: str, view: RolloutView) -> bool:
        known, progress = self._written[site]
        # When a site was heard of is kept with the site itself.
        return (replace(view.sites[site], heard_s=known.heard_s), self.progress(site)) != (known, progress)


def is_live(view: RolloutView) -> bool:
    """Whether any site still answers to a rollout."""
    return any(answers_to(view.state, known) for known in view.sites.values())


def answers_to(state: RolloutState, known: SiteView) -> bool:
    """Whether a site still answers to a rollout that is in this state."""
    if known.state == SiteState.SUPERSEDED:
        return False
    return state != RolloutState.ROLLED_BACK or known.want != Want.NOTHING
