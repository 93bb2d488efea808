"""Moves links between their states: what evidence, probes and the ramp lead to.

`LinkWatch` changes links and appends what is to be done; what it means for requests (rescue, giving up) it asks of the
router through `Requests`.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from edgewise.core.routing import warming
from edgewise.core.routing.calls import CloseConnections, Instruction, LinkChanged, Probe, SendProbe
from edgewise.core.routing.evidence import are_silent, is_quicker_elsewhere
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import TRANSITIONS, LinkEvent, LinkState
from edgewise.core.routing.settings import RouterSettings

UP: Final = LinkState.UP
SUSPECT: Final = LinkState.SUSPECT
DOWN: Final = LinkState.DOWN
PROBING: Final = LinkState.PROBING
RAMP: Final = LinkState.RAMP

PROBE_CAUSE: Final = -1
"""`Link.cause_class` when a probe was overdue and no request."""
_MOST_PROBES: Final = 20
# A probe that takes so many times what answers take comes from a link that is not what it was.
_SLOW_PROBE: Final = 3.0
# While something is in flight, silence is looked into after this part of the idle time.
_ASK_SOONER: Final = 0.25
_FAILURES_TO_WAIT_LONGER: Final = 4
_WARM_LASTS_S: Final = 3.0
# Of the most that was in flight, a tick later; and only while answers come, or a cut would count what it holds back.
_PEAK_KEPT: Final = 0.9999
_HEARD_S: Final = 0.02
# Suspicions that proved wrong are forgotten this long after the last; this one was short; so many short ones are forgiven.
_FORGIVEN_AGAIN_S: Final = 10.0
_SHORT_S: Final = 0.06
_MOST_FORGIVEN: Final = 5
# Medians of the last answers speak for the ramp once most of them are of the ramp.
_ANSWERS_TO_JUDGE: Final = 9
_JUDGED_WITHIN_S: Final = 10.0


class Requests(Protocol):
    """What the watch asks of the router."""

    def rescue(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Send what is in flight or queued there to other sites too."""

    def give_up(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Cancel what is in flight there, where somebody else can answer it."""

    def move_queue(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Let what waits for room there wait elsewhere."""

    def others(self, link: Link) -> Iterable[Link]:
        """All links but this one."""

    def has_alternative(self, link: Link) -> bool:
        """Whether another link is up."""


class LinkWatch:
    """Carries links through their states.

    Args:
        settings: floors, ratios and counts.
        requests: the router.
        draws: uniform in [0, 1), for jitter.
    """

    def __init__(self, settings: RouterSettings, requests: Requests, draws: Callable[[], float]) -> None:
        self._settings = settings
        self._requests = requests
        self._draws = draws

    def move(self, link: Link, event: LinkEvent, why: str, now_s: float, out: list[Instruction]) -> None:
        """Let an event happen to a link."""
        before = link.state
        after = TRANSITIONS.get((before, event))
        if after is None or (link.left and event is LinkEvent.PROBED):
            return  # a link that has left needs no way back
        self._change(link, after, why, now_s, out)
        if after is SUSPECT:
            self._suspected(link, now_s, out)
        elif after is DOWN:
            self._lost(link, before, now_s, out, declined=event is LinkEvent.DECLINED)
        elif after is RAMP:
            self._ramp(link, now_s, out)
        elif after is PROBING:
            link.good_probes = 1
            link.good_since_s = now_s
            link.payload_proven = False
            if not link.hold.flapping:
                self._warm(link, now_s, out)
        elif before is RAMP:
            link.slow = None
            link.slow_patience = 1.0
        else:
            link.returned_s = now_s

    @staticmethod
    def _change(link: Link, after: LinkState, why: str, now_s: float, out: list[Instruction]) -> None:
        out.append(LinkChanged(link, link.state.value, after.value, why, now_s))
        link.state = after
        link.since_s = now_s
        link.why = why

    def watch_site(self, links: Iterable[Link], now_s: float, out: list[Instruction]) -> None:
        """Look at all endpoints of a site together, where there are several; called at each tick.

        What is in flight at each of them may be too little to tell that a whole site was cut off, and too much all together.
        """
        up = [link for link in links if link.state is UP]
        if not are_silent(up, self._settings, now_s):
            return
        for link in up:
            link.cause_class = 0 if link.in_flight else PROBE_CAUSE
            self._change(link, SUSPECT, "silence of the whole site", now_s, out)
        # Only now, so that nothing is rescued by one of them.
        for link in up:
            self._suspected(link, now_s, out)

    def watch(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Look at a link; called at each tick."""
        state = link.state
        if link.left and state is not SUSPECT:
            self._watch_leaving(link, now_s, out)
            return
        if state is UP:
            in_flight = len(link.in_flight)
            heard = now_s - link.last_heard_s < _HEARD_S
            link.peak_in_flight = max(in_flight if heard else 0, link.peak_in_flight * _PEAK_KEPT)
            if in_flight and self._look_for_silence(link, now_s, out):
                return
            if link.slow is not None:
                self._slow(link, now_s, out)
            self._ask_while_idle(link, now_s, out)
        elif state is SUSPECT:
            patience_s = max(self._settings.suspect_s, link.typical_s())
            if not self._requests.has_alternative(link):
                patience_s *= self._settings.last_site_factor
            if now_s - link.since_s > patience_s:
                self.move(link, LinkEvent.SILENT, link.why, now_s, out)
        elif state is RAMP:
            self._watch_ramp(link, now_s, out)
        elif now_s >= link.next_probe_s:
            self._ask_again(link, now_s, out)

    def _watch_leaving(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """What is in flight there is looked after to its end; there is no way back to be found."""
        state = link.state
        if link.in_flight and (state is UP or state is RAMP) and not self._look_for_silence(link, now_s, out):
            self._ask_while_idle(link, now_s, out)

    def _look_for_silence(self, link: Link, now_s: float, out: list[Instruction]) -> bool:
        """Whether what is in flight speaks against the link, which is moved then."""
        why = link.overdue(now_s)
        if why:
            self.move(link, LinkEvent.OVERDUE, why, now_s, out)
        return bool(why)

    def answered(self, link: Link, size_class: int, now_s: float, out: list[Instruction], *, good: bool) -> None:
        """A whole answer came from a link that is not up."""
        state = link.state
        if state is SUSPECT and size_class >= link.cause_class:
            if not self._forgives(link, now_s) and self._requests.has_alternative(link):
                self.move(link, LinkEvent.BROKEN, "flapping", now_s, out)
            else:
                self.move(link, LinkEvent.HEARD, "answers come again", now_s, out)
        elif state is SUSPECT:
            link.selective = True
        elif state is DOWN and good:
            self.move(link, LinkEvent.PROBED, "an answer came", now_s, out)
            link.next_probe_s = now_s
        elif state is RAMP:
            link.ramp_answered += 1
            link.ramp_judged += 1

    @staticmethod
    def _forgives(link: Link, now_s: float) -> bool:
        """Whether a suspicion that proves wrong is taken back: a long one once in a while, short ones a few times.

        A busy machine stalls now and then, and comes back at once. A link that flaps does so again and again.
        """
        if now_s - link.returned_s >= _FORGIVEN_AGAIN_S:
            link.forgiven = 0
        link.forgiven += 1 if now_s - link.since_s < _SHORT_S else _MOST_FORGIVEN
        return link.forgiven <= _MOST_FORGIVEN

    # --- probes ---

    def probe(self, link: Link, payload_bytes: int, now_s: float, out: list[Instruction], *, fresh: bool) -> None:
        """Ask the site."""
        settings = self._settings
        # The way may have become a longer one while it was lost: what nobody answers in time is given more of it.
        patience = 2.0 ** min(link.failed_probes // _FAILURES_TO_WAIT_LONGER, 4)
        typical_s = link.typical_s()
        timeout_s = max(settings.probe_timeout_s, 3.0 * typical_s) if typical_s else settings.longest_probe_s
        timeout_s = max(timeout_s, min(timeout_s * patience, settings.longest_probe_s))
        probe = Probe(link, sent_s=now_s, payload_bytes=payload_bytes, timeout_s=timeout_s, fresh=fresh)
        link.probes[probe] = None
        out.append(SendProbe(probe))

    def probe_answered(self, probe: Probe, now_s: float, out: list[Instruction], *, ready: bool) -> None:
        """A probe was answered; `ready` as the site says of itself."""
        link = probe.link
        link.last_heard_s = now_s
        link.failed_probes = 0
        state = link.state
        slow = now_s - probe.sent_s > _SLOW_PROBE * max(link.typical_s(), self._settings.overdue_floor_s)
        if state is SUSPECT or (state is DOWN and (slow or probe.sent_s < link.since_s)):
            link.selective = True
        if not probe.payload_bytes and not probe.fresh:
            link.probe_latency.record(now_s - probe.sent_s, now_s)
        if not ready:
            link.good_probes = 0
            self.move(link, LinkEvent.DECLINED, "not ready", now_s, out)
        elif state is SUSPECT and link.cause_class == PROBE_CAUSE:
            self.move(link, LinkEvent.HEARD, "a probe was answered", now_s, out)
        elif state is DOWN:
            if probe.sent_s < link.since_s:
                return  # asked before it was lost
            self.move(link, LinkEvent.PROBED, "a probe was answered", now_s, out)
            self._ask_again(link, now_s, out)
        elif state is PROBING:
            link.good_probes += 1
            link.payload_proven = link.payload_proven or probe.payload_bytes > 0
            self._prove(link, now_s, out)

    def probe_failed(self, probe: Probe, now_s: float, out: list[Instruction], *, refused: bool) -> None:
        """A probe found nobody, or nothing came of it in its time."""
        link = probe.link
        link.failed_probes += 1
        state = link.state
        if link.left and refused:
            return  # it takes no new connections any more, and finishes what it has
        if state is PROBING:
            # One that was sent into the outage says nothing of now.
            if probe.sent_s >= link.since_s:
                link.good_probes = 0
                self.move(link, LinkEvent.SILENT, "a probe failed", now_s, out)
        elif state is UP and link.last_heard_s <= probe.sent_s:
            if refused and not link.in_flight:
                self.move(link, LinkEvent.BROKEN, "connections are refused", now_s, out)
            else:
                link.cause_class = PROBE_CAUSE
                self.move(link, LinkEvent.OVERDUE, "a probe failed", now_s, out)
        elif state in {SUSPECT, RAMP} and refused:
            self.move(link, LinkEvent.BROKEN, "connections are refused", now_s, out)

    # --- states ---

    def _suspected(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        link.note_payload()
        link.selective = now_s - link.returned_s < _FORGIVEN_AGAIN_S
        self.probe(link, 0, now_s, out, fresh=True)
        # What was cut may have been cut for others too: what is sent to them now is soon known to be in vain.
        for other in self._requests.others(link):
            if other.state is UP and not other.probes and now_s - other.last_heard_s > self._settings.overdue_floor_s:
                self.probe(other, 0, now_s, out, fresh=False)
        self._requests.rescue(link, now_s, out)

    def _lost(self, link: Link, before: LinkState, now_s: float, out: list[Instruction], *, declined: bool) -> None:
        link.good_probes = 0
        link.errors = 0
        link.resets = 0
        link.limiter.reset(now_s)
        link.answers = declined or "slow" in link.why
        if before is not PROBING:
            link.hold.failed_over(now_s, self._draws())
        if before is UP:
            link.cause_class = 0
            link.note_payload()
        self._ask_later(link, now_s)
        if declined:
            # The site is alive: it finishes what it has.
            self._requests.move_queue(link, now_s, out)
        else:
            self._requests.give_up(link, now_s, out)
            out.append(CloseConnections(link))

    def _ramp(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        # From here on a loss is a flap: the first request that is lost on the ramp is one too many.
        link.hold.failed_back(now_s)
        link.ramp_step = 0
        link.ramp_judged = 0
        link.ramp_since_s = now_s
        # The first request of each step goes, so that a step without much traffic has a request to be judged by.
        link.ramp_credit = 1.0
        link.ramp_sent = link.ramp_answered = 0
        self._warm_step(link, 0, out)

    def _warm(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Have the connections of before again, the first of them fit for what the ramp begins with."""
        link.warmed_s = now_s
        self._warm_step(link, -1, out)
        out.append(warming.open_again(link))

    def _warm_step(self, link: Link, step: int, out: list[Instruction]) -> None:
        warm = warming.warm_step(link, step, self._settings)
        if warm is not None:
            out.append(warm)

    def _watch_ramp(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        if link.in_flight and self._look_for_silence(link, now_s, out):
            return
        settings = self._settings
        slow = link.slow
        if slow is not None and link.ramp_judged >= _ANSWERS_TO_JUDGE:
            link.slow = None
            if slow.latency.recently(now_s) > slow.slow_trip_s * link.slow_patience:
                link.slow = slow
                link.slow_patience *= 2.0
                self.move(link, LinkEvent.OVERDUE, "still slow", now_s, out)
                return
        if now_s - link.ramp_since_s < warming.step_s(link, settings):
            return
        if link.ramp_sent and not link.ramp_answered and link.in_flight:
            return
        last = link.ramp_step == len(settings.ramp_shares) - 1
        if last and link.slow is not None and now_s - link.ramp_since_s < _JUDGED_WITHIN_S:
            return  # not before it has been judged, unless there is hardly anything to judge it by
        link.ramp_step += 1
        link.ramp_since_s = now_s
        link.ramp_credit = 1.0
        # Each step has to be answered for itself: what was sent in the last one may have come before a new cut.
        link.ramp_sent = link.ramp_answered = 0
        if link.ramp_step == len(settings.ramp_shares):
            self.move(link, LinkEvent.CARRIED, "it carries everything again", now_s, out)
        else:
            self._warm_step(link, link.ramp_step, out)

    def _slow(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        path, link.slow = link.slow, None
        if path is None or not is_quicker_elsewhere(link, path, self._requests.others(link), now_s):
            return
        path.slow_trip_s = path.slow_s
        link.cause_class = 0
        self.move(link, LinkEvent.OVERDUE, "slow", now_s, out)
        link.slow = path
        # There is no doubt to be resolved: answers come, and late.
        self.move(link, LinkEvent.SILENT, "slow", now_s, out)

    def _ask_while_idle(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        if link.probes:
            if link.probe_is_overdue(now_s) and link.last_heard_s <= next(iter(link.probes)).sent_s:
                link.cause_class = PROBE_CAUSE
                self.move(link, LinkEvent.OVERDUE, "a probe is overdue", now_s, out)
        elif now_s - max(link.last_heard_s, link.next_probe_s) >= self._settings.idle_probe_s * (
            _ASK_SOONER if link.in_flight else 1.0
        ):
            link.next_probe_s = now_s
            self.probe(link, 0, now_s, out, fresh=False)

    def _ask_again(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        self._ask_later(link, now_s)
        if link.state is DOWN:
            if len(link.probes) < _MOST_PROBES:
                self.probe(link, 0, now_s, out, fresh=True)
            return
        payload_bytes = warming.payload_bytes(link, self._settings)
        if payload_bytes and not link.payload_proven:
            if not any(probe.payload_bytes for probe in link.probes):
                self.probe(link, payload_bytes, now_s, out, fresh=False)
        elif len(link.probes) < _MOST_PROBES:
            self.probe(link, 0, now_s, out, fresh=False)
        if link.good_probes + len(link.probes) < self._settings.good_probes:
            self.probe(link, 0, now_s, out, fresh=False)
        self._prove(link, now_s, out)

    def _ask_later(self, link: Link, now_s: float) -> None:
        link.next_probe_s = now_s + self._settings.probe_interval_s * (0.9 + 0.2 * self._draws())

    def _prove(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        hold = link.hold
        if now_s < hold.until_s or (hold.flapping and now_s - link.good_since_s < hold.hold_s):
            return
        if link.good_probes < self._settings.good_probes:
            return
        payload_bytes = warming.payload_bytes(link, self._settings)
        # What was silent altogether proves itself on the ramp.
        doubtful = payload_bytes > 0 and (link.selective or hold.flapping)
        if now_s - link.warmed_s > _WARM_LASTS_S:
            # Connections that were idle have become cold, and the proof may be as old.
            self._warm(link, now_s, out)
            if doubtful and payload_bytes >= warming.COLD_BYTES:
                link.payload_proven = False
                self.probe(link, payload_bytes, now_s, out, fresh=False)
        if doubtful and not link.payload_proven:
            return
        ready_s = link.warmed_s + warming.warming_s(link, self._settings)
        if now_s < ready_s:
            # The first request would meet a cold connection, and the first step wait for it.
            link.next_probe_s = min(link.next_probe_s, ready_s)
            return
        self.move(link, LinkEvent.PROVEN, "probes are answered", now_s, out)
