"""A site's HTTP/2 side, for sites that take gRPC calls at an address of their own."""

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgewise.core.routing.calls import Failure, Probe
from edgewise.gateway.addresses import Addresses
from edgewise.gateway.config import Address, SiteConfig
from edgewise.gateway.dialing import dial
from edgewise.gateway.site_tls import client_context
from edgewise.net.errors import (
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    HttpClientError,
    NotExecutedError,
    PoolTimeoutError,
)
from edgewise.net.grpc_client import GrpcClient
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.grpc_client_call import ClientCall
from edgewise.net.grpc_client_head import encode_metadata
from edgewise.net.grpc_exchange import Message
from edgewise.net.grpc_limits import GrpcLimits

if TYPE_CHECKING:
    from edgewise.gateway.site import ProbeEvents
    from edgewise.gateway.upstream_calls import Ticket

_FAILURES: Final = (
    (ConnectError, Failure.CONNECT),
    (ConnectionLostError, Failure.LOST),
    # The site has seen nothing of the call, and nothing is wrong with the way to it.
    ((PoolTimeoutError, NotExecutedError, ClientClosedError), Failure.POOL),
)
_UNIMPLEMENTED, _UNAVAILABLE = 12, 14
# Asked in this order until one is served: whether the server is ready, in the words of either standard.
_QUESTIONS: Final = (b"/inference.GRPCInferenceService/ServerReady", b"/grpc.health.v1.Health/Check")
# The first field of both answers: ready as a boolean, SERVING as 1.
_READY: Final = b"\x08\x01"


class Http2Call(Protocol):
    """Who has a call sent, and what it is told; never from within `Http2Upstream.send`."""

    def sent(self, ticket: Any) -> None:
        """It had to wait for a connection, and is on its way now. Not called when it left at once."""

    def bytes_came(self, ticket: Any) -> None:
        """Some bytes of the answer came and it is not whole yet."""

    def http2_answered(self, ticket: Any, answer: GrpcAnswer) -> None:
        """The answer is whole."""

    def failed(self, ticket: Any, failure: Failure, error: HttpClientError) -> None:
        """There will be no answer."""


class _Sending(ClientCall):
    """One call on its way; also what `Ticket.carrier` holds."""

    __slots__ = ("_call", "_ticket")

    def __init__(self, block: bytes, message: Message, call: Http2Call, ticket: "Ticket") -> None:
        super().__init__(block, message)
        self._call = call
        self._ticket = ticket

    def answered(self, answer: GrpcAnswer) -> None:
        ticket = self._ticket
        ticket.carrier = None
        self._call.http2_answered(ticket, answer)

    def failed(self, error: HttpClientError) -> None:
        ticket = self._ticket
        ticket.carrier = None
        failure = next((failure for kinds, failure in _FAILURES if isinstance(error, kinds)), Failure.PROTOCOL)
        self._call.failed(ticket, failure, error)

    def progressed(self) -> None:
        self._call.bytes_came(self._ticket)

    def sent(self) -> None:
        self._call.sent(self._ticket)


