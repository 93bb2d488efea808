"""The gateway's view of the way to one site: what is in flight there, what has been heard, and whether to believe in it.

Evidence is of three kinds. *Silence*: nothing at all came since an attempt was sent that is overdue by now, or attempts
that should have been answered by now are so many that chance does not explain it. *Unanswered*: some bytes come, but of
the answers that are due none does (a site that is half dead, a path that swallows large packets). *Broken*: connections are refused or reset, or every answer
blames the site.
"""

import heapq
from collections.abc import Iterable
from typing import Any, Final

from edgewise.core.routing.budgets import HoldDown
from edgewise.core.routing.calls import SIZE_CLASSES, Attempt, Probe, Request, SiteSpec
from edgewise.core.routing.concurrency import ConcurrencyLimit
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.path import Path
from edgewise.core.routing.quantiles import LatencyQuantiles
from edgewise.core.routing.settings import RouterSettings

# What one stall taught is forgotten by half in this time.
_STALL_HALF_LIFE_S: Final = 600.0
_MOST_STALL_EVIDENCE: Final = 60.0
_FEW_PROBES: Final = 8
# Grains of time: a link that is asked or in doubt, and has nothing in flight.
_LOOKED_AT_EACH: Final = 4
# The pace of a queue is known after this long, and remembered for that long.
_PACE_AFTER_S: Final = 0.05
_PACE_LASTS_S: Final = 5.0
# A queue that stays is measured anew so often, and believed after so many round trips.
_PACE_WINDOW_S: Final = 2.0
_PACE_ROUND_TRIPS: Final = 4.0
_OTHER_MODELS: Final = "*"
# With its jitter no less than 10 s, so that traffic switches at most once in 10 s.
_FLAP_S: Final = 11.2
_CLOUD_IN_FLIGHT: Final = 256
_EDGE_IN_FLIGHT: Final = 64


