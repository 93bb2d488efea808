"""The link itself: listens, relays, and is told what to be like.

link = LinkEmulator(("127.0.0.1", 0), ("127.0.0.1", 8501), profile="4g", seed=7)
port = await link.start()
link.set_fault("blackhole")
link.heal()
await link.stop()
"""

import asyncio
import contextlib
import logging
import random
import secrets
import socket
import time
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.link.alarm import KernelAlarm
from edgewise.link.changes import Change, change_from
from edgewise.link.connection import Connection, reset_on_close
from edgewise.link.faults import Direction, Fault, Kind, Newcomers
from edgewise.link.lane import Way
from edgewise.link.listener import Listener, Welcome
from edgewise.link.profiles import Conditions, Profile, profile_called
from edgewise.link.schedule import Schedule
from edgewise.link.timetable import Timetable
from edgewise.link.wire import Wire, both_ways

_LOG: Final = logging.getLogger(__name__)
MAX_CONNECTIONS: Final = 16_384
_RECEIVE_BYTES: Final = 64 * 1024
_WELCOMES: Final = {
    Newcomers.SILENT: Welcome.SILENT,
    Newcomers.ACCEPT: Welcome.ACCEPT,
    Newcomers.REFUSE: Welcome.REFUSE,
}


class LinkEmulator:
    """A TCP relay that treats what passes as a real link would.

    `start` and `stop` are awaited; everything else takes effect at once. All of it belongs to one event loop.

    Args:
        listen: host and port for clients; port 0 picks a free one.
        to: host and port of the server.
        profile: conditions to begin with: a name, or a `Profile` of one's own.
        seed: makes the draws of jitter and loss repeatable; None picks one, which `seed` then tells.
        name: what logs and the state call this link.
        schedule: changes that the link makes by itself, counted from `start`.
        connect_timeout_s: how long connecting to the server may take.

    Attributes:
        conditions: in force.
        profile: the name of the last profile that was set.
        fault: in force, or None.
        up, down: the two directions; up is from the client to the server.
        receive_buffer: where connections receive. Filled and used up within one callback of the loop, so that all share it.
        passable: set while a new connection gets through to the server.
        accepted, unreached: connections since the start; those whose server could not be reached.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        to: tuple[str, int],
        *,
        profile: str | Profile = "none",
        seed: int | None = None,
        name: str = "link",
        schedule: Schedule | None = None,
        connect_timeout_s: float = 10.0,
    ) -> None:
        chosen = profile_called(profile) if isinstance(profile, str) else profile
        self.listen = listen
        self.to = to
        self.name = name
        self.seed = secrets.randbits(32) if seed is None else seed
        self.schedule = schedule
        self.connect_timeout_s = connect_timeout_s
        self.conditions = chosen.conditions
        self.profile = chosen.name
        self.fault: Fault | None = None
        self.clock = time.monotonic
        self.receive_buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self.passable = asyncio.Event()
        self.passable.set()
        self.accepted = 0
        self.unreached = 0
        self.up: Way
        self.down: Way
        self._ways: tuple[Way, ...] = ()
        self._began_s = 0.0
        self._fault_began_s = 0.0
        self._timetable: Timetable
        self._listener = Listener(self._take)
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._healing: asyncio.TimerHandle | None = None
        self._follower: asyncio.Task[None] | None = None
        self._emptied: asyncio.Event = asyncio.Event()

    async def start(self) -> int:
        """Listen.

        Returns: the port.
        Raises: OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._began_s = self.clock()
        self._timetable = Timetable(self.clock, partial(KernelAlarm, loop))
        self._ways = self.up, self.down = tuple(
            Way(
                # One source of draws a direction, so that what one of them carries changes nothing in the other.
                Wire(conditions, random.Random(f"{self.seed}-{way}").random, begun_s=self._began_s),  # noqa: S311
                self._timetable,
                self.clock,
                loop.call_later,
            )
            for way, conditions in zip((Direction.UP, Direction.DOWN), both_ways(self.conditions), strict=True)
        )
        self._listener.open(*self.listen)
        if self.schedule is not None:
            self._follower = loop.create_task(self._follow(self.schedule))
        return self.port

    async def stop(self) -> None:
        """Close every connection and stop listening; does nothing before `start`."""
        if not self._ways:
            return
        if self._follower is not None:
            self._follower.cancel()
        if self._healing is not None:
            self._healing.cancel()
        self._listener.close()
        for task in list(self._opening):
            task.cancel()
        if self._opening:
            await asyncio.gather(*self._opening, return_exceptions=True)
        self._emptied.clear()
        for connection in list(self._connections):
            connection.abort(reset=False)
        if self._connections:
            await self._emptied.wait()
        for way in self._ways:
            way.close()
        self._timetable.close()

    # --- what it is told ---

    def set_profile(self, profile: str | Profile, **conditions: float | None) -> None:
        """Go over to a profile; what was set singly before is forgotten. A fault stays.

        Args:
            profile: a name, or a `Profile` of one's own.
            conditions: fields of `Conditions` to set on top.
        Raises: InvalidArgumentError: no such profile, or a value out of range.
        """
        chosen = profile_called(profile) if isinstance(profile, str) else profile
        self._go_over(replace(chosen.conditions, **conditions))  # type: ignore[arg-type]
        self.profile = chosen.name

    def set_conditions(self, **conditions: float | None) -> None:
        """Set fields of `Conditions` singly, on top of the profile.

        Raises: InvalidArgumentError: a value is out of range. TypeError: there is no such field.
        """
        self._go_over(replace(self.conditions, **conditions))  # type: ignore[arg-type]

    def set_fault(self, fault: Fault | str, **options: Any) -> None:
        """Let a fault begin, in place of the present one.

        Args:
            fault: as `Fault`, or its kind by name with `options` as in the control API.
        Raises: InvalidArgumentError: there is no such fault or option.
        """
        if isinstance(fault, str):
            change = change_from({"fault": fault, **options})
            assert change.fault is not None  # noqa: S101 - a fault was named
            fault = change.fault
        elif options:
            raise InvalidArgumentError("options go with the name of a fault; a Fault has its own")
        self._go_to(fault)
        if fault.for_s is not None:
            self._healing = asyncio.get_running_loop().call_later(fault.for_s, self.heal)
        _LOG.info("%s: %s", self.name, " ".join(f"{key}={value}" for key, value in fault.described().items()))

    def heal(self) -> None:
        """End the fault; the conditions stay. Does nothing when there is none."""
        if self.fault is not None:
            kind, lasted_s = self.fault.kind, self.clock() - self._fault_began_s
            self._go_to(None)
            _LOG.info("%s: healed of %s after %.3f s", self.name, kind, lasted_s)

    def apply(self, change: Change) -> None:
        """Do what the control API or a schedule says.

        Raises: InvalidArgumentError: a value is out of range.
        """
        if change.profile is not None or change.conditions:
            self._go_over(change.applied_to(self.conditions))
            self.profile = change.profile or self.profile
        if change.fault is not None:
            self.set_fault(change.fault)
        elif change.heal:
            self.heal()

    # --- what it tells ---

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._listener.address[1]

    @property
    def open_connections(self) -> int:
        """Connections open now, on at least one side."""
        return len(self._connections)

    @property
    def frozen(self) -> bool:
        """Whether nothing is read."""
        return self.fault is not None and self.fault.kind is Kind.FREEZE

    def state(self) -> dict[str, Any]:
        """Everything, as the control API shows it."""
        fault = self.fault
        return {
            "name": self.name,
            "listen": shown_address(self._listener.address),
            "to": shown_address(self.to),
            "seed": self.seed,
            "profile": self.profile,
            "conditions": {"rtt_ms": self.conditions.rtt_ms, **asdict(self.conditions)},
            "fault": None
            if fault is None
            else {**fault.described(), "age_s": round(self.clock() - self._fault_began_s, 3)},
            "connections": {
                "open": self.open_connections,
                "accepted_total": self.accepted,
                "unreached_total": self.unreached,
            },
            "bytes": {
                way: {
                    "passed_total": lanes.passed_bytes,
                    "dropped_total": lanes.dropped_bytes,
                    "under_way": lanes.queued_bytes,
                }
                for way, lanes in (("up", self.up), ("down", self.down))
            },
            "uptime_s": round(self.clock() - self._began_s, 3),
        }

    # --- what its connections tell it ---

    def note_unreached(self, error: Exception) -> None:
        """A connection could not be made to the server."""
        self.unreached += 1
        _LOG.debug("%s: %s: %s", self.name, shown_address(self.to), error)

    def forget(self, connection: Connection) -> None:
        """A connection is gone, on both sides."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()

    # --- inside ---

    def _go_to(self, fault: Fault | None) -> None:
        """Put one fault, or none, in the place of another, or none."""
        if self._healing is not None:
            self._healing.cancel()
            self._healing = None
        before, self.fault = self.fault, fault
        self._fault_began_s = self.clock()
        kind = fault.kind if fault is not None else None
        for connection in list(self._connections):
            if before is not None and connection.has_lost_bytes:
                connection.abort(reset=True)
        self.up.change(fault if fault is not None and fault.strikes(Direction.UP) else None)
        self.down.change(fault if fault is not None and fault.strikes(Direction.DOWN) else None)
        for connection in list(self._connections):
            if kind is Kind.RESET:
                connection.abort(reset=True)
            elif kind is Kind.FIN:
                connection.finish()
            elif kind is Kind.FREEZE:
                connection.freeze()
            else:
                connection.thaw()
        if kind in (Kind.BLACKHOLE, Kind.FREEZE):
            self.passable.clear()
        else:
            self.passable.set()
        self._listener.welcome(_welcome(fault))

    def _take(self, sock: socket.socket) -> None:
        """Take a new connection in, as the fault has it."""
        self.accepted += 1
        kind = self.fault.kind if self.fault is not None else None
        if kind in (Kind.RESET, Kind.FIN) or len(self._connections) >= MAX_CONNECTIONS:
            if kind is not Kind.FIN:
                with contextlib.suppress(OSError):
                    reset_on_close(sock)
            sock.close()
            return
        connection = Connection(self, sock, self.clock())
        self._connections.add(connection)
        self._opening.add(connection.opening)
        connection.opening.add_done_callback(self._opening.discard)

    def _go_over(self, conditions: Conditions) -> None:
        self.conditions = conditions
        now_s = self.clock()
        for way, changed in zip(self._ways, both_ways(conditions), strict=False):
            way.wire.change(changed, now_s)

    async def _follow(self, schedule: Schedule) -> None:
        round_began_s = self._began_s
        while True:
            for at_s, change in schedule.steps:
                await asyncio.sleep(round_began_s + at_s - self.clock())
                self.apply(change)
            if schedule.round_s is None:
                return
            round_began_s += schedule.round_s
            await asyncio.sleep(round_began_s - self.clock())


def _welcome(fault: Fault | None) -> Welcome:
    """What happens to new connections."""
    kind = fault.kind if fault is not None else None
    if kind is Kind.REFUSE:
        return Welcome.REFUSE
    if kind is Kind.STALL_ACCEPT:
        return Welcome.SILENT
    return _WELCOMES[fault.newcomers] if fault is not None and kind is Kind.BLACKHOLE else Welcome.ACCEPT


def shown_address(address: tuple[str, int]) -> str:
    """An address as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot_listen(address: tuple[str, int], error: OSError, option: str) -> FailedPreconditionError:
    """The error that tells why an address cannot be listened on."""
    return FailedPreconditionError(
        f"cannot listen on {shown_address(address)}: {error.strerror or error}; choose another {option} HOST:PORT"
    )