class Http2Upstream:
    """Calls to one site's gRPC address.

    Args:
        address: where it listens.
        ssl_context: speaks TLS when given.
        server_hostname: the name that the certificate has to be for; the address' host when None.
        authorization: what probes show; None for nothing.
        max_connections: at once; further ones are opened when the site takes no more calls on those there are.
        connect_timeout_s: for TCP and TLS together.
        user_timeout_ms: TCP_USER_TIMEOUT, how long sent bytes may stay unacknowledged.
        max_body_bytes: a larger answer is given up.
        addresses: where connections lead; those of `address` when None.

    Attributes:
        client: makes the calls.
        prober: makes the probes beside the calls, on a connection of their own: one that waits behind a large message
            would be overdue.
    """

    def __init__(
        self,
        address: Address,
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        authorization: bytes | None = None,
        max_connections: int = 8,
        connect_timeout_s: float = 5.0,
        user_timeout_ms: int = 10_000,
        max_body_bytes: int = 256 * 1024 * 1024,
        addresses: Addresses | None = None,
    ) -> None:
        host, port = address.host, address.port
        name = f"[{host}]" if ":" in host else host
        self._where = f"{name}:{port}"
        self._addresses = addresses if addresses is not None else Addresses(host, port)
        self._connect_timeout_s = connect_timeout_s
        self._user_timeout_ms = user_timeout_ms
        self._authorization = authorization
        self._asked = 0
        limits = GrpcLimits(
            max_message_bytes=max_body_bytes, keepalive_s=20.0, keepalive_timeout_s=10.0, idle_timeout_s=300.0
        )
        self.client, self.prober = [
            GrpcClient(
                self._where.encode("ascii"),
                self._dial,
                ssl_context=ssl_context,
                server_hostname=server_hostname or host,
                limits=limits,
                max_connections=most,
                connect_timeout_s=connect_timeout_s,
            )
            for most in (max_connections, 1)
        ]

    @property
    def busy(self) -> bool:
        """Whether a call or a probe is on a connection, or waits for one."""
        return any(client.open_calls or client.waiting for client in (self.client, self.prober))

    async def start(self) -> bool:
        """Look the name up; whether an address is known."""
        return await self._addresses.resolve(self._connect_timeout_s)

    def head(self, path: bytes) -> bytes:
        """The header fields that every call of a method has, encoded; further ones may follow."""
        return self.client.head(path)

    def send(self, block: bytes, message: Message, call: Http2Call, ticket: "Ticket") -> None:
        """Put a call on the wire, or let it wait for a connection.

        Args:
            block: its header fields, from `head` on.
            message: leave it unchanged until the outcome.
            call: is told what comes of it.
            ticket: handed to `call` with everything; its `carrier` is set to what cancels this.
        """
        sending = _Sending(block, message, call, ticket)
        ticket.carrier = sending
        self.client.send(sending)

    def send_probe(self, probe: Probe, events: "ProbeEvents") -> None:
        """Ask; `events` is told once, not later than `probe.timeout_s`."""
        block = self.client.head(_QUESTIONS[self._asked])
        if self._authorization is not None:
            block += encode_metadata(((b"authorization", self._authorization),))
        asking = _Probe(block, self, probe, events)
        asking.timer = asyncio.get_running_loop().call_later(probe.timeout_s, asking.time_out)
        if probe.fresh:
            # If it goes well, the calls to come find a connection that has been used.
            self.client.send(asking, fresh=True)
        else:
            self.prober.send(asking)

    def not_asked_again(self) -> None:
        """The site does not have what was asked: the next probe asks something else."""
        self._asked = (self._asked + 1) % len(_QUESTIONS)

    def warm(self, connections: int) -> None:
        """Have a connection open, which is enough for many calls."""
        if connections > 0:
            self.client.warm()

    def close_connections(self) -> None:
        """Drop the connections that carry no call; those that do take no further ones."""
        self.client.retire_connections()
        self.prober.retire_connections()

    async def close(self) -> None:
        """Drop everything, for good."""
        await self.client.close()
        await self.prober.close()

    async def _dial(self) -> socket.socket:
        """A TCP connection to the first address that takes one.

        Raises: OSError: there is none to be had.
        """
        problem = OSError(f"no address of {self._where} is known")
        known = self._addresses.known
        for address in known:
            try:
                async with asyncio.timeout(self._connect_timeout_s / len(known)):
                    sock = await dial(address, user_timeout_ms=self._user_timeout_ms)
            except OSError as error:
                problem = error
            else:
                self._addresses.worked(address)
                return sock
        self._addresses.refresh(asyncio.get_running_loop())
        raise problem


class _Probe(ClientCall):
    """One probe on its way."""

    __slots__ = ("_events", "_probe", "_upstream", "timer")

    def __init__(self, block: bytes, upstream: Http2Upstream, probe: Probe, events: "ProbeEvents") -> None:
        super().__init__(block, b"")
        self._upstream = upstream
        self._probe = probe
        self._events = events
        self.timer: asyncio.TimerHandle | None = None

    def time_out(self) -> None:
        self.timer = None
        self.cancel()
        self._events.probe_failed(self._probe)

    def answered(self, answer: GrpcAnswer) -> None:
        self._stop_timer()
        if answer.status == _UNIMPLEMENTED:
            # That is an answer, too.
            self._upstream.not_asked_again()
            ready = True
        else:
            ready = answer.status != _UNAVAILABLE and (answer.status != 0 or answer.body == _READY)
        self._events.probe_answered(self._probe, ready=ready)

    def failed(self, error: HttpClientError) -> None:
        self._stop_timer()
        self._events.probe_failed(self._probe, refused=isinstance(error.__cause__, ConnectionRefusedError))

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def make_upstream(
    config: SiteConfig,
    authorization: bytes | None,
    *,
    context: ssl.SSLContext | None = None,
    addresses: Addresses | None = None,
) -> Http2Upstream | None:
    """The HTTP/2 side of a site; None where it has no gRPC address.

    Args:
        config: what is known of the site.
        authorization: what probes show.
        context: for TLS; made of `config` when None.
        addresses: where connections lead, when not to the address in `config`.

    Raises: FailedPreconditionError: a file it names cannot be used.
    """
    address = config.grpc
    if address is None:
        return None
    return Http2Upstream(
        address,
        ssl_context=(context or client_context(config.tls, ("h2",))) if address.tls else None,
        server_hostname=config.tls.server_name,
        authorization=authorization,
        addresses=addresses,
    )