class Link:
    """The way to one site, or to one endpoint of a site that has several.

    Attributes:
        spec, name, tier: of the site or endpoint.
        site: name of the site; links of one site and tier are equals.
        peers: all links of its site, itself included; empty where it is the only one.
        left: it is no part of the configuration any more: it finishes what it has, and gets nothing new.
        state, since_s, why: what it is taken for, since when and for what reason.
        in_flight: open attempts in the order in which they were sent.
        queue: heap of (deadline_s, number, request, reason): what waits for room.
        drained: answers since something has been waiting.
        last_heard_s: when any byte last came, of a probe too.
        witnesses: open attempts that nobody waits for.
        answers: it was given up for what it answers, not because nothing comes.
        selective: something was heard while it was suspect, or is heard late: it may pass small things only.
        hold: how long a lost link is kept from coming back.
        stall_evidence: how unlikely the longest silence was that was none, in nats.
    """

    def __init__(self, spec: SiteSpec, settings: RouterSettings, now_s: float) -> None:
        self.spec = spec
        self.name = spec.name
        self.tier = spec.tier
        self.site = spec.site or spec.name
        self.peers: tuple[Link, ...] = ()
        self.left = False
        self.settings = settings
        self.state = LinkState.UP
        self.since_s = now_s
        self.why = "start"
        self.in_flight: dict[Attempt, None] = {}
        self.in_flight_of_class = [0] * SIZE_CLASSES
        self.answered_s = [now_s] * SIZE_CLASSES
        self.queue: list[tuple[float, int, Request, Any]] = []
        self.last_heard_s = now_s
        self.witnesses = 0
        self.limiter = _limiter(spec)
        self.drained = 0
        self._full_since_s = now_s
        self._pace_per_s = 0.0
        self._pace_s = float("-inf")
        self.hold = HoldDown(flap_s=_FLAP_S)
        self.queue_depth = 0
        self.errors = self.resets = 0
        self.missing: dict[str, float] = {}
        self.slow: Path | None = None
        self.slow_patience = 1.0
        self.cause_class = 0
        self.returned_s = float("-inf")
        self.forgiven = 0
        self.answers = True
        self.selective = False
        self.peak_in_flight = 0.0
        self.payload_bytes = 0
        self.mean_payload_bytes = 0.0
        # Probes.
        self.probes: dict[Probe, None] = {}
        self.probe_latency = LatencyQuantiles(settings.half_life_s)
        self.next_probe_s = now_s
        self.failed_probes = 0
        self.good_probes = 0
        self.good_since_s = now_s
        self.payload_proven = False
        # Ramp.
        self.ramp_step = 0
        self.ramp_since_s = now_s
        self.ramp_credit = 0.0
        self.ramp_sent = self.ramp_answered = self.ramp_judged = 0
        self.warmed_s = float("-inf")
        self._paths: dict[str, list[Path | None]] = {}
        self.stall_evidence = 0.0
        self._stall_s = now_s

    def respecify(self, spec: SiteSpec) -> None:
        """Take the site as it is configured now; what is known of it stays."""
        if spec.max_in_flight != self.spec.max_in_flight:
            self.limiter = _limiter(spec)
        self.spec = spec
        self.site = spec.site or spec.name

    def is_equal(self, other: "Link") -> bool:
        """Whether both are endpoints of the same site."""
        return self.site == other.site and self.tier == other.tier

    def learn_from(self, equals: "Iterable[Link]") -> None:
        """Begin with what other endpoints of the site are known for: that of the one which is in use for longest."""
        known = min(
            (link for link in equals if link.state is LinkState.UP and link.is_equal(self)),
            key=lambda link: link.since_s,
            default=None,
        )
        if known is None:
            return
        self.probe_latency.believe(known.probe_latency)
        for model, size_class, path in known.paths():
            if path.known:
                self.path(model, size_class).believe(path)

    # --- what is known ---

    def path(self, model: str, size_class: int) -> Path:
        """What is known of a model and size class; models beyond the limit share one."""
        paths = self._paths.get(model)
        if paths is None:
            if len(self._paths) >= self.settings.max_models and not self._forget_unanswered():
                model = _OTHER_MODELS
            paths = self._paths.setdefault(model, [None] * SIZE_CLASSES)
        path = paths[size_class]
        if path is None:
            path = paths[size_class] = Path(self.settings)
            if self.peers:
                self._believe(path, model, size_class)
        return path

    def _believe(self, path: Path, model: str, size_class: int) -> None:
        """Begin with what is known of the site's other endpoints, from the one that has answered the most."""
        best: Path | None = None
        for link in self.peers:
            paths = link._paths.get(model)  # noqa: SLF001 - of its own kind
            known = paths[size_class] if paths is not None else None
            if known is not None and known.known and (best is None or known.latency.count > best.latency.count):
                best = known
        if best is not None:
            path.believe(best)

    def _forget_unanswered(self) -> bool:
        """Make room where names were asked for that no site has answered for."""
        unanswered = [
            model
            for model, paths in self._paths.items()
            if not any(path is not None and path.latency.count for path in paths)
        ]
        for model in unanswered:
            del self._paths[model]
        return bool(unanswered)

    def paths(self) -> Iterable[tuple[str, int, Path]]:
        """Everything learned: model, size class, path."""
        for model, paths in self._paths.items():
            for size_class, path in enumerate(paths):
                if path is not None:
                    yield model, size_class, path

    @property
    def limit(self) -> int:
        """How many attempts may be in flight."""
        return self.limiter.limit

    def enqueue(self, request: Request, reason: Any, now_s: float) -> None:
        """Let a request wait for room; the most urgent one is first."""
        if not self.queue:
            self._full_since_s = now_s
            self.drained = 0
        self.limiter.waited_for(now_s)
        heapq.heappush(self.queue, (request.deadline_s, request.key, request, reason))

    def note_pace(self, now_s: float) -> None:
        """The queue has become empty, or is an old one: remember how quickly it went."""
        if not self.queue:
            self.limiter.waited_for_no_more()
        full_s = now_s - self._full_since_s
        if full_s >= _PACE_AFTER_S and (not self.queue or full_s >= _PACE_WINDOW_S):
            self._pace_per_s = self.drained / full_s
            self._pace_s = self._full_since_s = now_s
            self.drained = 0

    def expected_wait_s(self, now_s: float) -> float:
        """How long a request that is queued now would wait for room; 0 while nothing is known of the pace.

        Only what was answered while something waited says how much the site can do.
        """
        queued = len(self.queue)
        full_s = now_s - self._full_since_s
        latency_s = self.limiter.latency_s or self.probe_latency.q50
        if queued and full_s >= max(_PACE_AFTER_S, _PACE_ROUND_TRIPS * latency_s):
            pace_per_s = self.drained / full_s
            return (queued + 1) / pace_per_s if pace_per_s > 0.0 else full_s
        # What was sent last is not back yet. By Little's law.
        pace_per_s = len(self.in_flight) / latency_s if latency_s > 0.0 else 0.0
        if now_s - self._pace_s < _PACE_LASTS_S:
            pace_per_s = max(pace_per_s, self._pace_per_s)
        return (queued + 1) / pace_per_s if queued and pace_per_s > 0.0 else 0.0

    def note_payload(self) -> None:
        """Remember how large requests in flight are, the largest and on average, for probes of that size."""
        sizes = [attempt.request.size_bytes for attempt in self.in_flight]
        self.payload_bytes = max(sizes, default=0)
        self.mean_payload_bytes = sum(sizes) / max(1, len(sizes))

    def typical_s(self) -> float:
        """How long answers take at most, nearly always; 0 while nothing is known."""
        return max((path.latency.q99 for _, _, path in self.paths() if path.known), default=self.probe_latency.q99)

    def usual_s(self) -> float:
        """How long answers take as a rule; 0 while nothing is known."""
        return max((path.latency.q50 for _, _, path in self.paths() if path.known), default=self.probe_latency.q50)

    # --- evidence ---

    def overdue(self, now_s: float) -> str:
        """Why the link is to be suspected; "" when there is no reason."""
        floor_s = now_s - self.settings.overdue_floor_s
        answered_s = self.answered_s
        latest_s = 0.0
        for size_class in range(SIZE_CLASSES - 1, -1, -1):
            # An answer to a large request proves the way for smaller ones too.
            latest_s = max(latest_s, answered_s[size_class])
            if self.in_flight_of_class[size_class] and latest_s < floor_s:
                why = self._overdue_of(size_class, latest_s, now_s)
                if why:
                    self.cause_class = size_class
                    return why
        return ""

    def _overdue_of(self, size_class: int, latest_s: float, now_s: float) -> str:
        settings = self.settings
        ramping = self.state is LinkState.RAMP
        needed = 1 if ramping else settings.overdue_count
        back_s = self._back_s
        late = overdue = 0
        for attempt in self.in_flight:
            if attempt.request.size_class < size_class or attempt.uploading or attempt.sent_s < back_s:
                continue
            age_s = now_s - attempt.sent_s
            path = attempt.path
            if age_s > path.late_s:
                late += 1
            overdue_s = path.overdue_s
            if ramping:
                # A connection that has not been used for a while needs a round trip more. The request does not wait for it.
                overdue_s += path.latency.q50
            if age_s > overdue_s and attempt.sent_s >= latest_s:
                if self.last_heard_s <= attempt.sent_s:
                    return "silence"
                # Of a path that nothing is known of, an alive site may simply take long.
                overdue += path.known or age_s > settings.unknown_patience * path.overdue_s
                if overdue >= needed:
                    return "unanswered"
        if late >= settings.overdue_count - 1 and not ramping:
            threshold = max(settings.silence_evidence, 1.5 * self.stall_evidence)
            if self.silence_evidence(size_class, latest_s, now_s) > threshold:
                return "silence"
        return ""

    @property
    def _back_s(self) -> float:
        """What was sent before the ramp, or before its last step once that is over, belongs to the outage."""
        return self.since_s if self.state is LinkState.RAMP else self.ramp_since_s

    def silence_evidence(self, size_class: int, latest_s: float, now_s: float) -> float:
        """How unlikely it is that none of the attempts in flight was answered since `latest_s`, in nats.

        Attempts are taken to be independent, each with the distribution learned for its path: the sum over attempts of
        ln S(age then) - ln S(age now), where S(t) is the probability that an answer takes longer than t.
        """
        evidence = 0.0
        back_s = self._back_s
        for attempt in self.in_flight:
            sent_s = attempt.sent_s
            if attempt.request.size_class >= size_class and not attempt.uploading and sent_s >= back_s:
                latency = attempt.path.latency
                evidence -= latency.log_survival(now_s - sent_s)
                if latest_s > sent_s:
                    evidence += latency.log_survival(latest_s - sent_s)
        return evidence

    def forgive(self, seconds: float, now_s: float) -> None:
        """Nobody was looking for so long: let that time not have been, so that it is held against nobody."""
        for attempt in self.in_flight:
            # What has been sent or heard since is of now already.
            attempt.sent_s = min(attempt.sent_s + seconds, now_s)
        for probe in self.probes:
            probe.sent_s = min(probe.sent_s + seconds, now_s)
        self.answered_s = [min(answered_s + seconds, now_s) for answered_s in self.answered_s]
        self.last_heard_s = min(self.last_heard_s + seconds, now_s)
        self.since_s = min(self.since_s + seconds, now_s)

    def heard_after_silence(self, size_class: int, now_s: float) -> None:
        """Learn how long this link can be silent without being lost."""
        latest_s = max(self.answered_s[size_class:])
        evidence = min(_MOST_STALL_EVIDENCE, self.silence_evidence(size_class, latest_s, now_s))
        halvings = (now_s - self._stall_s) / _STALL_HALF_LIFE_S
        self.stall_evidence = max(evidence, self.stall_evidence * 0.5**halvings)
        self._stall_s = now_s

    def probe_is_overdue(self, now_s: float) -> bool:
        """Whether the oldest probe is later than probes of this link ever are."""
        for probe in self.probes:
            latency = self.probe_latency
            settings = self.settings
            if latency.count < _FEW_PROBES:
                limit_s = settings.unknown_latency_s
            else:
                limit_s = max(settings.overdue_factor * latency.q999, 2.0 * latency.q50, settings.overdue_floor_s)
            return not probe.payload_bytes and now_s - probe.sent_s > limit_s
        return False

    def next_look_s(self, now_s: float) -> float:
        """When it is to be looked at again although nothing happens there."""
        if self.state is LinkState.DOWN or self.state is LinkState.PROBING:
            return self.next_probe_s
        if self.state is not LinkState.UP or self.probes:
            return now_s + _LOOKED_AT_EACH * self.settings.grain_s
        return max(self.last_heard_s, self.next_probe_s) + self.settings.idle_probe_s

    # --- for people ---

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """The link as `/edgewise/v1/links` shows it; times in seconds."""
        return {
            "name": self.name,
            "site": self.site,
            "tier": self.tier,
            "state": self.state.value,
            "since_s": now_s - self.since_s,
            "why": self.why,
            "in_flight": len(self.in_flight),
            "limit": self.limit,
            "queue": len(self.queue),
            "hold_s": max(0.0, self.hold.until_s - now_s),
            "probe": self.probe_latency.snapshot(),
            "paths": [
                {"model": model, "size_class": size_class, **path.latency.snapshot()}
                for model, size_class, path in self.paths()
            ],
        }


def _limiter(spec: SiteSpec) -> ConcurrencyLimit:
    # Until it has learned: a cloud is many machines far away, an edge site is one machine near by, and so is an endpoint.
    many = spec.tier == "cloud" and spec.site in {"", spec.name}
    initial = _CLOUD_IN_FLIGHT if many else _EDGE_IN_FLIGHT
    return ConcurrencyLimit(
        spec.max_in_flight, initial=min(initial, spec.max_in_flight), smallest=min(2, spec.max_in_flight)
    )
