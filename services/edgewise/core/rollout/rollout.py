"""Carries one rollout through its waves: events in, instructions out, on a clock that the caller reads.

    told STAGE --> all files on disk --> told RUN, wave by wave, so many at a time --> the site compares and switches by itself
                                          |
            the wave's verdict, of all its sites' evidence together: Pass -> sites that wait are GRANTED, then the next wave
                                                                     Fail, or more failures than the budget -> everyone BACK
                                                                     Inconclusive for too long -> Paused

The rules:

- A site that was offline before it was told to switch does not count, and does not hold its wave up; it catches up when it is back.
  One that falls silent while the new version may be answering counts as failed until it is heard of again.
- A wave passes when each of its sites has settled or is away, at least one of them is Active, and the verdict is Pass, or there was
  nothing to prove: whoever is Active ran the release before.
- A site that joins late is away until it is first heard of, and catches up then. Should it never be, nothing is other than without it.
- Whoever was told to run the release is told to go back when the rollout is aborted, and the rollout has not ended before each is back.
- Nothing is told twice, and everything told can be told again: a hub that crashed goes on from `view()`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.rollout import wave_progress as waves_are
from edgewise.core.rollout.events import (
    RUNNING,
    Commanded,
    Event,
    Heard,
    Instruction,
    Joined,
    Overtaken,
    Reported,
    Retired,
    RolloutMoved,
    RolloutView,
    SiteJoined,
    SiteMoved,
    SiteView,
    Tell,
    Ticked,
    Verb,
    Want,
    WaveMoved,
    WavePhase,
)
from edgewise.core.rollout.gates import pooled
from edgewise.core.rollout.rollout_state import TRANSITIONS, RolloutEvent, RolloutState
from edgewise.core.rollout.site_state import (
    AGENT_STATES,
    BEFORE_SWITCH,
    RUNS_NEW,
    SETTLED,
    SiteEvent,
    SiteState,
    can_have_become,
)
from edgewise.core.rollout.site_state import TRANSITIONS as SITE_TRANSITIONS
from edgewise.core.rollout.specification import OnFailure, Specification
from edgewise.core.rollout.verbs import EVENTS, check_verb, possible_verbs
from edgewise.core.rollout.views import after_report, listened_anew, planned_view
from edgewise.core.wording import counted

_MOVING: Final = frozenset({RolloutState.PROGRESSING, RolloutState.PAUSED})
_OPEN: Final = _MOVING | {RolloutState.PLANNED, RolloutState.COMPLETED}
_GOING_BACK: Final = frozenset({RolloutState.ABORTING, RolloutState.FAILED})


class Rollout:
    """One rollout.

    Args:
        specification: what was asked for.
        view: what is known; of a rollout that begins, see `planned`.
    """

    def __init__(self, specification: Specification, view: RolloutView) -> None:
        self._specification = specification
        self._state = view.state
        self._why = view.why
        self._sites = dict(view.sites)
        self._waves = list(view.waves)
        self._of_wave: list[list[str]] = [[] for _ in view.waves]
        for site, known in view.sites.items():
            self._of_wave[known.wave].append(site)
        self._instructions: list[Instruction] = []

    @classmethod
    def planned(
        cls, specification: Specification, waves: Sequence[Sequence[str]], heard_s: Mapping[str, float] | None = None
    ) -> "Rollout":
        """A rollout that has not been started.

        Args:
            waves: the sites of each wave, in the order in which they are told (`waves.plan_waves`).
            heard_s: when each site was heard of last; who is not in it never was.
        """
        return cls(specification, planned_view(waves, heard_s or {}))

    @classmethod
    def resumed(cls, specification: Specification, view: RolloutView, now_s: float) -> "Rollout":
        """A rollout that goes on after nobody listened for a while: that while was no silence, and used up no patience."""
        return cls(specification, listened_anew(view, now_s))

    def view(self) -> RolloutView:
        """All that it knows; a rollout made from it goes on from here."""
        return RolloutView(self._state, self._why, dict(self._sites), tuple(self._waves))

    def glance(self) -> RolloutView:
        """The same without a copy, for a look: its sites go on changing."""
        return RolloutView(self._state, self._why, self._sites, tuple(self._waves))

    def verbs(self) -> tuple[Verb, ...]:
        """What can be asked of it now."""
        return possible_verbs(self._state, self._sites.values())

    @property
    def state(self) -> RolloutState:
        """Where it is."""
        return self._state

    def handle(self, *events: Event) -> list[Instruction]:
        """Take note of what happened.

        Returns: what is to be told and written down, in this order.
        Raises:
            FailedPreconditionError: a verb that is not possible in this state, or a site that would join one that goes back or went back.
            NotFoundError: a site or a wave that is not in this rollout.
            InvalidArgumentError: a report of a state that only the hub can give.
        """
        self._instructions = []
        for event in events:
            match event:
                case Ticked(now_s):
                    self._tick(now_s)
                case Heard(site, now_s):
                    self._heard(site, now_s)
                case Reported():
                    self._reported(event)
                case Commanded():
                    self._command(event)
                case Retired(site, now_s):
                    self._known(site)
                    self._supersede([site], "retired")
                    self._go_on(now_s)
                case Joined(site, wave, now_s):
                    self._join(site, wave)
                    self._go_on(now_s)
                case Overtaken(sites, by, now_s):
                    self._supersede(sorted(sites & self._sites.keys()), f"taken over by {by}")
                    self._end_when_overtaken(by)
                    self._go_on(now_s)
        return self._instructions

    # What comes from people

    def _command(self, command: Commanded) -> None:
        check_verb(command.verb, self._state, self._sites.values())
        now_s = command.now_s
        self._move(EVENTS[command.verb], command.why or f"{command.verb.value} by hand")
        match command.verb:
            case Verb.START:
                if self._specification.prestage:
                    self._tell_each(self._sites, Want.STAGE)
            case Verb.PAUSE:
                self._hold_back()
            case Verb.RESUME:
                self._change_current(since_s=now_s)
            case Verb.PROMOTE:
                self._change_current(since_s=now_s, promoted=True)
            case Verb.ABORT | Verb.UNDO:
                self._turn_back()
        self._go_on(now_s)

    def _join(self, site: str, wave: int) -> None:
        known = self._sites.get(site)
        if known is not None and known.state != SiteState.SUPERSEDED:
            return
        if self._state not in _OPEN:
            raise FailedPreconditionError(f"the rollout is {self._state.value}; no site can join it")
        if not 0 <= wave < len(self._waves):
            raise NotFoundError(f"there is no wave {wave} in this rollout; expected 0 to {len(self._waves) - 1}")
        if known is not None:
            self._of_wave[known.wave].remove(site)
            del self._sites[site]
        self._sites[site] = SiteView(wave, SiteState.UNREACHABLE)
        self._of_wave[wave].append(site)
        self._instructions.append(SiteJoined(site, SiteState.UNREACHABLE, "enrolled, and not heard of yet"))
        if self._specification.prestage and self._state != RolloutState.PLANNED:
            self._tell(site, Want.STAGE)

    # What comes from sites

    def _heard(self, site: str, now_s: float) -> None:
        known = self._known(site)
        self._sites[site] = replace(known, heard_s=now_s, was=None)
        if known.state == SiteState.UNREACHABLE:
            self._place(site, known.was or SiteState.PENDING, "heard of again" if known.was else "heard of")
            self._change(known.wave, since_s=now_s)
            self._go_on(now_s)

    def _reported(self, report: Reported) -> None:
        known = self._known(report.site)
        if report.state not in AGENT_STATES:
            raise InvalidArgumentError(
                f"a site cannot report {report.state.value}; expected one of {', '.join(sorted(AGENT_STATES))}"
            )
        if known.state == SiteState.SUPERSEDED:
            self._sites[report.site] = replace(known, heard_s=report.now_s)
            return
        before = known.was or known.state
        self._sites[report.site] = after_report(known, report)
        # An agent that lost its memory begins again. What it says is true all the same.
        unexpected = (
            "" if can_have_become(before, report.state) else f"after {before.value}, which no site does by itself"
        )
        self._place(report.site, report.state, "; ".join(filter(None, (report.why, unexpected))))
        if report.state != before or report.waiting != known.waiting:
            self._change(known.wave, since_s=report.now_s)
        if self._sites[report.site].findings != known.findings and self._waves[known.wave].phase == WavePhase.OPEN:
            self._change(known.wave, judged=False)
        if known.was or (report.state, report.want) != (known.state, known.acting):
            # Counts alone are looked at when time passes. Most reports bring nothing else, and going on looks at every site.
            self._go_on(report.now_s)

    # What comes with time

    def _tick(self, now_s: float) -> None:
        if self._state in _MOVING or self._state in _GOING_BACK:
            for site, known in list(self._sites.items()):
                silent = known.heard_s is None or now_s - known.heard_s > self._specification.silent_s
                if silent and (known.state, SiteEvent.SILENT) in SITE_TRANSITIONS:
                    self._lost(site, known)
        if self._state in _MOVING:
            self._judge()
        self._go_on(now_s)
        self._lose_patience(now_s)

    def _lost(self, site: str, known: SiteView) -> None:
        self._sites[site] = replace(known, was=known.state)
        self._place(site, SiteState.UNREACHABLE, "never heard of" if known.heard_s is None else "silent")
        if known.want in RUNNING and known.state not in RUNS_NEW:
            # Its place is free for another; when it is back it is told again.
            self._tell(site, Want.STAGE)

    def _judge(self) -> None:
        number = self._current()
        if number is None or self._waves[number].judged:
            return
        findings = pooled(self._sites[site].findings for site in self._of_wave[number])
        verdict = self._specification.gates.verdict(findings)
        self._change(number, verdict=verdict, judged=True)

    def _lose_patience(self, now_s: float) -> None:
        number = self._current()
        if self._state != RolloutState.PROGRESSING or number is None:
            return
        patience_s = self._specification.patience_s
        if now_s - self._waves[number].since_s <= patience_s:
            return
        why = waves_are.why_stuck(self._views(number)) or f"nothing moved for {patience_s:g} s"
        self._pause(f"wave {self._name(number)}: {why}")

    # What follows

    def _go_on(self, now_s: float) -> None:
        if self._state in _GOING_BACK:
            self._end_when_back()
        while self._state in _MOVING and self._settle(now_s):
            pass
        if self._state in {RolloutState.PROGRESSING, RolloutState.COMPLETED}:
            for number, wave in enumerate(self._waves):
                if wave.phase != WavePhase.WAITING:
                    self._fill(number)

    def _settle(self, now_s: float) -> bool:
        """Whether the wave in turn opened or passed, so that the next one is to be looked at."""
        number = self._current()
        if number is None:
            if self._state == RolloutState.PROGRESSING:
                self._move(RolloutEvent.PASSED, "every wave has passed")
            return False
        wave = self._waves[number]
        if wave.phase == WavePhase.WAITING:
            if self._state != RolloutState.PROGRESSING:
                return False
            self._change(number, phase=WavePhase.OPEN, since_s=now_s)
            self._instructions.append(WaveMoved(number, WavePhase.OPEN, counted(len(self._of_wave[number]), "site")))
            return True
        if why := waves_are.why_failed(wave, self._views(number), self._specification.waves[number]):
            self._fail(f"wave {self._name(number)}: {why}")
            return False
        if self._state != RolloutState.PROGRESSING or not waves_are.is_through(wave, self._views(number)):
            return False
        self._change(number, phase=WavePhase.PASSED)
        self._instructions.append(WaveMoved(number, WavePhase.PASSED, waves_are.counted(self._views(number))))
        return True

    def _fill(self, number: int) -> None:
        """Tell as many sites of a wave as may switch at once."""
        sites = self._views(number)
        granted = waves_are.is_granted(self._waves[number])
        if granted:
            self._tell_each((site for site, known in sites.items() if known.want == Want.RUN), Want.GRANTED)
        next_ones = waves_are.to_tell(sites, self._specification.waves[number], prestage=self._specification.prestage)
        self._tell_each(next_ones, Want.GRANTED if granted else Want.RUN)

    def _fail(self, why: str) -> None:
        self._judge()
        if self._specification.on_failure == OnFailure.PAUSE:
            self._pause(why)
            return
        self._move(RolloutEvent.SPENT, why)
        self._turn_back()
        self._end_when_back()

    def _pause(self, why: str) -> None:
        if self._state == RolloutState.PROGRESSING:
            self._move(RolloutEvent.PAUSED, why)
            self._hold_back()

    def _hold_back(self) -> None:
        """Whoever has not begun to switch waits."""
        held = [site for site, known in self._sites.items() if known.want in RUNNING and known.state in BEFORE_SWITCH]
        self._tell_each(held, Want.STAGE)

    def _turn_back(self) -> None:
        self._tell_each([site for site, known in self._sites.items() if known.want != Want.NOTHING], Want.BACK)

    def _end_when_back(self) -> None:
        out = [
            known
            for known in self._sites.values()
            if known.switched and known.state not in {SiteState.ROLLED_BACK, SiteState.SUPERSEDED}
        ]
        if not out:
            others = sum(known.switched and known.state == SiteState.SUPERSEDED for known in self._sites.values())
            left = f", but for {others} that another rollout took over" if others else ""
            self._move(RolloutEvent.RETURNED, f"every site that had switched is back{left}")
        elif self._state == RolloutState.ABORTING and all(waves_are.is_stuck(known) for known in out):
            self._move(RolloutEvent.STUCK, f"{counted(len(out), 'site')} could not go back")

    def _supersede(self, sites: Iterable[str], why: str) -> None:
        for site in sites:
            self._place(site, SiteState.SUPERSEDED, why)

    def _end_when_overtaken(self, by: str) -> None:
        left = [known for known in waves_are.counting(self._sites).values() if known.state not in SETTLED]
        if self._state in _MOVING and not left:
            self._move(RolloutEvent.SUPERSEDED, f"taken over by {by}")

    # Small moves

    def _known(self, site: str) -> SiteView:
        known = self._sites.get(site)
        if known is None:
            raise NotFoundError(f"site {site!r} is not in this rollout")
        return known

    def _move(self, event: RolloutEvent, why: str) -> None:
        before = self._state
        self._state = TRANSITIONS[before, event]
        self._why = why
        self._instructions.append(RolloutMoved(before, self._state, why))

    def _place(self, site: str, state: SiteState, why: str) -> None:
        known = self._sites[site]
        if known.state != state:
            self._instructions.append(SiteMoved(site, known.state, state, why))
            self._sites[site] = replace(known, state=state)

    def _tell(self, site: str, want: Want) -> None:
        known = self._sites[site]
        if known.want != want and known.state != SiteState.SUPERSEDED:
            self._sites[site] = replace(known, want=want, switched=known.switched or want in RUNNING)
            self._instructions.append(Tell(site, want))

    def _tell_each(self, sites: Iterable[str], want: Want) -> None:
        for site in list(sites):
            self._tell(site, want)

    def _current(self) -> int | None:
        """The wave whose turn it is; None when every one has passed."""
        return next((number for number, wave in enumerate(self._waves) if wave.phase != WavePhase.PASSED), None)

    def _change(self, number: int, **changes: Any) -> None:
        self._waves[number] = replace(self._waves[number], **changes)

    def _change_current(self, **changes: Any) -> None:
        number = self._current()
        if number is not None:
            self._change(number, **changes)

    def _views(self, number: int) -> dict[str, SiteView]:
        return waves_are.counting({site: self._sites[site] for site in self._of_wave[number]})

    def _name(self, number: int) -> str:
        return self._specification.waves[number].name
