"""A rollout as its page shows it: calculations without a memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.core.rollout.events import Want, WavePhase
from edgewise.core.rollout.gates import GateName, Gates, Verdict
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_plan import shares
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Canary, Specification
from edgewise.core.wording import counted
from edgewise.hub.control.status import GateStatus, RolloutSiteStatus, RolloutStatus, RolloutSummary, WaveStatus
from edgewise.hub.pages.signs import WANT_WORDS, WaveEnd
from edgewise.hub.pages.words import points, share, size

_SHOWN: Final = 40
"""Cells of a wave on the page of a rollout; the others are behind a link."""
_SHOWN_OF_ONE: Final = 200
"""Cells of a wave that somebody asked for; the others are on its further pages."""
_URGENT: Final = (
    SiteState.FAILED,
    SiteState.ROLLED_BACK,
    SiteState.UNREACHABLE,
    SiteState.VERIFYING,
    SiteState.ACTIVATING,
    SiteState.DOWNLOADING,
    SiteState.STAGED,
    SiteState.PENDING,
    SiteState.ACTIVE,
    SiteState.SUPERSEDED,
)
"""Whom a person wants to see first."""
_PROGRESS: Final = (
    SiteState.ACTIVE,
    SiteState.VERIFYING,
    SiteState.ACTIVATING,
    SiteState.STAGED,
    SiteState.DOWNLOADING,
    SiteState.PENDING,
    SiteState.SUPERSEDED,
    SiteState.UNREACHABLE,
    SiteState.ROLLED_BACK,
    SiteState.FAILED,
)
"""From done to begun, then what went wrong."""
_ENDS: Final[Mapping[str, str]] = {WavePhase.OPEN: WaveEnd.NOT_PASSED, WavePhase.WAITING: WaveEnd.NOT_OPENED}
_SCALE: Final = 3.0
"""The picture of an interval ends at so many times the margin."""


@dataclass(frozen=True, slots=True)
class Part:
    """How many sites are in one state, as a part of a bar that is 100 wide."""

    state: str
    count: int
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One site of a wave.

    Attributes:
        does: what it does at the moment, in words; "" when the state says all.
        told: what it was told and has not said that it heard.
    """

    site: RolloutSiteStatus
    does: str
    told: str


@dataclass(frozen=True, slots=True)
class Interval:
    """What the new version's share of hits less the old one's may be, as a picture from -1 to 1.

    Attributes:
        low, high: of the interval, cut off at the picture's ends.
        margin: what is allowed.
        text: the same in words.
    """

    low: float
    high: float
    margin: float
    text: str


@dataclass(frozen=True, slots=True)
class GateRow:
    """One gate of a wave."""

    name: str
    asks: str
    counts: str
    interval: Interval | None
    verdict: str


@dataclass(frozen=True, slots=True)
class WaveView:
    """One wave.

    Attributes:
        phase: as people are told: a wave of a rollout that ended is neither open nor does it wait.
        verdict: "" where there is none: nothing has switched yet, or there was nothing to prove.
        page, pages: of its cells, from 1.
        rules: how many may switch at once, and how many may fail.
        hidden: sites that are not among the cells.
    """

    status: WaveStatus
    phase: str
    verdict: str
    parts: tuple[Part, ...]
    cells: tuple[Cell, ...]
    page: int
    pages: int
    hidden: int
    gates: tuple[GateRow, ...]
    rules: str
    summary: str


def parts(states: Mapping[str, int]) -> tuple[Part, ...]:
    """Of a bar that shows how many sites are in which state, from done to failed."""
    total = sum(states.values())
    found: list[Part] = []
    start = 0.0
    for state in _PROGRESS:
        count = states.get(state, 0)
        if count:
            width = count * 100.0 / total
            found.append(Part(state, count, start, width))
            start += width
    return tuple(found)


