"""How far a wave is, from what is known of its sites: calculations without a memory."""

from collections.abc import Mapping, Sequence
from typing import Final

from edgewise.core.rollout.events import RUNNING, SiteView, Want, WavePhase, WaveView
from edgewise.core.rollout.gates import NO_FINDINGS, Verdict
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


def has_nothing_to_prove(sites: Mapping[str, SiteView]) -> bool:
    """Whether those that are Active ran the release before it was rolled out, and nobody has tried to switch to it.

    A site that switches cannot become Active without findings: something has to prove the release there, or at others of its wave.
    """
    active = any(known.state == SiteState.ACTIVE for known in sites.values())
    return active and all(known.findings == NO_FINDINGS and not has_failed(known) for known in sites.values())


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

    A wave whose sites were all taken over or retired has nothing left to prove, one without sites neither, and neither one in which
    nobody had anything to switch.
    """
    states = [known.state for known in sites.values() if known.state != SiteState.SUPERSEDED]
    if not states:
        return True
    decided = view.promoted or (view.judged and (view.verdict == Verdict.PASS or has_nothing_to_prove(sites)))
    return decided and SiteState.ACTIVE in states and all(state in _AT_REST for state in states)


def why_stuck(sites: Mapping[str, SiteView]) -> str:
    """What a wave that is not through waits for, where nothing moves by itself; "" when that is not known."""
    waiting = sum(known.waiting for known in sites.values())
    if waiting:
        return f"too little data for a verdict: {waiting} of {len(sites)} sites wait for one"
    if all(known.state == SiteState.UNREACHABLE for known in sites.values()):
        return "none of its sites was heard of"
    states = {known.state for known in sites.values()}
    if not states <= _AT_REST:
        return ""
    if SiteState.ACTIVE not in states:
        return f"no site of it is Active: {counted(sites)}"
    return "too little data for a verdict, and none of its sites counts any more"


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
