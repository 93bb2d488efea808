"""What waits: for room at a site, for a slow answer, for the end of its time."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from edgewise.core.errors import UnavailableError
from edgewise.core.routing.budgets import HedgeBudget
from edgewise.core.routing.calls import Instruction, Reason, Request, SiteSpec
from edgewise.core.routing.dispatch import MARGIN_S
from edgewise.core.routing.endings import Endings
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.settings import RouterSettings

_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP
_NEVER_S: Final = float("inf")
# Younger requests are most likely answered before anything about them has to be decided.
_FRESH_S: Final = 0.010
_OTHER_MODELS: Final = "*"
_TIMERS_UNCHECKED: Final = 1024
# A slow attempt that nobody waits for is left alone a little longer than it takes to be held against its link.
_WITNESS: Final = 1.2


class Waiting(Endings):
    """Looks after requests that wait: hedges, rescues, expires them. Arguments as of `Dispatcher`."""

    def __init__(
        self, sites: Sequence[SiteSpec], *, now_s: float, draws: Callable[[], float], settings: RouterSettings
    ) -> None:
        super().__init__(sites, now_s=now_s, draws=draws, settings=settings)
        self._grain_s = settings.grain_s
        self._fresh: deque[Request] = deque()
        self._hedges: dict[str, HedgeBudget] = {}
        self._timers_checked_at = _TIMERS_UNCHECKED

    # --- lost links ---

    def rescue(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Send what is in flight or queued at a link to other sites too, the most urgent first."""
        lost = [
            attempt
            for attempt in link.in_flight
            if not attempt.request.done
            and attempt.request.queued_at is None
            and not any(other.link.state is _UP for other in attempt.request.running)
        ]
        lost.sort(key=lambda attempt: (attempt.request.deadline_s, attempt.request.key))
        for attempt in lost:
            request = attempt.request
            if attempt.reason is Reason.CASCADE and request.kept is not None:
                self._answer_with(request.kept, now_s, out)
            elif request.idempotent:
                self._dispatch(request, Reason.RESCUE, now_s, out, last_resort=False)
        self.move_queue(link, now_s, out)

    def give_up(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Cancel what is in flight at a link, where somebody else can answer it."""
        self.rescue(link, now_s, out)
        for attempt in list(link.in_flight):
            request = attempt.request
            if request.done:
                self._cancel(attempt, out)
            elif len(request.running) > 1 or request.queued_at is not None:
                request.running.remove(attempt)
                request.seen = True
                self._cancel(attempt, out)

    def end_kept(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """What is still in flight at a link that is down had nobody else to answer it: look again, and not for ever."""
        for attempt in list(link.in_flight):
            request = attempt.request
            if not attempt.wanted or request.done or len(request.running) > 1 or request.queued_at is not None:
                continue
            waited = now_s - max(link.since_s, attempt.sent_s) > self.settings.kept_s
            # Another site may have come back that it has been to already, or is as good as back.
            request.tried = (link,)
            if request.idempotent and self._dispatch(request, Reason.RESCUE, now_s, out):
                continue
            if waited and request.kept is not None:
                self._answer_with(request.kept, now_s, out)
            elif waited:
                self._reject(request, self._why_lost(request, attempt, now_s), out)
                self._drop_running(request, None, out, now_s)

    # --- room ---

    def _fill(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Send what waits at a link, as far as there is room."""
        queue = link.queue
        if not queue:
            return
        usable = link.state in {_UP, _RAMP, LinkState.SUSPECT}
        while queue and len(link.in_flight) < link.limit:
            _, _, request, reason = heapq.heappop(queue)
            if request.done or request.queued_at is not link:
                continue
            request.queued_at = None
            if usable and link.path(request.model, request.size_class).too_slow(request.deadline_s - now_s, now_s):
                self._shed(request, link, reason, now_s, out)
            elif usable:
                out.append(self._attempt(request, link, reason, now_s))
                heapq.heappush(self._timers, (now_s + _FRESH_S, request.key, request))
            elif not request.running and not self._dispatch(request, reason, now_s, out):
                self._reject(request, self._why_not(request, now_s), out)
        if not queue:
            link.note_pace(now_s)

    def _shed(self, request: Request, link: Link, reason: Reason, now_s: float, out: list[Instruction]) -> None:
        """There is room at last, and not enough time: rather none than a late answer."""
        if request.running or self._dispatch(request, reason, now_s, out, last_resort=False):
            return
        self._reject(
            request,
            UnavailableError(
                f"{link.name} is too busy to answer in the time that is left; try again later",
                retry_after_s=max(self.settings.retry_after_s, link.expected_wait_s(now_s)),
            ),
            out,
        )

    def move_queue(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Let what waits at a link that was lost wait elsewhere."""
        waiting, link.queue = link.queue, []
        for _, _, request, reason in sorted(waiting, key=lambda entry: entry[:2]):
            if request.done or request.queued_at is not link:
                continue
            request.queued_at = None
            suspect = link.state is LinkState.SUSPECT
            if self._dispatch(request, reason, now_s, out, last_resort=not suspect):
                continue
            if suspect:
                # Nobody else can take it, and the link may yet prove to be alive.
                request.queued_at = link
                link.enqueue(request, reason, now_s)
            elif not request.running:
                self._reject(request, self._why_not(request, now_s), out)

    def _drop_expired(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        queue = link.queue
        while queue and (queue[0][0] <= now_s or queue[0][2].done or queue[0][2].queued_at is not link):
            request = heapq.heappop(queue)[2]
            if not request.done and request.queued_at is link:
                self._expire(request, now_s, out)

    # --- time ---

    def _look_at_requests(self, now_s: float, out: list[Instruction]) -> None:
        fresh = self._fresh
        old_s = now_s - _FRESH_S
        while fresh and (fresh[0].done or fresh[0].arrived_s <= old_s or fresh[0].deadline_s <= now_s):
            request = fresh.popleft()
            if not request.done:
                self._look_at(request, now_s, out)
        timers = self._timers
        if len(timers) > self._timers_checked_at:
            self._forget_timers()
            timers = self._timers
        while timers and timers[0][0] <= now_s:
            request = heapq.heappop(timers)[2]
            if not request.done:
                self._look_at(request, now_s, out)

    def _forget_timers(self) -> None:
        """Requests that are over wait for nothing; a deadline a day away must not keep them."""
        self._timers = [timer for timer in self._timers if not timer[2].done]
        heapq.heapify(self._timers)
        self._timers_checked_at = 2 * len(self._timers) + _TIMERS_UNCHECKED

    def _look_at(self, request: Request, now_s: float, out: list[Instruction]) -> None:
        """Expire or hedge a request that has not been answered, or say when to look again."""
        if now_s >= request.deadline_s - (MARGIN_S if request.kept is not None else 0.0):
            self._expire(request, now_s, out)
            return
        next_s = request.deadline_s
        if not request.hedged and request.idempotent:
            hedge_s = self._hedge_at_s(request)
            if hedge_s <= now_s:
                self._hedge(request, now_s, out)
            next_s = min(next_s, max(hedge_s, now_s + self._grain_s))
        if not request.done and next_s < _NEVER_S:
            heapq.heappush(self._timers, (next_s, request.key, request))

    def _hedge_at_s(self, request: Request) -> float:
        """When a request is to be sent to a second site; infinity for not (yet)."""
        running = request.running
        if len(running) != 1 or request.queued_at is not None:
            return _NEVER_S
        attempt = running[0]
        path = attempt.path
        if attempt.link.state is _RAMP:
            return attempt.sent_s + max(path.latency.q95, self.settings.hedge_floor_s)
        fallback = self._fallback(request)
        if fallback is None:
            return _NEVER_S
        after_s = attempt.sent_s + path.hedge_s if path.known else _NEVER_S
        answer_s = fallback.path(request.model, request.size_class).latency.q99
        return min(after_s, request.deadline_s - answer_s - MARGIN_S)

    def _hedge(self, request: Request, now_s: float, out: list[Instruction]) -> None:
        request.hedged = True
        attempt = request.running[0]
        if attempt.link.state is _RAMP:
            self._dispatch(request, Reason.RAMP, now_s, out, last_resort=False)
            return
        fallback = self._fallback(request)
        if fallback is None or fallback.queue or len(fallback.in_flight) >= fallback.limit:
            return
        if self._budget(request).take():
            out.append(self._attempt(request, fallback, Reason.HEDGE, now_s))

    def _budget(self, request: Request) -> HedgeBudget:
        """The hedge budget of the request's model; models beyond the limit share one."""
        hedges = self._hedges
        model = request.model
        if model not in hedges and len(hedges) >= self.settings.max_models:
            model = _OTHER_MODELS
        budget = hedges.get(model)
        if budget is None:
            budget = hedges[model] = HedgeBudget(request.route.hedge_ratio)
        return budget

    def _drop_old_witnesses(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        for attempt in [attempt for attempt in link.in_flight if not attempt.wanted]:
            path = attempt.path
            longest_s = _WITNESS * path.overdue_s if path.known else self.settings.suspect_s
            if link.state is _RAMP:
                longest_s += path.latency.q50
            if now_s - attempt.sent_s > longest_s or now_s >= attempt.request.deadline_s:
                if link.state is _UP:
                    # It took at least this long, which is more than not knowing.
                    path.record(now_s - attempt.sent_s, now_s)
                self._cancel(attempt, out)
