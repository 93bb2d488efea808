"""Requests over gRPC: calls on as few connections as the server takes them on, `max_connections` of them at once."""

import asyncio
import contextlib
import socket
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.net.errors import HttpClientError, ProtocolError
from edgewise.net.grpc_client import GrpcClient
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.grpc_client_call import ClientCall
from edgewise.net.grpc_client_head import encode_metadata, encode_timeout
from edgewise.net.tcp import connect
from edgewise.study.engine.asker import Line
from edgewise.study.engine.http_asker import SocketAddress, read_origin, text_of
from edgewise.study.engine.job import Job, State
from edgewise.study.engine.ledger import NOBODY, Origin

_CONNECT_TIMEOUT_S: Final = 5.0
_START_TIMEOUT_S: Final = 3.0
_MAX_CONNECTIONS: Final = 64
_MS: Final = 1_000_000
_OK: Final = 0
_STATES: Final = {4: State.EXPIRED, 8: State.REJECTED, 14: State.REJECTED}


class _Call(ClientCall):
    """One request on its way."""

    __slots__ = ("_asker", "_row")

    def __init__(self, asker: "GrpcAsker", row: int, block: bytes, message: bytes) -> None:
        super().__init__(block, message)
        self._asker = asker
        self._row = row

    def answered(self, answer: GrpcAnswer) -> None:
        asker = self._asker
        try:
            asker.call_answered(self._row, answer)
        except Exception as error:  # noqa: BLE001 - the client would log it and go on
            asker.line.fault(error)

    def failed(self, error: HttpClientError) -> None:
        asker = self._asker
        try:
            asker.call_failed(self._row, error)
        except Exception as fault:  # noqa: BLE001 - as above
            asker.line.fault(fault)


class GrpcAsker:
    """See `Asker`.

    Args:
        addresses: of the target, in the order in which they are tried.

    Attributes:
        line: as given; for the calls.
    """

    def __init__(self, job: Job, line: Line, addresses: list[SocketAddress], loop: asyncio.AbstractEventLoop) -> None:
        asking = job.asking
        self.line = line
        self._ledger = line.ledger
        self._loop = loop
        self._addresses = addresses
        self._tried = asyncio.Event()
        self._client = GrpcClient(
            f"{asking.host}:{asking.port}".encode("ascii"),
            self._open_socket,
            max_connections=min(job.max_connections, _MAX_CONNECTIONS),
            # Calls that were given up stay among those that wait, so this is no bound on calls at once.
            max_waiting=1 << 30,
            connect_timeout_s=min(_CONNECT_TIMEOUT_S, job.timeout_s),
        )
        self._bodies = [question.body for question in asking.questions]
        self._start_timeout_s = min(_START_TIMEOUT_S, job.timeout_s)
        self._timeout_s = job.deadline_ms / 1e3
        self._max_calls = job.max_connections
        self._calls: dict[int, _Call] = {}
        self._origins: dict[tuple[int, int], Origin] = {}
        try:
            self._head = self._client.head(asking.path.encode("ascii"))
            self._metadata = encode_metadata(
                (name.encode("ascii"), value.encode("ascii")) for name, value in asking.headers
            )
        except ValueError as error:
            raise InvalidArgumentError(f"the call cannot be sent as it is: {error}") from None
        timeout = encode_timeout(self._timeout_s) if self._timeout_s > 0 else b""
        self._block = self._head + timeout + self._metadata

    @property
    def opened(self) -> int:
        """See `Asker`."""
        return self._client.opened

    @property
    def resent(self) -> int:
        """See `Asker`."""
        return self._client.resent

    # --- what the run asks ---

    async def start(self, connections: int) -> None:  # noqa: ARG002 - one carries many calls
        """See `Asker`."""
        self._client.warm()
        with contextlib.suppress(TimeoutError):
            # `wait_for` of Python 3.11 forgets that it was cancelled where what it waits for came in the same turn.
            async with asyncio.timeout(self._start_timeout_s):
                await self._tried.wait()

    def begin(self, row: int) -> bool:
        """See `Asker`."""
        if len(self._calls) >= self._max_calls:
            return False
        self._ask(row)
        return True

    def wanted(self) -> None:
        """See `Asker`: whoever ends makes room."""

    def give_up(self, row: int) -> None:
        """See `Asker`."""
        call = self._calls.pop(row, None)
        if call is not None:
            call.cancel()
            self._next()

    def tend(self, now_ns: int) -> None:
        """See `Asker`: the client has timers of its own."""

    async def close(self) -> None:
        """See `Asker`."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        await self._client.close()

    # --- what calls tell ---

    def call_answered(self, row: int, answer: GrpcAnswer) -> None:
        """The server has answered."""
        ledger = self._ledger
        at_ns = ledger.now_ns()
        del self._calls[row]
        self._next()
        origin = self._origin(answer)
        status = answer.status
        if status == _OK and answer.body is not None:
            ledger.predicted(row, at_ns, status, answer.body, origin)
        else:
            state = _STATES.get(status, State.ERROR)
            ledger.refused(row, at_ns, state, status, f"{status} {text_of(answer.status_message)}".rstrip(), origin)
        self.line.answered()

    def call_failed(self, row: int, error: HttpClientError) -> None:
        """There will be no answer."""
        ledger = self._ledger
        del self._calls[row]
        state = State.ERROR if isinstance(error, ProtocolError) else State.LOST
        ledger.refused(row, ledger.now_ns(), state, -1, str(error))
        self._next()

    # --- calls ---

    def _next(self) -> None:
        if len(self._calls) < self._max_calls:
            row = self.line.take()
            if row >= 0:
                self._ask(row)

    def _ask(self, row: int) -> None:
        ledger = self._ledger
        block = self._block
        if self._timeout_s > 0:
            waited_ns = ledger.now_ns() - ledger.due[row]
            if waited_ns > _MS:
                left_s = max(1e-3, self._timeout_s - waited_ns / 1e9)
                block = self._head + encode_timeout(left_s) + self._metadata
        call = self._calls[row] = _Call(self, row, block, self._bodies[ledger.question[row]])
        self._client.send(call)

    def _origin(self, answer: GrpcAnswer) -> Origin:
        # Blocks that say the same share one object, on which there is room for what was made of it.
        head, tail = answer.head, answer.tail
        if tail is not None and tail.note is not None and tail.note[0] is head:
            return tail.note[1]  # type: ignore[no-any-return]
        headers, trailers = answer.headers, answer.trailers
        if not headers and not trailers:
            return NOBODY
        fields = {**headers, **trailers}
        origin = read_origin(
            self._ledger,
            fields.get(b"x-edgewise-site", b""),
            fields.get(b"x-edgewise-attempts", b""),
            fields.get(b"x-edgewise-model-version", b""),
        )
        if tail is not None:
            tail.note = (head, origin)
        return origin

    async def _open_socket(self) -> socket.socket:
        try:
            return await connect(self._addresses)
        finally:
            self._tried.set()