def waves(
    rollout: RolloutStatus, specification: Specification, *, wanted: int | None = None, page: int = 1
) -> tuple[WaveView, ...]:
    """All waves of a rollout.

    Args:
        wanted: the number of a wave of which every site can be seen.
        page: of that wave.
    """
    by_wave: list[list[RolloutSiteStatus]] = [[] for _ in rollout.waves]
    for site in rollout.sites:
        by_wave[site.wave].append(site)
    found = []
    for wave, sites in zip(rollout.waves, by_wave, strict=True):
        most = _SHOWN_OF_ONE if wave.number == wanted else _SHOWN
        pages = max(1, -(-len(sites) // most)) if wave.number == wanted else 1
        shown = min(max(page, 1), pages)
        chosen = _in_order(sites, most)[(shown - 1) * most : shown * most]
        found.append(
            WaveView(
                status=wave,
                phase=_phase(rollout.state, wave.phase),
                verdict=_verdict(wave),
                parts=parts(wave.states),
                cells=tuple(_cell(site, specification.canary) for site in chosen),
                page=shown,
                pages=pages,
                hidden=len(sites) - len(chosen),
                gates=tuple(gate_row(gate, specification.gates) for gate in wave.gates),
                rules=f"at most {counted(wave.at_once, 'site')} may switch at once, {_may_fail(wave.may_fail)}",
                summary=_summary(wave),
            )
        )
    return tuple(found)


def current_wave(rollout: RolloutStatus) -> WaveStatus | None:
    """The wave whose turn it is; None when every one has passed."""
    return next((wave for wave in rollout.waves if wave.phase != WavePhase.PASSED), None)


def spoken(rollout: RolloutStatus) -> str:
    """What is said when something has changed: a sentence or two, whatever the number of sites."""
    wave = current_wave(rollout)
    said = f"{rollout.name} is {rollout.state}."
    return f"{said} Wave {wave.name}: {_summary(wave)}." if wave else said


def all_states(rollout: RolloutStatus) -> dict[str, int]:
    """How many of all sites are in each state."""
    return dict(Counter(site.state for site in rollout.sites))


def counted_states(rollout: RolloutStatus) -> str:
    """How many of all sites are in each state, in words."""
    states = all_states(rollout)
    return ", ".join(f"{states[state]} {state}" for state in _PROGRESS if state in states)


def needs_person(rollout: RolloutSummary | RolloutStatus) -> str:
    """Why a person has to look at a rollout; "" when nobody has to."""
    match rollout.state:
        case RolloutState.PAUSED:
            return f"paused: {rollout.why}"
        case RolloutState.FAILED:
            return f"could not go back everywhere: {rollout.why}"
        case _:
            return ""


def is_moving(rollout: RolloutSummary) -> bool:
    """Whether a rollout is under way."""
    return rollout.state in {RolloutState.PROGRESSING, RolloutState.PAUSED, RolloutState.ABORTING}


def gate_row(gate: GateStatus, gates: Gates) -> GateRow:
    """What a gate asks, what was counted, and what that proves."""
    return GateRow(gate.gate, _asks(gate, gates), _counts(gate), _interval(gate), gate.verdict)


def _in_order(sites: Sequence[RolloutSiteStatus], most: int) -> list[RolloutSiteStatus]:
    """By name, so that nothing jumps about; where not all can be seen, those first that a person wants to see first."""
    if len(sites) <= most:
        return sorted(sites, key=lambda site: site.site)
    rank = {state: number for number, state in enumerate(_URGENT)}
    return sorted(sites, key=lambda site: (rank[SiteState(site.state)], site.site))


def _cell(site: RolloutSiteStatus, canary: Canary) -> Cell:
    unheard = site.want != site.acting and site.state not in {SiteState.SUPERSEDED, SiteState.ROLLED_BACK}
    return Cell(site, _does(site, canary), WANT_WORDS[Want(site.want)] if unheard else "")


def _does(site: RolloutSiteStatus, canary: Canary) -> str:
    match site.state:
        case SiteState.DOWNLOADING if site.bytes_total:
            return f"{size(site.bytes_done)} of {size(site.bytes_total)}"
        case SiteState.VERIFYING:
            return f"{_stage(site.stage, canary)}{'; waits for more evidence' if site.waiting else ''}"
        case SiteState.UNREACHABLE if site.was:
            return f"was {site.was}"
        case SiteState.UNREACHABLE:
            return "enrolled, not heard of yet"
        case _:
            return ""


def _stage(stage: int, canary: Canary) -> str:
    stages = shares(canary)
    if stage >= len(stages) - 1:
        return "answers everything, is watched"
    if stage == 0:
        return f"asked beside the old version ({share(canary.shadow_share)})" if canary.shadow_share else "begins"
    return f"answers {share(stages[stage].share)} of the requests"


def _phase(state: str, phase: str) -> str:
    ended = state not in {RolloutState.PLANNED, RolloutState.PROGRESSING, RolloutState.PAUSED}
    return _ENDS.get(phase, phase) if ended else phase


def _verdict(wave: WaveStatus) -> str:
    proven_nothing = wave.phase == WavePhase.PASSED and wave.verdict == Verdict.INCONCLUSIVE and not wave.promoted
    return "" if wave.phase == WavePhase.WAITING or proven_nothing else wave.verdict


def _may_fail(count: int) -> str:
    return "none may fail" if count == 0 else f"{count:,} may fail"


def _summary(wave: WaveStatus) -> str:
    """2 of 3 sites Active, 1 Verifying."""
    if not wave.sites:
        return "no sites"
    active = wave.states.get(SiteState.ACTIVE, 0)
    others = [
        f"{wave.states[state]} {state}" for state in _PROGRESS if state != SiteState.ACTIVE and wave.states.get(state)
    ]
    return ", ".join([f"{active:,} of {counted(wave.sites, 'site')} Active", *others])


def _asks(gate: GateStatus, gates: Gates) -> str:
    allowed = share(gate.margin or 0.0)
    match gate.gate:
        case GateName.ERRORS:
            return f"at most {allowed} more of the answers are errors than of the old version's"
        case GateName.LATENCY:
            slow = (
                f", longer than {gates.latency.ratio:g} × the old version's {share(gates.latency.quantile)} quantile"
                if gates.latency
                else ""
            )
            return f"at most {allowed} more of the answers are slow{slow}"
        case GateName.DISAGREEMENT:
            return f"at most {allowed} of the answers differ from the old version's"
        case GateName.ACCURACY:
            return f"at most {allowed} more of the held-out examples are answered wrongly than by the old version"
        case _:
            return "golden inputs give their known outputs"


def _counts(gate: GateStatus) -> str:
    if gate.gate == GateName.GOLDEN:
        return f"asked at {counted(gate.new_count, 'site')}, {counted(gate.new_hits, 'answer')} wrong"
    if gate.gate == GateName.ACCURACY:
        return _accuracy(gate)
    if not gate.new_count and not gate.old_count:
        return "no requests yet"
    new = f"new {gate.new_hits:,} of {gate.new_count:,}"
    return f"{new}, old {gate.old_hits:,} of {gate.old_count:,}" if gate.old_count else new


def _accuracy(gate: GateStatus) -> str:
    """Right answers, which is how people speak of it: old 81 of 100, new 93 of 100 (+12 %), and of how many sources, which are what is judged."""
    if not gate.new_count:
        return "no examples asked yet"
    old, new = gate.old_count - gate.old_hits, gate.new_count - gate.new_hits
    gain = points((new - old) / gate.new_count)
    sources = f" of {counted(gate.sources, 'source')}" if gate.sources else ""
    return f"right: old {old:,} of {gate.old_count:,}, new {new:,} of {gate.new_count:,} ({gain}){sources}"


def _interval(gate: GateStatus) -> Interval | None:
    if gate.low is None or gate.high is None or not gate.margin:
        return None
    ends = gate.margin * _SCALE
    low, high = (max(-1.0, min(1.0, bound / ends)) for bound in (gate.low, gate.high))
    if gate.low <= -1.0 and gate.high >= 1.0:
        text = "nothing known yet"
    else:
        text = f"{points(gate.low)} to {points(gate.high)}"
    return Interval(low, high, 1.0 / _SCALE, text)
