"""A log of what a router was told and what it said, and the same told to a fresh one.

The log is made of plain values: requests by number, attempts by request and number, probes by number. So it can be
written to a file, and what it replays to depends on nothing but the router.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgewise.core.routing.calls import (
    Answer,
    Attempt,
    Cancel,
    CloseConnections,
    Failure,
    Instruction,
    LinkChanged,
    Outcome,
    Probe,
    Reject,
    Request,
    Send,
    SendProbe,
    SiteSpec,
    Warm,
)
from edgewise.core.routing.link import Link
from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route
from edgewise.core.routing.settings import RouterSettings

Told = tuple[Any, ...]


@dataclass(slots=True)
class Log:
    """All that went into a router and came out of it.

    Attributes:
        events: name and arguments, in order.
        instructions: what each event led to.
        draws: what the router's draws gave.
    """

    sites: Sequence[SiteSpec]
    settings: RouterSettings | None
    events: list[Told] = field(default_factory=list)
    instructions: list[tuple[Told, ...]] = field(default_factory=list)
    draws: list[float] = field(default_factory=list)


class _Names:
    """Numbers for the objects that router and caller share."""

    def __init__(self) -> None:
        self.requests: dict[Request, int] = {}
        self.probes: dict[Probe, int] = {}

    def told(self, instruction: Instruction) -> Told:
        """The instruction in plain values."""
        match instruction:
            case Send(attempt=attempt):
                told: Told = ("send", *self.attempt(attempt), attempt.link.name, attempt.reason.value)
            case Cancel(attempt=attempt):
                told = ("cancel", *self.attempt(attempt))
            case Answer(request=request, attempt=attempt):
                told = ("answer", *self.attempt(attempt), request.degraded)
            case Reject(request=request, error=error):
                told = ("reject", self.requests[request], error.code.value, error.message)
            case SendProbe(probe=probe):
                number = self.probes.setdefault(probe, len(self.probes))
                told = ("probe", number, probe.link.name, probe.payload_bytes, probe.timeout_s, probe.fresh)
            case CloseConnections(link=link):
                told = ("close", link.name)
            case Warm(link=link, connections=connections, payload_bytes=payload_bytes, at_once=at_once):
                told = ("warm", link.name, connections, payload_bytes, at_once)
            case LinkChanged(link=link, before=before, after=after, why=why):
                told = ("change", link.name, before, after, why)
        return told

    def attempt(self, attempt: Attempt) -> tuple[int, int]:
        """An attempt by request and number."""
        return self.requests[attempt.request], attempt.number


class RecordingRouter:
    """Stands before a router and keeps a log; `Simulation(make_router=RecordingRouter)`.

    Attributes:
        router: decides.
        log: grows with each event.
    """

    def __init__(
        self,
        sites: Sequence[SiteSpec],
        *,
        now_s: float,
        draws: Callable[[], float],
        settings: RouterSettings | None = None,
    ) -> None:
        self.log = Log(tuple(sites), settings)
        self._names = _Names()

        def draw() -> float:
            drawn = draws()
            self.log.draws.append(drawn)
            return drawn

        self.router = Router(sites, now_s=now_s, draws=draw, settings=settings)

    @property
    def links(self) -> dict[str, Link]:
        """Those of the router."""
        return self.router.links

    @property
    def wake_s(self) -> float:
        """When the router wants its next tick."""
        return self.router.wake_s

    def validate_state(self, now_s: float) -> None:
        """Have the router check itself."""
        self.router.validate_state(now_s)

    def validate_requests(self) -> None:
        """Have the router check its requests."""
        self.router.validate_requests()

    def _keep(self, event: Told, instructions: list[Instruction]) -> list[Instruction]:
        self.log.events.append(event)
        self.log.instructions.append(tuple(self._names.told(instruction) for instruction in instructions))
        return instructions

    def start(self, now_s: float) -> list[Instruction]:
        return self._keep(("start", now_s), self.router.start(now_s))

    def arrived(self, request: Request, now_s: float) -> list[Instruction]:
        number = self._names.requests.setdefault(request, len(self._names.requests))
        event = (
            "arrived",
            number,
            request.model,
            request.route,
            request.arrived_s,
            request.deadline_s,
            request.size_bytes,
            request.idempotent,
            now_s,
        )
        return self._keep(event, self.router.arrived(request, now_s))

    def waits(self, attempt: Attempt) -> None:
        self.router.waits(attempt)
        self._keep(("waits", *self._names.attempt(attempt)), [])

    def sent(self, attempt: Attempt, now_s: float) -> list[Instruction]:
        return self._keep(("sent", *self._names.attempt(attempt), now_s), self.router.sent(attempt, now_s))

    def bytes_came(self, attempt: Attempt, now_s: float) -> list[Instruction]:
        return self._keep(("bytes", *self._names.attempt(attempt), now_s), self.router.bytes_came(attempt, now_s))

    def answered(
        self,
        attempt: Attempt,
        outcome: Outcome,
        now_s: float,
        *,
        queue_depth: int | None = None,
        retry_after_s: float | None = None,
    ) -> list[Instruction]:
        event = (
            "answered",
            *self._names.attempt(attempt),
            outcome,
            attempt.confidence,
            queue_depth,
            retry_after_s,
            now_s,
        )
        return self._keep(
            event, self.router.answered(attempt, outcome, now_s, queue_depth=queue_depth, retry_after_s=retry_after_s)
        )

    def failed(self, attempt: Attempt, failure: Failure, now_s: float) -> list[Instruction]:
        event = ("failed", *self._names.attempt(attempt), failure, now_s)
        return self._keep(event, self.router.failed(attempt, failure, now_s))

    def cancelled(self, request: Request, now_s: float) -> list[Instruction]:
        event = ("cancelled", self._names.requests[request], now_s)
        return self._keep(event, self.router.cancelled(request, now_s))

    def probe_answered(self, probe: Probe, now_s: float, *, ready: bool = True) -> list[Instruction]:
        event = ("probe-answered", self._names.probes[probe], ready, now_s)
        return self._keep(event, self.router.probe_answered(probe, now_s, ready=ready))

    def probe_failed(self, probe: Probe, now_s: float, *, refused: bool = False) -> list[Instruction]:
        event = ("probe-failed", self._names.probes[probe], refused, now_s)
        return self._keep(event, self.router.probe_failed(probe, now_s, refused=refused))

    def reconfigure(self, sites: Sequence[SiteSpec], now_s: float) -> list[Instruction]:
        return self._keep(("reconfigure", tuple(sites), now_s), self.router.reconfigure(sites, now_s))

    def tick(self, now_s: float) -> list[Instruction]:
        return self._keep(("tick", now_s), self.router.tick(now_s))


class _Replayer:
    def __init__(self, log: Log) -> None:
        draws = iter(log.draws)
        self.router = Router(log.sites, now_s=0.0, draws=lambda: next(draws), settings=log.settings)
        self.names = _Names()
        self.requests: dict[int, Request] = {}
        self.attempts: dict[tuple[int, int], Attempt] = {}
        self.probes: dict[int, Probe] = {}

    def tell(self, event: Told) -> tuple[Told, ...]:
        name, *rest = event
        instructions = _EVENTS[name](self, *rest)
        told = tuple(self.names.told(instruction) for instruction in instructions)
        for instruction in instructions:
            if isinstance(instruction, Send):
                self.attempts[self.names.attempt(instruction.attempt)] = instruction.attempt
            elif isinstance(instruction, SendProbe):
                self.probes[self.names.probes[instruction.probe]] = instruction.probe
        return told

    def arrived(  # noqa: PLR0917 - the values of the log in their order
        self,
        number: int,
        model: str,
        route: Route,
        arrived_s: float,
        deadline_s: float,
        size_bytes: int,
        idempotent: bool,  # noqa: FBT001 - a value of the log
        now_s: float,
    ) -> list[Instruction]:
        request = self.requests[number] = Request(
            model, route, arrived_s=arrived_s, deadline_s=deadline_s, size_bytes=size_bytes, idempotent=idempotent
        )
        self.names.requests[request] = number
        return self.router.arrived(request, now_s)

    def answered(  # noqa: PLR0917 - as above
        self,
        number: int,
        attempt_number: int,
        outcome: Outcome,
        confidence: float | None,
        queue_depth: int | None,
        retry_after_s: float | None,
        now_s: float,
    ) -> list[Instruction]:
        attempt = self.attempts[number, attempt_number]
        attempt.answer, attempt.confidence = outcome, confidence
        return self.router.answered(attempt, outcome, now_s, queue_depth=queue_depth, retry_after_s=retry_after_s)


_EVENTS: Final[dict[str, Callable[..., list[Instruction]]]] = {
    "start": lambda replayer, now_s: replayer.router.start(now_s),
    "arrived": _Replayer.arrived,
    "sent": lambda replayer, *key_and_now: replayer.router.sent(replayer.attempts[key_and_now[:2]], key_and_now[2]),
    "waits": lambda replayer, *key: replayer.router.waits(replayer.attempts[key]) or [],
    "bytes": lambda replayer, *key_and_now: replayer.router.bytes_came(
        replayer.attempts[key_and_now[:2]], key_and_now[2]
    ),
    "answered": _Replayer.answered,
    "failed": lambda replayer, number, attempt, failure, now_s: replayer.router.failed(
        replayer.attempts[number, attempt], failure, now_s
    ),
    "cancelled": lambda replayer, number, now_s: replayer.router.cancelled(replayer.requests[number], now_s),
    "probe-answered": lambda replayer, number, ready, now_s: replayer.router.probe_answered(
        replayer.probes[number], now_s, ready=ready
    ),
    "probe-failed": lambda replayer, number, refused, now_s: replayer.router.probe_failed(
        replayer.probes[number], now_s, refused=refused
    ),
    "reconfigure": lambda replayer, sites, now_s: replayer.router.reconfigure(sites, now_s),
    "tick": lambda replayer, now_s: replayer.router.tick(now_s),
}


def replay(log: Log) -> int | None:
    """Tell a fresh router what another one was told.

    Returns: the number of the first event that leads to other instructions; None when there is none.
    """
    replayer = _Replayer(log)
    for number, (event, instructions) in enumerate(zip(log.events, log.instructions, strict=True)):
        if replayer.tell(event) != instructions:
            return number
    return None
