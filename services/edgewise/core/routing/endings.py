"""How a request ends: with a site's answer, with an error of the gateway's own, or asked once more elsewhere first."""

import heapq
from collections.abc import Callable, Sequence
from typing import Final

from edgewise.core.errors import DeadlineExceededError, EdgewiseError, UnavailableError
from edgewise.core.routing.budgets import RetryBudget
from edgewise.core.routing.calls import (
    Answer,
    Attempt,
    Cancel,
    Failure,
    Instruction,
    Outcome,
    Reason,
    Reject,
    Request,
    SiteSpec,
)
from edgewise.core.routing.dispatch import MARGIN_S, Dispatcher
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.order import EDGE
from edgewise.core.routing.routes import RouteKind
from edgewise.core.routing.settings import RouterSettings

_UP: Final = LinkState.UP
# A model that a site did not know is looked for elsewhere first for this long.
_MISSING_S: Final = 5.0
_MOST_MISSING: Final = 1000
_RACES: Final = frozenset({Reason.HEDGE, Reason.RESCUE, Reason.RAMP})
_DEGRADED: Final = {
    Reason.FIRST: "failover",
    Reason.HEDGE: "hedge",
    Reason.RESCUE: "rescue",
    Reason.RETRY: "retry",
    Reason.RAMP: "ramp",
    Reason.CASCADE: "cascade",
}


