"""The network side of an MLPerf run: samples are asked one by one, on an event loop, without a task for each.

MLPerf calls this the query dispatch library: it carries queries to the system under test and answers back. It neither
batches nor looks into what it carries.

Source: MLPerf Inference Rules, "Network Division", "QDL Constraints".
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final
from urllib.parse import unquote_to_bytes

from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body
from edgewise.net.grpc_client import GrpcClient
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.http_client_connection import CallbackConnection, encode_request
from edgewise.net.http_response_head import KnownHeads, ResponseHead
from edgewise.net.tcp import open_socket
from edgewise.study.engine.job import Asking

_RECEIVE_BYTES: Final = 256 * 1024
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MAX_SWEEP_S: Final = 0.05
_SHOWN_CHARACTERS: Final = 160

Done = Callable[[int, bytes | bytearray | memoryview, str], None]
"""Told once how a sample ended: its tag, the answer's body, and why there is no prediction ("" when there is)."""


class Sender:
    """Asks the questions of an `Asking`. Used on the event loop's thread only.

    Args:
        window: samples in flight at once; further ones wait in line.
        timeout_s: for one sample, from when it is sent or a connection is opened for it.

    Raises: ValueError: the path or a header cannot be sent as it is.
    """

    def __init__(self, asking: Asking, *, window: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._window = window
        self._in_flight = 0
        self._waiting: deque[tuple[int, int, Done]] = deque()
        self._given_up = ""
        self._where = f"{asking.host}:{asking.port}"

    def ask(self, index: int, tag: int, done: Done) -> None:
        """Ask one question.

        Args:
            index: of the question.
            tag: given back with the outcome.
            done: told once; may ask the next. Never from within this call, unless everything was given up.
        """
        if self._given_up:
            done(tag, b"", self._given_up)
        elif self._in_flight < self._window:
            self._in_flight += 1
            self._begin(index, tag, done)
        else:
            self._waiting.append((index, tag, done))

    def give_up(self, reason: str) -> None:
        """End everything that is in flight or waits, and whatever is asked later, with a reason."""
        self._given_up = reason
        waiting, self._waiting = self._waiting, deque()
        self._cancel(reason)
        for _, tag, done in waiting:
            done(tag, b"", reason)

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError

    def _begin(self, index: int, tag: int, done: Done) -> None:
        raise NotImplementedError

    def _cancel(self, reason: str) -> None:
        raise NotImplementedError

    def _end(self, tag: int, done: Done, body: bytes | bytearray | memoryview, problem: str) -> None:
        done(tag, body, problem)
        if self._waiting:
            self._begin(*self._waiting.popleft())
        else:
            self._in_flight -= 1


def sender(asking: Asking, *, window: int, timeout_s: float) -> Sender:
    """A sender of the transport that is asked for."""
    make = _HttpSender if asking.transport == "http" else _GrpcSender
    return make(asking, window=window, timeout_s=timeout_s)


class _HttpSender(Sender):
    """One request a connection at a time; connections are kept, the last used is used next."""

    def __init__(self, asking: Asking, *, window: int, timeout_s: float) -> None:
        super().__init__(asking, window=window, timeout_s=timeout_s)
        self._host = asking.host
        self._port = asking.port
        host = f"[{asking.host}]" if ":" in asking.host else asking.host
        headers = [(name.encode(), value.encode()) for name, value in asking.headers]
        if asking.content_type:
            headers.append((b"content-type", asking.content_type.encode()))
        # Encoded before anything is timed: the rules leave it to the query sample library.
        self._requests: list[list[Body]] = [
            encode_request(b"POST", asking.path.encode(), f"{host}:{asking.port}".encode(), headers, question.body)
            for question in asking.questions
        ]
        self._buffer = bytearray(_RECEIVE_BYTES)
        self.known_heads = KnownHeads()
        self._idle: list[_Connection] = []
        self._opening: dict[asyncio.Task[None], tuple[int, Done]] = {}
        # In the order of their deadlines, since all wait equally long.
        self.busy: dict[_Connection, float] = {}
        self._loop = asyncio.get_running_loop()
        self._sweep_s = min(_MAX_SWEEP_S, timeout_s / 4)
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    async def close(self) -> None:
        self._sweeper.cancel()
        self.give_up("closed")
        for connection in self._idle:
            connection.http.close()
        self._idle.clear()

    def _begin(self, index: int, tag: int, done: Done) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.http.usable:
                self._send(connection, index, tag, done)
                return
        task = self._loop.create_task(self._open(index, tag, done))
        self._opening[task] = (tag, done)

    def _send(self, connection: "_Connection", index: int, tag: int, done: Done) -> None:
        connection.tag = tag
        connection.done = done
        self.busy[connection] = monotonic() + self._timeout_s
        connection.http.send(self._requests[index])

    async def _open(self, index: int, tag: int, done: Done) -> None:
        connection: _Connection | None = None
        problem = ""
        try:
            async with asyncio.timeout(self._timeout_s):
                made = _Connection(self, self._buffer)
                await self._loop.create_connection(lambda: made.http, self._host, self._port)
                connection = made
        except TimeoutError:
            problem = f"no connection to {self._where} within {self._timeout_s:g} s"
        except OSError as error:
            problem = f"no connection to {self._where}: {_why(error)}"
        task = asyncio.current_task()
        if task is None or self._opening.pop(task, None) is None:
            # It was given up, and told so, while the connection was made.
            if connection is not None:
                connection.http.abort()
        elif connection is not None and connection.http.usable:
            self._send(connection, index, tag, done)
        else:
            self._end(tag, done, b"", problem or f"{self._where} closed the connection as soon as it was made")

    def answered(self, connection: "_Connection", status: int, body: bytes | bytearray) -> None:
        """For connections alone."""
        del self.busy[connection]
        if connection.http.usable:
            self._idle.append(connection)
        problem = "" if status == 200 else f"HTTP {status}: {_shown(body)}"
        self._end(connection.tag, connection.done, body, problem)

    def failed(self, connection: "_Connection", problem: str) -> None:
        """For connections alone."""
        del self.busy[connection]
        self._end(connection.tag, connection.done, b"", problem)

    def closed(self, connection: "_Connection") -> None:
        """For connections alone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        now_s = monotonic()
        while self.busy:
            connection, deadline_s = next(iter(self.busy.items()))
            if deadline_s > now_s:
                break
            connection.http.cancel()
            self.failed(connection, f"no answer within {self._timeout_s:g} s")
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    def _cancel(self, reason: str) -> None:
        opening, self._opening = self._opening, {}
        for task, (tag, done) in opening.items():
            task.cancel()
            self._end(tag, done, b"", reason)
        for connection in list(self.busy):
            connection.http.cancel()
            self.failed(connection, reason)


class _Connection:
    """A connection of an `_HttpSender`.

    Attributes:
        tag, done: of the sample that is asked on it.
        http: what asks.
    """

    __slots__ = ("_sender", "done", "http", "tag")

    def __init__(self, sender: _HttpSender, buffer: bytearray) -> None:
        self._sender = sender
        self.tag = 0
        self.done: Done
        self.http = CallbackConnection(
            buffer,
            max_head_bytes=_MAX_HEAD_BYTES,
            max_body_bytes=_MAX_ANSWER_BYTES,
            known_heads=sender.known_heads,
            on_response=self._answered,
            on_failure=self._failed,
            on_closed=self._closed,
        )

    def _answered(self, head: ResponseHead, body: bytes | bytearray) -> None:
        self._sender.answered(self, head.status, body)

    def _failed(self, error: HttpClientError) -> None:
        self._sender.failed(self, str(error))

    def _closed(self) -> None:
        self._sender.closed(self)


class _GrpcSender(Sender):
    """One call a sample; the client puts them on as few connections as the server's limit of streams allows."""

    def __init__(self, asking: Asking, *, window: int, timeout_s: float) -> None:
        super().__init__(asking, window=window, timeout_s=timeout_s)
        self._method = asking.path.encode()
        self._metadata = [(name.encode(), value.encode()) for name, value in asking.headers]
        self._messages = [question.body for question in asking.questions]
        self._running: dict[int, tuple[Done, Callable[[], None]]] = {}
        self._serial = 0
        self._client = GrpcClient(
            self._where.encode(), partial(open_socket, asking.host, asking.port), max_waiting=window
        )

    async def close(self) -> None:
        self.give_up("closed")
        await self._client.close()

    def _begin(self, index: int, tag: int, done: Done) -> None:
        # Tags may come twice, so calls have numbers of their own.
        self._serial += 1
        call = self._client.call(
            self._method,
            self._metadata,
            self._messages[index],
            timeout_s=self._timeout_s,
            done=partial(self._answered, self._serial, tag),
        )
        self._running[self._serial] = (done, partial(self._give_up_call, call.cancel, tag, done))

    def _answered(self, serial: int, tag: int, answer: GrpcAnswer | HttpClientError) -> None:
        done, _ = self._running.pop(serial)
        if isinstance(answer, HttpClientError):
            self._end(tag, done, b"", str(answer))
        elif answer.status or answer.body is None:
            text = _shown(unquote_to_bytes(answer.status_message))
            self._end(tag, done, b"", f"gRPC status {answer.status}: {text}")
        else:
            self._end(tag, done, answer.body, "")

    def _give_up_call(self, cancel: Callable[[], None], tag: int, done: Done) -> None:
        cancel()
        self._end(tag, done, b"", self._given_up)

    def _cancel(self, reason: str) -> None:
        del reason  # it is kept
        running, self._running = self._running, {}
        for _, give_up in running.values():
            give_up()


def _shown(body: bytes | bytearray) -> str:
    """What an answer says, short enough for a line."""
    text = bytes(body[:4096]).decode("utf-8", "replace")
    try:
        said = json.loads(bytes(body))
        if isinstance(said, dict) and isinstance(said.get("error"), str):
            text = said["error"]
    except ValueError:
        pass
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _why(error: OSError) -> str:
    """The system's own words, without the address."""
    return (error.strerror or str(error)).lower() if error.errno else str(error)
