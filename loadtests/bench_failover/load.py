"""The generator: open loop, a constant rate, latency from the intended time of sending.

    python load.py '{"protocol": "rest", "port": 8080, "rate": 200, "start_s": ..., "duration_s": 35, ...}'

The times of sending are computed beforehand and kept whatever becomes of the requests before. Each id ends in one state:
`ok` (a prediction), `error` (any other answer), `lost` (no answer in `timeout_s`, or a broken connection). The records go
to a file, one line of JSON each.
"""

import asyncio
import gc
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from bench_failover.timers import Timers

OK: Final = "ok"
ERROR: Final = "error"
LOST: Final = "lost"
_SITE_FIELD: Final = b"\r\nx-edgewise-site: "


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What the generator is told.

    Attributes:
        protocol: "rest" or "grpc".
        start_s: `time.monotonic()` of the first request.
        body_bytes: of each request.
        deadline_ms: sent as `x-edgewise-deadline-ms` over REST, as the call's own deadline over gRPC; 0 for none.
        timeout_s: when the app gives up.
        out: the file of records.
    """

    protocol: str
    port: int
    rate: float
    start_s: float
    duration_s: float
    out: str
    body_bytes: int = 20_000
    deadline_ms: float = 0.0
    timeout_s: float = 5.0
    path: str = "/v1/models/m:predict"


@dataclass(slots=True)
class Record:
    """One request.

    Attributes:
        due_s, sent_s, ended_s: of the monotonic clock.
        site: who answered, "" when nobody or somebody who does not say.
        detail: what an error was.
        retry_after: an error that says when to come again.
    """

    request_id: str
    due_s: float
    sent_s: float = 0.0
    ended_s: float = 0.0
    state: str = ""
    site: str = ""
    detail: str = ""
    retry_after: bool = False


class Generator:
    """Sends when it is time, and gives up when it is time."""

    def __init__(self, settings: LoadSettings, timers: Timers) -> None:
        self.settings = settings
        self.timers = timers
        count = int(settings.duration_s * settings.rate)
        self.records = [Record(f"r{number}", settings.start_s + number / settings.rate) for number in range(count)]
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open = count
        self._next = 0

    def begin(self) -> None:
        """Arm the first request."""
        self.timers.call_at(self.records[0].due_s, self._send_next)

    def _send_next(self) -> None:
        record = self.records[self._next]
        self._next += 1
        if self._next < len(self.records):
            self.timers.call_at(self.records[self._next].due_s, self._send_next)
        record.sent_s = time.monotonic()
        self.timers.call_at(record.due_s + self.settings.timeout_s, self.give_up, record)
        self.send(record)

    def send(self, record: Record) -> None:
        """Put the request on the wire."""
        raise NotImplementedError

    def abandon(self, record: Record) -> None:
        """Nobody waits for it any more."""
        raise NotImplementedError

    def give_up(self, record: Record) -> None:
        """The app's patience is at its end."""
        if not record.state:
            self.end(record, LOST, detail="no answer in time")
            self.abandon(record)

    def end(self, record: Record, state: str, *, site: str = "", detail: str = "", retry_after: bool = False) -> None:
        """The request's one end."""
        if record.state:
            raise AssertionError(f"{record.request_id} ended twice: {record.state}, {state}")
        record.ended_s = time.monotonic()
        record.state = state
        record.site = site
        record.detail = detail
        record.retry_after = retry_after
        self._open -= 1
        if not self._open:
            self.finished.set_result(None)