class Endings(Dispatcher):
    """Brings requests to their one end. Arguments as of `Dispatcher`."""

    def __init__(
        self, sites: Sequence[SiteSpec], *, now_s: float, draws: Callable[[], float], settings: RouterSettings
    ) -> None:
        super().__init__(sites, now_s=now_s, draws=draws, settings=settings)
        self._retries = RetryBudget()

    def _asks_further(self, attempt: Attempt, now_s: float, out: list[Instruction]) -> bool:
        """For `cascade`: whether an unsure answer of the edge is asked again in the cloud."""
        request = attempt.request
        route = request.route
        if (
            route.kind is not RouteKind.CASCADE
            or attempt.link.tier != EDGE
            or attempt.confidence is None
            or attempt.confidence >= route.confidence
            or request.running
            or not request.idempotent
        ):
            return False
        for link in request.order:
            if link.tier == EDGE or link in request.tried or link.state is not _UP or link.left:
                continue
            latency = link.path(request.model, request.size_class).latency
            if link.queue or len(link.in_flight) >= link.limit or now_s + latency.q95 + MARGIN_S > request.deadline_s:
                continue
            request.kept = attempt
            request.hedged = True
            out.append(self._attempt(request, link, Reason.CASCADE, now_s))
            heapq.heappush(self._timers, (request.deadline_s - MARGIN_S, request.key, request))
            return True
        return False

    def _refused(
        self, attempt: Attempt, outcome: Outcome, now_s: float, out: list[Instruction], retry_after_s: float | None
    ) -> None:
        """The site gave no answer of use: ask the next one, or pass on what it said."""
        request = attempt.request
        self._keep(attempt, outcome)
        # What still runs at a link that is in doubt is no reason to wait.
        if any(other.link.state is _UP for other in request.running) or request.queued_at is not None:
            return
        if outcome is Outcome.SITE_ERROR or (outcome is Outcome.OVERLOADED and retry_after_s is None):
            # Who says when to come back has not run it; anybody else may have.
            request.seen = True
        elif outcome is Outcome.NOT_SERVED:
            request.missing_at = None if request.pinned or not request.model else attempt.link
        allowed = (request.idempotent or not request.seen) and (
            outcome is not Outcome.SITE_ERROR or self._retries.take(now_s)
        )
        if allowed and self._dispatch(request, Reason.RETRY, now_s, out, everywhere=False):
            return
        if not request.running:
            self._answer_with(request.kept or attempt, now_s, out)

    @staticmethod
    def _keep(attempt: Attempt, outcome: Outcome) -> None:
        """Keep an answer in case no better one comes: the first, since the route preferred that site.

        That there is no such model is the least that can be said: another site may have it, and be ill.
        """
        request = attempt.request
        if request.kept is None or request.kept_outcome is Outcome.NOT_SERVED:
            request.kept = attempt
            request.kept_outcome = outcome

    def _resend(
        self, request: Request, attempt: Attempt, failure: Failure, now_s: float, out: list[Instruction]
    ) -> None:
        """An attempt was lost: the request goes to the next site, once more to the same one, or ends."""
        if attempt.reason is Reason.CASCADE and request.kept is not None:
            self._answer_with(request.kept, now_s, out)
            return
        if not request.idempotent and request.seen:
            self._reject(request, self._why_lost(request, now_s), out)
            return
        # A request that breaks each connection it comes over must not break all.
        everywhere = failure is not Failure.LOST
        if self._dispatch(request, Reason.RESCUE, now_s, out, lost=attempt, everywhere=everywhere):
            return
        if attempt.link.state is _UP and failure is Failure.LOST and attempt.reason is Reason.FIRST:
            # A kept-alive connection that the site had closed meanwhile says nothing of the site.
            request.tried = tuple(link for link in request.tried if link is not attempt.link)
            if self._dispatch(request, Reason.RETRY, now_s, out):
                return
        if request.kept is not None:
            self._answer_with(request.kept, now_s, out)
            return
        self._reject(request, self._why_lost(request, now_s), out)

    def _why_lost(self, request: Request, now_s: float) -> EdgewiseError:
        if request.idempotent:
            return self._why_not(request, now_s)
        return UnavailableError(
            "the connection to the model server was lost, and the request may have run; it is not idempotent, so it was not "
            "sent again: check whether it had its effect before you repeat it"
        )

    def _answer_with(self, attempt: Attempt, now_s: float, out: list[Instruction]) -> None:
        request = attempt.request
        request.done = True
        kept, request.kept = request.kept, None
        if kept is attempt and request.route.kind is RouteKind.CASCADE and request.attempts > 1:
            request.degraded = "cascade"
        elif attempt.reason is not Reason.CASCADE and attempt.link is not request.order[0]:
            request.degraded = degraded(attempt)
        if request.missing_at is not None and kept is not attempt:
            # Another site has what this one did not: look there first for a while.
            self._note_missing(request.missing_at, attempt.link, request.model, now_s)
        out.append(Answer(request, attempt))
        self._drop_running(request, attempt, out, now_s)

    def _reject(self, request: Request, error: EdgewiseError, out: list[Instruction]) -> None:
        request.done = True
        request.queued_at = None
        out.append(Reject(request, error))

    def _expire(self, request: Request, now_s: float, out: list[Instruction]) -> None:
        if request.kept is not None:
            self._answer_with(request.kept, now_s, out)
            return
        for attempt in request.running:
            if attempt.link.state in {_UP, LinkState.RAMP}:
                attempt.path.expired(now_s - attempt.sent_s, now_s)
        waited_ms = (now_s - request.arrived_s) * 1e3
        self._reject(
            request,
            DeadlineExceededError(f"no site answered within the deadline; the request waited {waited_ms:.0f} ms"),
            out,
        )
        self._drop_running(request, None, out, now_s)

    def _drop_running(self, request: Request, winner: Attempt | None, out: list[Instruction], now_s: float) -> None:
        """Let go of what runs for a request that is over.

        A slow attempt whose hedge won is left to finish: how long it took has to be learned, or the learned quantiles would only know
        the answers that were quick enough. One at a suspect link is a witness of whether the link is alive.
        """
        request.queued_at = None
        request.kept = None
        running, request.running = request.running, []
        for attempt in running:
            if attempt is winner or not attempt.open:
                continue
            link = attempt.link
            witness = winner is not None and attempt.number < winner.number and winner.reason in _RACES
            if witness and link.state is not LinkState.DOWN and now_s < request.deadline_s:
                attempt.wanted = False
                link.witnesses += 1
            else:
                self._cancel(attempt, out)

    def _close(self, attempt: Attempt) -> None:
        link = attempt.link
        attempt.open = False
        del link.in_flight[attempt]
        link.in_flight_of_class[attempt.request.size_class] -= 1
        if not attempt.wanted:
            link.witnesses -= 1

    def _cancel(self, attempt: Attempt, out: list[Instruction]) -> None:
        self._close(attempt)
        out.append(Cancel(attempt))

    @staticmethod
    def _note_missing(lacking: Link, having: Link, model: str, now_s: float) -> None:
        """A link lacks a model that another one has; the other endpoints of its site do too, unless one of them has it."""
        for link in (lacking,) if lacking.is_equal(having) else lacking.peers or (lacking,):
            if len(link.missing) >= _MOST_MISSING:
                link.missing.clear()
            link.missing[model] = now_s + _MISSING_S


def degraded(attempt: Attempt) -> str:
    """What the app is told when another site than the preferred one answers."""
    request = attempt.request
    preferred = request.order[0]
    link = attempt.link
    if attempt.reason is Reason.FIRST and link.is_equal(preferred):
        return ""  # another endpoint of the preferred site is as good
    if attempt.reason is not Reason.FIRST or preferred.state is not _UP or preferred.left:
        return _DEGRADED[attempt.reason]
    if request.model in preferred.missing and request.model:
        return "not-served"
    if preferred.path(request.model, request.size_class).least_s >= request.deadline_s - request.arrived_s:
        return "deadline"
    return "overload"
