"""The network between the gateway and one site, as TCP makes it look from above.

A message that the network drops is not gone: its sender tries again after its retransmission timeout, then after twice
that, and so on. So what was sent into a cut arrives after the heal, late, unless its connection has been closed
meanwhile: this is where late answers and ghosts come from.

Both cuts are at the gateway's end: what it sends is swallowed when it is sent, what it is sent when it arrives.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from routing_simulator.scenario import UNLIMITED, SitePlan

RETRANSMIT_AT_LEAST_S: Final = 0.2  # Linux: the smoothed round trip and at least this
RETRANSMIT_AT_MOST_S: Final = 120.0  # RFC 6298 (2.5) allows a ceiling; this is Linux's
SYN_RETRANSMIT_S: Final = 1.0  # RFC 6298 (2.1)
HEADER_BYTES: Final = 200

Handler = Callable[[float, Any, Any], None]


class Held:
    """A message that its sender tries again and again."""

    __slots__ = ("argument", "handler", "job", "next_s", "size_bytes", "timeout_s", "upwards")

    def __init__(
        self,
        handler: Handler,
        job: Any,
        argument: Any,
        *,
        sent_s: float,
        timeout_s: float,
        size_bytes: int,
        upwards: bool,
    ) -> None:
        self.handler = handler
        self.job = job
        self.argument = argument
        self.next_s = sent_s + timeout_s
        self.timeout_s = timeout_s
        self.size_bytes = size_bytes
        self.upwards = upwards


FLIGHT_BYTES: Final = 14_480
"""What a new connection sends before it waits for the other side: ten segments (RFC 6928)."""
LEAST_RTO_S: Final = 0.2


class Way:
    """The way to one site and back.

    Attributes:
        cuts_up, cuts_down: how many faults drop packets in this direction.
        swallows_over_bytes: larger messages vanish.
        idle: open connections without a request.
        fit: of these, so many have a window that large messages fit into. All others are as good as new.
        used_s: when a large message was last answered; windows fade when a connection is idle for longer than a time-out.
        jobs: attempts on the wire as the gateway sees it.
    """

    __slots__ = (
        "bandwidth_bytes_s",
        "cuts_down",
        "cuts_up",
        "delay_s",
        "down_free_s",
        "fit",
        "held",
        "idle",
        "jitter_s",
        "jobs",
        "loss",
        "no_connections",
        "plan",
        "random",
        "swallows_over_bytes",
        "unreachable",
        "up_free_s",
        "used_s",
    )

    def __init__(self, plan: SitePlan, random: Callable[[], float]) -> None:
        self.plan = plan
        self.random = random
        self.delay_s = plan.rtt_s / 2
        self.jitter_s = plan.jitter_s
        self.loss = plan.loss
        self.bandwidth_bytes_s = plan.bandwidth_bytes_s
        self.cuts_up = 0
        self.cuts_down = 0
        self.swallows_over_bytes = UNLIMITED
        self.unreachable = 0
        self.no_connections = 0
        self.up_free_s = 0.0
        self.down_free_s = 0.0
        self.held: list[Held] = []
        self.idle = 0
        self.fit = 0
        self.used_s = 0.0
        self.jobs: dict[Any, None] = {}  # a set would be iterated in the order of addresses

    @property
    def retransmit_s(self) -> float:
        """The first retransmission timeout of an established connection."""
        return 2 * self.delay_s + RETRANSMIT_AT_LEAST_S

    @property
    def backlog_until_s(self) -> float:
        """When all that a fault made slow is through; what was sent before goes on taking its time."""
        return max(self.up_free_s, self.down_free_s) if self.plan.bandwidth_bytes_s == UNLIMITED else 0.0

    def takes_s(self) -> float:
        """One way for a message without its bytes: delay, jitter and what a loss costs."""
        takes_s = self.delay_s
        if self.jitter_s:
            takes_s += self.random() * self.jitter_s
        if self.loss:
            timeout_s = self.retransmit_s
            while self.random() < self.loss and timeout_s < RETRANSMIT_AT_MOST_S:
                takes_s += timeout_s
                timeout_s *= 2
        return takes_s

    def close_idle(self) -> None:
        """Connections without a request are closed."""
        self.idle = self.fit = 0

    def take(self, now_s: float) -> bool:
        """Take an idle connection, a fit one where there is one; whether it is."""
        self.idle -= 1
        if not self.fit:
            return False
        if now_s - self.used_s > 2.0 * self.delay_s + LEAST_RTO_S:
            self.fit = 0
            return False
        self.fit -= 1
        return True

    def give_back(self, now_s: float, size_bytes: int, *, fit: bool) -> None:
        """A connection has carried a message of this size and is idle again."""
        self.idle += 1
        if fit or size_bytes > FLIGHT_BYTES:
            self.fit += 1
            self.used_s = now_s

    def more_flights_s(self, size_bytes: int) -> float:
        """How much longer a new connection takes for a message: its window doubles with each round trip."""
        flights = (size_bytes // FLIGHT_BYTES + 1).bit_length()
        return 2.0 * self.delay_s * (flights - 1)

    def up_s(self, now_s: float, size_bytes: int) -> float:
        """When a message that the gateway writes now is with the site."""
        if self.bandwidth_bytes_s != UNLIMITED:
            now_s = max(now_s, self.up_free_s) + size_bytes / self.bandwidth_bytes_s
            self.up_free_s = now_s
        return now_s + self.takes_s()

    def down_s(self, now_s: float, size_bytes: int) -> float:
        """When a message that the site writes now is with the gateway."""
        if self.bandwidth_bytes_s != UNLIMITED:
            now_s = max(now_s, self.down_free_s) + size_bytes / self.bandwidth_bytes_s
            self.down_free_s = now_s
        return now_s + self.takes_s()

    def swallows_up(self, size_bytes: int) -> bool:
        """Whether a message towards the site vanishes now."""
        return self.cuts_up > 0 or size_bytes > self.swallows_over_bytes

    def swallows_down(self, size_bytes: int) -> bool:
        """Whether a message of the site vanishes now."""
        return self.cuts_down > 0 or size_bytes > self.swallows_over_bytes

    def hold(
        self,
        now_s: float,
        handler: Handler,
        job: Any,
        argument: Any,
        *,
        size_bytes: int,
        upwards: bool,
        timeout_s: float | None = None,
    ) -> None:
        """Keep a message that vanished for its next try; the other end sent what comes down `delay_s` ago."""
        self.held.append(
            Held(
                handler,
                job,
                argument,
                sent_s=now_s if upwards else now_s - self.delay_s,
                timeout_s=self.retransmit_s if timeout_s is None else timeout_s,
                size_bytes=size_bytes,
                upwards=upwards,
            )
        )

    def released(self, now_s: float) -> Iterator[tuple[float, Held]]:
        """Take out what the network lets pass from now on, with the time at which it arrives."""
        held, self.held = self.held, []
        for message in held:
            if self.swallows_up(message.size_bytes) if message.upwards else self.swallows_down(message.size_bytes):
                self.held.append(message)
                continue
            while message.next_s < now_s:
                message.timeout_s = min(2 * message.timeout_s, RETRANSMIT_AT_MOST_S)
                message.next_s += message.timeout_s
            yield message.next_s + self.takes_s(), message
