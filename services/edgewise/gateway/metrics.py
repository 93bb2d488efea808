"""What the gateway counts.

Everything is counted on the event loop in plain integers and turned into text when someone asks.
`received = answered + rejected + expired + failed + cancelled + in flight` holds at every moment.

The carrier calls `received`, `attempted`, `attempt_answered`, `attempt_failed`, `attempt_cancelled`, `link_changed` and,
once a request, one of `answered`, `rejected`, `cancelled`. A door calls `refused` for what never becomes a request.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from edgewise.core.errors import Code, EdgewiseError
from edgewise.core.routing.calls import Attempt, Failure, LinkChanged, Outcome, Reason, Request
from edgewise.net.distribution import Distribution

ANSWERED: Final = "answered"
REJECTED: Final = "rejected"
EXPIRED: Final = "expired"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
OUTCOMES: Final = (ANSWERED, REJECTED, EXPIRED, FAILED, CANCELLED)

OTHER_MODELS: Final = "other"
"""The label of models beyond the bound, and of names that no site has answered for."""

MAX_MODELS: Final = 200
MAX_CHANGES: Final = 50
DUPLICATING: Final = (Reason.HEDGE, Reason.RESCUE, Reason.RAMP)
"""Reasons for a second attempt while the first may still run."""

DURATION_BOUNDS_S: Final[tuple[float, ...]] = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
OVERHEAD_BOUNDS_S: Final[tuple[float, ...]] = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 1.0),
)

# What a site's answer means for the ledger when the app gets it, by `Outcome`.
_ANSWERS: Final = (ANSWERED, ANSWERED, REJECTED, FAILED, EXPIRED)


class SiteCounts:
    """What happened at one site.

    Attributes:
        attempts: by reason.
        answers: whole answers by `Outcome`, wanted or late.
        failures: attempts without an answer, by kind.
        cancelled: attempts that nobody needed any more.
        answered: requests whose answer to the app came from here; `answered_s`, `slowest_s`: their attempts' seconds
            together, and the longest since the last sample.
        changes: of the link's state, by the state it went to.
    """

    __slots__ = (
        "answered",
        "answered_s",
        "answers",
        "attempts",
        "cancelled",
        "changes",
        "failures",
        "slowest_s",
    )

    def __init__(self) -> None:
        self.attempts: dict[Reason, int] = dict.fromkeys(Reason, 0)
        self.answers: list[int] = [0] * len(Outcome)
        self.failures: dict[Failure, int] = dict.fromkeys(Failure, 0)
        self.cancelled = 0
        self.answered = 0
        self.answered_s = 0.0
        self.slowest_s = 0.0
        self.changes: dict[str, int] = {}


class _Answers:
    """Requests for one model that one site's answers ended.

    Attributes:
        outcomes: by `Outcome` of the answer.
        duration, duration_counts: seconds from a request's head to its answer, and its buckets.
        site: of the site in all.
    """

    __slots__ = ("duration", "duration_counts", "outcomes", "site")

    def __init__(self, site: SiteCounts) -> None:
        self.outcomes = [0] * len(Outcome)
        self.duration = Distribution(DURATION_BOUNDS_S)
        self.duration_counts = self.duration.counts
        self.site = site


class GatewayMetrics:
    """The gateway's numbers.

    Attributes:
        received_count: requests that arrived.
        overhead: seconds of answered requests outside the attempt that won.
        errors: requests without a site's answer, by code.
        degraded: answers that are not what their route prefers, by why.
        sites: counts by site.
        changes: the last changes of links, oldest first: (now_s, link, before, after, why); a link is named as in the router.
        endpoints: of sites whose endpoints are found, by site and "ready" or "leaving"; replaced as a whole.
        discovery_failures: looks for endpoints that failed, by site.
        readings: what to read when asked, by metric name, with a sentence for people; a name in `_total` counts up.
        on_link_changed: is told of each change as well; sibling processes are told by it.
    """

    def __init__(self) -> None:
        self.received_count = 0
        self.overhead = Distribution(OVERHEAD_BOUNDS_S)
        self._overhead_counts = self.overhead.counts
        self._answers: dict[tuple[str, str], _Answers] = {}
        self._unanswered: dict[tuple[str, str], int] = {}
        self.errors: dict[str, int] = {}
        self.degraded: dict[str, int] = {}
        self.sites: dict[str, SiteCounts] = {}
        self.changes: deque[tuple[float, str, str, str, str]] = deque(maxlen=MAX_CHANGES)
        self.endpoints: dict[str, dict[str, int]] = {}
        self.discovery_failures: dict[str, int] = {}
        self.readings: dict[str, tuple[str, Callable[[], float]]] = {}
        self.on_link_changed: Callable[[LinkChanged], None] | None = None
        self._models: set[str] = set()

    @property
    def in_flight(self) -> int:
        """Requests that have no answer yet."""
        return self.received_count - sum(self.outcomes.values())

    @property
    def requests(self) -> dict[tuple[str, str, str], int]:
        """Requests that ended, by model, site ("" for none) and how they ended."""
        found = {(model, "", ending): count for (model, ending), count in self._unanswered.items()}
        for (model, site), answers in self._answers.items():
            for ending, count in zip(_ANSWERS, answers.outcomes, strict=True):
                if count:
                    key = (model, site, ending)
                    found[key] = found.get(key, 0) + count
        return found

    @property
    def outcomes(self) -> dict[str, int]:
        """Requests by how they ended."""
        found = dict.fromkeys(OUTCOMES, 0)
        for (_, _, ending), count in self.requests.items():
            found[ending] += count
        return found

    @property
    def durations(self) -> dict[tuple[str, str], Distribution]:
        """Seconds from a request's head to its answer, by model and site."""
        return {key: answers.duration for key, answers in self._answers.items()}

    def name_models(self, names: Iterable[str]) -> None:
        """Give these models a label of their own, whatever comes."""
        self._models.update(names)

    def name_site(self, name: str) -> SiteCounts:
        """The counts of a site, made when it is new; those of a site that is taken away stay."""
        counts = self.sites.get(name)
        if counts is None:
            counts = self.sites[name] = SiteCounts()
        return counts

    # --- requests ---

    def received(self) -> None:
        """Count a request that arrived."""
        self.received_count += 1

    def refused(self, error: EdgewiseError) -> None:
        """Count what a door turned away before it became a request: no key, malformed."""
        self.received_count += 1
        self._end("", REJECTED)
        self._error(error)

    def answered(self, request: Request, attempt: Attempt, outcome: Outcome, answered_s: float) -> None:
        """Count a request whose app got a site's answer; call it when the answer has been handed on.

        Args:
            attempt: the one whose answer it is.
            outcome: what that answer means.
            answered_s: when it was whole.
        """
        key = (request.model, attempt.link.site)
        found = self._answers.get(key)
        if found is None:
            found = self._new_answers(key, outcome)
        found.outcomes[outcome] += 1
        counts = found.site
        took_s = answered_s - attempt.sent_s
        counts.answered += 1
        counts.answered_s += took_s
        if took_s > counts.slowest_s:  # noqa: PLR1730 - max() takes three times as long, for every request
            counts.slowest_s = took_s
        total_s = monotonic() - request.arrived_s
        found.duration_counts[bisect_left(DURATION_BOUNDS_S, total_s)] += 1
        found.duration.total += total_s
        over_s = total_s - took_s
        self._overhead_counts[bisect_left(OVERHEAD_BOUNDS_S, over_s)] += 1
        self.overhead.total += over_s
        if request.degraded:
            self.degraded[request.degraded] = self.degraded.get(request.degraded, 0) + 1

    def rejected(self, request: Request, error: EdgewiseError) -> None:
        """Count a request that got no site's answer: expired, refused before it was sent anywhere, or failed."""
        if error.code is Code.DEADLINE_EXCEEDED:
            ending = EXPIRED
        elif request.attempts:
            ending = FAILED
        else:
            ending = REJECTED
        self._end(request.model, ending)
        self._error(error)

    def cancelled(self, request: Request) -> None:
        """Count a request whose app went away before its answer."""
        self._end(request.model, CANCELLED)

    def _end(self, model: str, ending: str) -> None:
        if model and model not in self._models:
            model = OTHER_MODELS
        key = (model, ending)
        self._unanswered[key] = self._unanswered.get(key, 0) + 1

    def _error(self, error: EdgewiseError) -> None:
        code = error.code.value
        self.errors[code] = self.errors.get(code, 0) + 1

    def _new_answers(self, key: tuple[str, str], outcome: Outcome) -> "_Answers":
        """Where answers of a site for a model are counted, with other models where the name is not known."""
        model, site = key
        if model not in self._models:
            # A name is taken in once a site has answered for it, so that names made up by clients do not fill the bound.
            if outcome is Outcome.OK and len(self._models) < MAX_MODELS:
                self._models.add(model)
            else:
                key = (OTHER_MODELS, site)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = _Answers(self.name_site(site))
        return found

    # --- attempts and links ---

    def attempted(self, attempt: Attempt) -> None:
        """Count an attempt that is being sent."""
        self.sites[attempt.link.site].attempts[attempt.reason] += 1

    def attempt_answered(self, attempt: Attempt, outcome: Outcome) -> None:
        """Count a whole answer of a site, whether the app gets it or not."""
        self.sites[attempt.link.site].answers[outcome] += 1

    def attempt_failed(self, attempt: Attempt, failure: Failure) -> None:
        """Count an attempt that ended without an answer."""
        self.sites[attempt.link.site].failures[failure] += 1

    def attempt_cancelled(self, attempt: Attempt) -> None:
        """Count an attempt that was taken off the wire."""
        self.sites[attempt.link.site].cancelled += 1

    def link_changed(self, change: LinkChanged) -> None:
        """Count a link's change of state, and keep the last ones."""
        changes = self.name_site(change.link.site).changes
        changes[change.after] = changes.get(change.after, 0) + 1
        self.changes.append((change.now_s, change.link.name, str(change.before), str(change.after), change.why))
        if self.on_link_changed is not None:
            self.on_link_changed(change)

    def discovery_failed(self, site: str) -> None:
        """Count a look for a site's endpoints that failed."""
        self.discovery_failures[site] = self.discovery_failures.get(site, 0) + 1
