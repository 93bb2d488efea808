"""What waits: for room at a site, for a slow answer, for the end of its time."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from edgewise.core.errors import UnavailableError
from edgewise.core.routing.budgets import HedgeBudget, RetryBudget
from edgewise.core.routing.calls import Attempt, Instruction, Reason, Request, SiteSpec
from edgewise.core.routing.dispatch import FRESH_S, MARGIN_S, TOO_BUSY, may_share_fate, passed_over
from edgewise.core.routing.endings import Endings
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.settings import RouterSettings

_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP
_NEVER_S: Final = float("inf")
_OTHER_MODELS: Final = "*"
_TIMERS_UNCHECKED: Final = 1024
# A slow attempt that nobody waits for is left alone a little longer than it takes to be held against its link.
_WITNESS: Final = 1.2
# What waits at one site while another one has room is looked at so often.
_MOVED_EACH_S: Final = 0.05
# Of the time that was left when an attempt was sent: it is not waited for any longer without asking somebody else.
_PATIENCE: Final = 0.5
# Of that part: the next site is given so much at least, however quick it is.
_LEAST_CHANCE: Final = 0.2
# Last chances a request, and each second besides: when everything is slow, asking twice makes it worse.
_CHANCES_RATIO: Final = 0.5
_CHANCES_PER_S: Final = 20.0
# Of the time that is left: when a site could not be found, one is looked for again.
_AGAIN: Final = 0.25


class Waiting(Endings):
    """Looks after requests that wait: hedges, rescues, expires them. Arguments as of `Dispatcher`."""

    def __init__(
        self, sites: Sequence[SiteSpec], *, now_s: float, draws: Callable[[], float], settings: RouterSettings
    ) -> None:
        super().__init__(sites, now_s=now_s, draws=draws, settings=settings)
        self._grain_s = settings.grain_s
        self._fresh: deque[Request] = deque()
        self._hedges: dict[str, HedgeBudget] = {}
        self._hedges_kept: dict[str, float] = {}
        self._timers_checked_at = _TIMERS_UNCHECKED
        self._moved_s = now_s
        self._chances = RetryBudget(_CHANCES_RATIO, _CHANCES_PER_S)
        self._chances_counted = 0

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
            else:
                self._rescue(attempt, now_s, out, last_resort=False)
        self.move_queue(link, now_s, out)

    def _rescue(self, attempt: Attempt, now_s: float, out: list[Instruction], *, last_resort: bool) -> bool:
        """Send a request to another site too, or instead where it may not run twice and has not left yet."""
        request = attempt.request
        if request.idempotent:
            return self._dispatch(request, Reason.RESCUE, now_s, out, last_resort=last_resort, lost=attempt)
        told = len(out)
        if not attempt.unsent or not self._dispatch(
            request, Reason.RESCUE, now_s, out, last_resort=last_resort, lost=attempt
        ):
            return False
        request.running.remove(attempt)
        self._cancel(attempt, out)
        out.insert(told, out.pop())
        return True

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
            if not attempt.wanted or request.done or request.queued_at is not None:
                continue
            running = request.running
            if running[-1] is not attempt or any(
                other is not attempt and other.link.state is not LinkState.DOWN for other in running
            ):
                continue
            silent = link.state is LinkState.DOWN and not link.answers
            waited = silent and now_s - max(link.since_s, attempt.sent_s) > self.settings.kept_s
            # Another site may have come back that it has been to already, or is as good as back.
            request.tried = tuple(other.link for other in running)
            if self._rescue(attempt, now_s, out, last_resort=True):
                continue
            if waited and request.kept is not None:
                self._answer_with(request.kept, now_s, out)
            elif waited:
                self._reject(request, self._why_lost(request, now_s), out)
                self._drop_running(request, None, out, now_s)

    # --- room ---

    def _fill(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Send what waits at a link, as far as there is room."""
        queue = link.queue
        if not queue:
            return
        usable = link.state is not LinkState.DOWN or link.answers
        while queue and len(link.in_flight) < link.limit:
            _, _, request, reason = heapq.heappop(queue)
            if request.done or request.queued_at is not link:
                continue
            request.queued_at = None
            path = link.path(request.model, request.size_class)
            left_s = request.deadline_s - now_s
            # The most urgent comes first: if every second one came too late, the site would work for nobody.
            if usable and (path.too_slow(left_s, now_s) or (path.known and left_s < path.late_s)):
                self._shed(request, link, reason, now_s, out)
            elif usable:
                out.append(self._attempt(request, link, reason, now_s))
                heapq.heappush(self._timers, (now_s + FRESH_S, request.key, request))
            elif not request.running and not self._dispatch(request, reason, now_s, out):
                self._reject(request, self._why_not(request, now_s), out)
        link.note_pace(now_s)

    def _shed(self, request: Request, link: Link, reason: Reason, now_s: float, out: list[Instruction]) -> None:
        """There is room at last, and not enough time: rather none than a late answer."""
        if request.running or self._dispatch(request, reason, now_s, out, last_resort=False):
            return
        self._reject(
            request,
            UnavailableError(TOO_BUSY, retry_after_s=max(self.settings.retry_after_s, link.expected_wait_s(now_s))),
            out,
        )

    def move_queue(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Let what waits at a link that was lost wait elsewhere."""
        waiting, link.queue = link.queue, []
        link.note_pace(now_s)
        for _, _, request, reason in sorted(waiting, key=lambda entry: entry[:2]):
            if request.done or request.queued_at is not link:
                continue
            request.queued_at = None
            suspect = link.state is LinkState.SUSPECT and not link.left
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
        link.note_pace(now_s)

    # --- time ---

    def _look_at_requests(self, now_s: float, out: list[Instruction]) -> None:
        fresh = self._fresh
        old_s = now_s - FRESH_S
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
        """Expire a request that has not been answered, send it to another site too, or say when to look again."""
        if now_s >= request.deadline_s - (MARGIN_S if request.kept is not None else 0.0):
            self._expire(request, now_s, out)
            return
        next_s = request.deadline_s
        running = request.running
        if running and request.queued_at is None and (request.idempotent or running[-1].unsent):
            next_s = min(next_s, max(self._ask_also(request, now_s, out), now_s + self._grain_s))
        if next_s < _NEVER_S:
            heapq.heappush(self._timers, (next_s, request.key, request))

    def _ask_also(self, request: Request, now_s: float, out: list[Instruction]) -> float:
        """Send a request to a second site when the first is slow, and to one more before it is too late.

        Returns: when to look again.
        """
        attempt = request.running[-1]
        path = attempt.path
        hedge_s = _NEVER_S
        if not request.hedged and len(request.running) == 1 and request.idempotent:
            if attempt.link.state is _RAMP:
                hedge_s = attempt.sent_s + max(path.latency.q95, self.settings.hedge_floor_s)
            elif path.known:
                hedge_s = attempt.sent_s + path.hedge_s
            if hedge_s <= now_s:
                request.hedged = True
                self._hedge(request, attempt, now_s, out)
                return now_s + FRESH_S
        link = self._next_site(request, attempt, now_s)
        chance_s = self._last_chance_s(request, attempt, link)
        if chance_s > now_s:
            return min(hedge_s, chance_s)
        again_s = min(hedge_s, now_s + _AGAIN * (request.deadline_s - now_s))
        if link is None or not (attempt.link.state is _RAMP or self._may_have_a_chance(now_s)):
            return again_s
        for lost in [lost for lost in request.running if lost.link is link or not request.idempotent]:
            # The site was lost and is back; what it had got is not. Or it has not left and may not run twice.
            request.running.remove(lost)
            self._cancel(lost, out)
        out.append(self._attempt(request, link, Reason.RESCUE, now_s))
        return now_s + FRESH_S

    def _may_have_a_chance(self, now_s: float) -> bool:
        """Whether the budget of last chances allows one more; only now are the requests counted that fill it."""
        self._chances.requests_seen(self._number - self._chances_counted, now_s)
        self._chances_counted = self._number
        return self._chances.take(now_s)

    def _next_site(self, request: Request, attempt: Attempt, now_s: float) -> Link | None:
        """Where else a request can go that is not answered: a link that is up, or as good as back, and has room."""
        left_s = request.deadline_s - now_s
        second: Link | None = None
        doubtful: Link | None = None
        for link in request.order:
            state = link.state
            up = state is _UP
            if link.left or not (up or state is _RAMP or self._is_as_good_as_back(link)):
                continue
            if link in request.tried and link.since_s <= attempt.sent_s and not passed_over(attempt, link):
                continue
            # Where it is already it takes its own place.
            if attempt.link is link:
                if len(link.in_flight) > link.limit:
                    continue
            elif link.queue or len(link.in_flight) >= link.limit:
                continue
            if (
                up
                and link not in request.tried
                and not link.path(request.model, request.size_class).too_slow(left_s, now_s)
            ):
                if not may_share_fate(link, attempt):
                    return link
                doubtful = doubtful or link
            second = second or link
        return doubtful or second

    @staticmethod
    def _last_chance_s(request: Request, attempt: Attempt, link: Link | None) -> float:
        """When a request that has not been answered has to go to another site, so that this one has the time to answer.

        In time for the other site, or as soon as the attempt has taken half of what was left and is overdue; not before the
        answer is late, as far as that is known and would not be too late.
        """
        path = attempt.path
        sent_s = attempt.sent_s
        half_s = _PATIENCE * (request.deadline_s - sent_s)
        needs_s = half_s
        if link is not None:
            latency = link.path(request.model, request.size_class).latency
            if latency.count:
                # Its connection may have to be made first, and it may not be the last site that is asked.
                needs_s = max(2.0 * latency.q99 + link.probe_latency.q50, _LEAST_CHANCE * half_s)
                needs_s = min(needs_s, max(latency.q50, half_s))
        latest_s = request.deadline_s - needs_s - MARGIN_S
        if not path.known:
            return min(sent_s + half_s, latest_s)
        late_s = sent_s + path.late_s
        if late_s > request.deadline_s - _PATIENCE * needs_s:
            late_s = min(sent_s + path.latency.q50, latest_s)
        chance_s = max(min(sent_s + max(half_s, path.overdue_s), latest_s), late_s)
        if link is attempt.link and link.since_s > sent_s:
            # It was lost and came back: an answer that was under way would be here by now.
            chance_s = min(chance_s, link.since_s + path.late_s)
        return chance_s

    def _hedge(self, request: Request, attempt: Attempt, now_s: float, out: list[Instruction]) -> None:
        if attempt.link.state is _RAMP:
            self._dispatch(request, Reason.RAMP, now_s, out, last_resort=False, lost=attempt)
            return
        chosen: Link | None = None
        for link in request.order:
            if link.state is not _UP or link in request.tried or link.left:
                continue
            free = not link.queue and len(link.in_flight) < link.limit
            doubtful = may_share_fate(link, attempt)
            if free and (chosen is None or not doubtful):
                chosen = link
            if not link.peers or (free and not doubtful):
                break
        if chosen is not None and self._budget(request).take():
            out.append(self._attempt(request, chosen, Reason.HEDGE, now_s))

    # --- other queues ---

    def _move_waiting(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Let what waits at a link go where there is room by now."""
        if now_s < self._moved_s + _MOVED_EACH_S and now_s >= self._moved_s:
            return
        self._moved_s = now_s
        free = {
            other: None
            for other in self.others(link)
            if other.state is _UP and not other.queue and len(other.in_flight) < other.limit
        }
        if not free:
            return
        for _, _, request, reason in sorted(link.queue, key=lambda entry: entry[:2]):
            if request.done or request.queued_at is not link:
                continue
            for other in request.order:
                if other in free and other not in request.tried and not self._is_unlikely(other, request, now_s):
                    request.queued_at = None
                    out.append(self._attempt(request, other, reason, now_s))
                    heapq.heappush(self._timers, (now_s + FRESH_S, request.key, request))
                    if len(other.in_flight) >= other.limit:
                        del free[other]
                    break
            if not free:
                return

    def _budget(self, request: Request) -> HedgeBudget:
        """The hedge budget of the request's model; models beyond the limit share one."""
        hedges = self._hedges
        model = request.model
        if model not in hedges and len(hedges) >= self.settings.max_models:
            model = _OTHER_MODELS
        budget = hedges.get(model)
        if budget is None:
            budget = hedges[model] = HedgeBudget(request.route.hedge_ratio, tokens=self._hedges_kept.get(model))
        return budget

    def _keep_hedges(self) -> None:
        """Routes may be others from now on; what models have earned and spent stays."""
        kept = self._hedges_kept
        kept.update((model, budget.tokens) for model, budget in self._hedges.items())
        for model in list(kept)[: -self.settings.max_models - 1]:
            del kept[model]
        self._hedges.clear()

    def _drop_old_witnesses(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        for attempt in [attempt for attempt in link.in_flight if not attempt.wanted]:
            path = attempt.path
            longest_s = _WITNESS * path.overdue_s if path.known else self.settings.suspect_s
            if link.state is _RAMP:
                # Without an answer the ramp does not go on.
                longest_s = longest_s + path.latency.q50 if path.known else self.settings.unknown_latency_s
            elif link.state is _UP and attempt.sent_s < link.since_s:
                # The link was suspect and came back: what does not come back with it is lost, and must not be run later.
                patience_s = min(path.late_s, self.settings.suspect_s)
                longest_s = min(longest_s, link.since_s - attempt.sent_s + patience_s)
            if now_s - attempt.sent_s > longest_s or now_s >= attempt.request.deadline_s:
                if link.state is _UP:
                    # It took at least this long, which is more than not knowing.
                    path.record(now_s - attempt.sent_s, now_s)
                self._cancel(attempt, out)