class RestConnection(asyncio.Protocol):
    """One connection to the gateway, one request at a time."""

    __slots__ = ("_data", "_load", "_need", "_transport", "record")

    def __init__(self, load: "RestLoad", record: Record) -> None:
        self.record: Record | None = record
        self._load = load
        self._data = b""
        self._need = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        if self.record is None or self.record.state:
            transport.close()
            return
        self._load.under_way[self.record.request_id] = self
        self._transport.write(self._load.encode(self.record))

    def ask(self, record: Record) -> None:
        """Send the next one."""
        self.record = record
        self._load.under_way[record.request_id] = self
        self._transport.write(self._load.encode(record))

    def close(self) -> None:
        """Cut it."""
        self.record = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._data = data = self._data + data if self._data else data
        if not self._need:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = data[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            if at < 0:
                return  # ends with the connection
            self._need = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(data) >= self._need:
            self._finish(close=b"\r\nconnection: close" in data[: data.find(b"\r\n\r\n") + 2].lower())

    def _finish(self, *, close: bool) -> None:
        data, record = self._data, self.record
        self._data, self._need, self.record = b"", 0, None
        if close:
            self._transport.close()
        else:
            self._load.idle.append(self)
        if record is None:
            return
        self._load.under_way.pop(record.request_id, None)
        at = data.find(_SITE_FIELD)
        site = data[at + len(_SITE_FIELD) :].split(b"\r\n", 1)[0].decode() if at >= 0 else ""
        if data[9:12] == b"200":
            self._load.end(record, OK, site=site)
        else:
            text = data[9:12] + b" " + data.partition(b"\r\n\r\n")[2][:120]
            later = b"\r\nretry-after:" in data.lower()
            self._load.end(record, ERROR, site=site, detail=text.decode("latin-1"), retry_after=later)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._load.idle:
            self._load.idle.remove(self)
        if self.record is None:
            return
        if self._data and b"\r\n\r\n" in self._data and not self._need:
            self._finish(close=True)
            return
        record, self.record = self.record, None
        self._load.under_way.pop(record.request_id, None)
        self._load.end(record, LOST, detail=f"connection lost: {exc or 'closed'}")


class RestLoad(Generator):
    """Over HTTP/1.1, with as many kept-alive connections as it takes."""

    def __init__(self, settings: LoadSettings, timers: Timers) -> None:
        super().__init__(settings, timers)
        self.idle: list[RestConnection] = []
        self.under_way: dict[str, RestConnection] = {}
        deadline = f"x-edgewise-deadline-ms: {settings.deadline_ms:.0f}\r\n" if settings.deadline_ms else ""
        values = json.dumps({"instances": [[0.25] * 8]})
        body = values[:-1].ljust(settings.body_bytes - 1) + "}"
        self._before = f"POST {settings.path} HTTP/1.1\r\nhost: gateway\r\nx-request-id: ".encode()
        rest = f"\r\ncontent-type: application/json\r\n{deadline}content-length: {len(body)}\r\n\r\n{body}"
        self._after = rest.encode()
        self._tasks: set[asyncio.Task[None]] = set()

    def encode(self, record: Record) -> bytes:
        """The request's bytes."""
        return self._before + record.request_id.encode() + self._after

    def send(self, record: Record) -> None:
        if self.idle:
            self.idle.pop().ask(record)
            return
        task = asyncio.get_running_loop().create_task(self._connect(record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, record: Record) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: RestConnection(self, record), "127.0.0.1", self.settings.port)
        except OSError as error:
            if not record.state:
                self.end(record, LOST, detail=f"cannot connect: {error}")

    def abandon(self, record: Record) -> None:
        connection = self.under_way.pop(record.request_id, None)
        if connection is not None:
            connection.close()


def make_generator(settings: LoadSettings, timers: Timers) -> Generator:
    """The generator of a protocol."""
    if settings.protocol == "grpc":
        from bench_failover.grpc_load import GrpcLoad  # noqa: PLC0415 - half a second that REST need not wait

        return GrpcLoad(settings, timers)
    return RestLoad(settings, timers)


async def generate(settings: LoadSettings) -> None:
    """Send them all and write down what became of them."""
    generator = make_generator(settings, Timers(asyncio.get_running_loop()))
    gc.collect()
    gc.freeze()
    gc.disable()
    generator.begin()
    await generator.finished
    keys = ("request_id", "due_s", "sent_s", "ended_s", "state", "site", "detail", "retry_after")
    lines = [json.dumps({key: getattr(record, key) for key in keys}) + "\n" for record in generator.records]
    # Nothing else is left to do on this loop.
    Path(settings.out).write_text("".join(lines))  # noqa: ASYNC240


def run(arguments: dict[str, Any]) -> None:
    """Run one job in this process."""
    settings = LoadSettings(**arguments)
    if settings.protocol == "grpc":
        asyncio.run(generate(settings))  # the gRPC library has its own ideas of a loop
    else:
        uvloop.run(generate(settings))


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
