"""How far a wave is, from what is known of its sites: calculations without a memory."""

from collections.abc import Mapping, Sequence
from typing import Final

from edgewise.core.rollout.events import RUNNING, SiteView, Want, WavePhase, WaveView
from edgewise.core.rollout.gates import Verdict
from edgewise.core.rollout.site_state import BEFORE_SWITCH, RUNS_NEW, SETTLED, SiteState
from edgewise.core.rollout.waves import Wave

_SHOWN: Final = 3
_AT_REST: Final = SETTLED | {SiteState.UNREACHABLE}


def has_failed(known: SiteView) -> bool:
    """What counts against the error budget: a failure, a return, and silence once the new version may have answered."""
    if known.state == SiteState.UNREACHABLE:
        return known.was in RUNS_NEW
    return known.state in {SiteState.FAILED, SiteState.ROLLED_BACK}


def is_switching(known: SiteView) -> bool:
    """Whether a site takes one of the places of those that may switch at once."""
    return known.want in RUNNING and known.state not in _AT_REST


def is_stuck(known: SiteView) -> bool:
    """Whether a site was told to go back and cannot. What it said before it heard of that counts for nothing."""
    return known.state == SiteState.FAILED and known.acting == Want.BACK


def counting(sites: Mapping[str, SiteView]) -> dict[str, SiteView]:
    """Those that a wave has to do with: all but sites that joined and were not heard of yet. The other calculations are given these alone."""
    return {
        site: known for site, known in sites.items() if known.state != SiteState.UNREACHABLE or known.was is not None
    }


def is_granted(wave: WaveView) -> bool:
    """Whether a site of this wave need not have all the evidence itself."""
    return wave.promoted or wave.phase == WavePhase.PASSED or wave.verdict == Verdict.PASS


def why_failed(view: WaveView, sites: Mapping[str, SiteView], wave: Wave) -> str:
    """Why a wave has failed; "" when it has not, or when a person took that upon himself.

    `Wave.error_budget` of 10 % allows 1 failure of 10 to 19 sites and none of 9.
    """
    if view.promoted:
        return ""
    if view.verdict == Verdict.FAIL:
        return "a gate failed over all its sites together"
    failed = [site for site, known in sites.items() if has_failed(known)]
    budget = wave.error_budget.at_most_of(len(sites))
    if len(failed) <= budget:
        return ""
    return f"{len(failed)} of {len(sites)} sites failed, {budget} may: {_few(failed)}"


def is_through(view: WaveView, sites: Mapping[str, SiteView]) -> bool:
    """Whether a wave that has not failed has passed: each site at rest, one of them Active, and the evidence of all of them a Pass.

    A wave whose sites were all taken over or retired has nothing left to prove, and one without sites neither.
    """
    states = [known.state for known in sites.values() if known.state != SiteState.SUPERSEDED]
    if not states:
        return True
    decided = view.promoted or (view.judged and view.verdict == Verdict.PASS)
    return decided and SiteState.ACTIVE in states and all(state in _AT_REST for state in states)


def why_stuck(sites: Mapping[str, SiteView]) -> str:
    """What a wave waits for in which nothing moves; "" when that is not known."""
    waiting = sum(known.waiting for known in sites.values())
    if waiting:
        return f"too little data for a verdict: {waiting} of {len(sites)} sites wait for one"
    if all(known.state == SiteState.UNREACHABLE for known in sites.values()):
        return "none of its sites was heard of"
    return ""


def to_tell(sites: Mapping[str, SiteView], wave: Wave, *, prestage: bool) -> list[str]:
    """Which sites are to be told to run the release next: as many as have a place, those first that have everything on disk.

    Args:
        prestage: a site that still fetches takes no place.
    """
    places = wave.max_concurrent.at_least_one_of(len(sites)) - sum(map(is_switching, sites.values()))
    if places <= 0:
        return []
    ready = {SiteState.STAGED} if prestage else BEFORE_SWITCH
    able = [site for site, known in sites.items() if known.want not in RUNNING and known.state in ready]
    able.sort(key=lambda site: sites[site].state != SiteState.STAGED)
    return able[:places]


def counted(sites: Mapping[str, SiteView]) -> str:
    """How many sites are in which state, for people."""
    states = [known.state for known in sites.values()]
    return ", ".join(f"{states.count(state)} {state.value}" for state in SiteState if state in states)


def _few(sites: Sequence[str]) -> str:
    shown = ", ".join(sites[:_SHOWN])
    return shown if len(sites) <= _SHOWN else f"{shown} and {len(sites) - _SHOWN} more"
