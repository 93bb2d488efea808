"""What a rollout knows when it begins, when it is listened to anew, and after a report, and what is carried to a site: calculations without
a memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgewise.core.rollout.events import Reported, RolloutView, SiteView, Want, WavePhase, WaveView
from edgewise.core.rollout.gates import NO_FINDINGS
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import RUNS_NEW, SiteState


def planned_view(waves: Sequence[Sequence[str]], heard_s: Mapping[str, float]) -> RolloutView:
    """Of a rollout that has not been started.

    Args:
        waves: the sites of each wave, in the order in which they are told.
        heard_s: when each site was heard of last; who is not in it never was.
    """
    sites = {
        site: SiteView(wave=number, heard_s=heard_s.get(site)) for number, named in enumerate(waves) for site in named
    }
    return RolloutView(RolloutState.PLANNED, "", sites, tuple(WaveView() for _ in waves))


def listened_anew(view: RolloutView, now_s: float) -> RolloutView:
    """After nobody listened for a while: that while was no silence, and used up no patience."""
    sites = {
        site: known if known.heard_s is None or known.was else replace(known, heard_s=now_s)
        for site, known in view.sites.items()
    }
    return replace(view, sites=sites, waves=tuple(replace(wave, since_s=now_s) for wave in view.waves))


def after_report(known: SiteView, report: Reported) -> SiteView:
    """What a site said of itself; where it is has still to be placed.

    An agent that lost its memory has counted nothing. What it counted before was so all the same, and a site of which there was something to
    prove does not become one of which there is not.
    """
    return replace(
        known,
        acting=report.want,
        heard_s=report.now_s,
        was=None,
        switched=known.switched or report.state in RUNS_NEW,
        waiting=report.waiting,
        findings=known.findings if report.findings == NO_FINDINGS else report.findings,
        why=report.why,
    )


def carried_want(view: RolloutView, site: str) -> Want:
    """What a bundle tells a site.

    A site with a link is told to run the release when it has said that it has the files. One that nothing but bundles reaches cannot say so:
    it is told with the files, as soon as its wave has passed.
    """
    known = view.sites[site]
    moves = view.state in {RolloutState.PROGRESSING, RolloutState.COMPLETED}
    has_passed = view.waves[known.wave].phase == WavePhase.PASSED
    waits = known.want in {Want.NOTHING, Want.STAGE} and known.state != SiteState.SUPERSEDED
    return Want.GRANTED if moves and has_passed and waits else known.want
