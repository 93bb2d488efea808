"""Apps at work: a constant-rate load over REST and gRPC from a process of its own, each answer checked.

    python app_load.py SETTINGS.json

Open loop: the times of sending are fixed beforehand and kept whatever becomes of the requests before. It sends until its
standard input ends, or for `duration_s`; then waits for what is under way, prints `{"scheduled": N}` and ends. Each
request gets one line in the file of records (see `load_ledger.py`), written when it has ended.
"""

import asyncio
import contextlib
import gc
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc.aio

from support.app_questions import Question, alike, grpc_answer, grpc_message, rest_answer, rest_request

PREDICT_METHOD: Final = "/tensorflow.serving.PredictionService/Predict"
OK: Final = "ok"
WRONG: Final = "wrong"
ERROR: Final = "error"
LOST: Final = "lost"
REST: Final = "rest"
GRPC: Final = "grpc"
_FIELDS: Final = ("x-edgewise-site", "x-edgewise-model-version", "x-edgewise-attempts", "x-edgewise-degraded")


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What the generator is told.

    Attributes:
        rest, grpc: HOST:PORT; "" for none.
        rest_rate, grpc_rate: requests a second.
        records: the file they go to.
        timeout_s: an app's patience.
        duration_s: the longest that it sends.
    """

    rest: str
    grpc: str
    rest_rate: float
    grpc_rate: float
    questions: list[Question]
    records: str
    timeout_s: float = 10.0
    duration_s: float = 600.0


@dataclass(slots=True)
class Record:
    """One request; times of `time.monotonic()`, in seconds.

    Attributes:
        state: ok (the right answer), wrong (a prediction, not the right one), error (any other answer), lost (no answer).
        resent: the connection had been closed while idle, so it went out again on another, as HTTP/1.1 clients do.
    """

    number: int
    door: str
    due_s: float
    sent_s: float = 0.0
    ended_s: float = 0.0
    state: str = ""
    site: str = ""
    version: int = 0
    attempts: int = 0
    degraded: str = ""
    resent: int = 0
    detail: str = ""


def schedule(rest_rate: float, grpc_rate: float) -> list[str]:
    """Who asks in each of the places of one round, so that both rates are kept evenly."""
    total = round(rest_rate + grpc_rate)
    share = math.gcd(round(rest_rate), total) or 1
    places, rest_places = total // share, round(rest_rate) // share
    return [
        REST if (place + 1) * rest_places // places > place * rest_places // places else GRPC for place in range(places)
    ]


class RestConnection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, apps: "Apps", request: bytes, record: Record, question: Question, *, fresh: bool = True) -> None:
        self.apps = apps
        self.transport: asyncio.Transport | None = None
        self.data = bytearray()
        self.need = 0
        self.record: Record | None = None
        self.fresh = fresh
        self._first = (request, record, question)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.ask(*self._first)

    def ask(self, request: bytes, record: Record, question: Question) -> None:
        """Send the next one."""
        self.request, self.record, self.question = request, record, question
        self.apps.under_way[record.number] = self
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.need:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.data[:end]).decode("latin-1").lower()
            lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            self.head, self.lines, self.body_at = head, lines, end + 4
            self.need = end + 4 + int(lines.get("content-length", "0"))
        if len(self.data) >= self.need:
            self._finish()

    def _finish(self) -> None:
        record, self.record = self.record, None
        body, lines, status = bytes(self.data[self.body_at : self.need]), self.lines, self.head[9:12]
        self.data.clear()
        self.need, self.fresh = 0, False
        if lines.get("connection") == "close":
            self.transport.close()
        else:
            self.apps.idle.append(self)
        if record is None or record.state:
            return
        self.apps.under_way.pop(record.number, None)
        take_fields(record, lines)
        if status != "200":
            self.apps.end(record, ERROR, f"{status} {body[:160].decode(errors='replace')}")
            return
        self.apps.judge(record, self.question, rest_answer(self.question, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.apps.idle:
            self.apps.idle.remove(self)
        record, self.record = self.record, None
        if record is None or record.state:
            return
        self.apps.under_way.pop(record.number, None)
        if not self.fresh and not self.data and not record.resent:
            # A kept-alive connection that the server closed while idle took no request (RFC 9112, 9.3.1).
            record.resent = 1
            self.apps.connect(self.request, record, self.question)
            return
        self.apps.end(record, LOST, f"connection lost: {exc or 'closed'}")


class Apps:
    """All that is sent, and what came of it."""

    def __init__(self, settings: LoadSettings) -> None:
        self.settings = settings
        self.idle: list[RestConnection] = []
        self.under_way: dict[int, RestConnection] = {}
        self.open = 0
        self.scheduled = 0
        self.stopping = asyncio.Event()
        self._done = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._file = Path(settings.records).open("w", buffering=1)  # noqa: SIM115 - lives as long as this does
        self._rest_requests = [rest_request(question) for question in settings.questions]
        self._grpc_messages = [grpc_message(question) for question in settings.questions]
        self._round = schedule(settings.rest_rate, settings.grpc_rate)
        if settings.grpc:
            # An app's channel comes back quickly; the library's default waits a second before it tries again.
            options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500)]
            self._channel = grpc.aio.insecure_channel(settings.grpc, options=options)
            self._predict = self._channel.unary_unary(PREDICT_METHOD)

    async def run(self) -> None:
        """Send until told to stop; return when each has ended."""
        rate = self.settings.rest_rate + self.settings.grpc_rate
        loop = asyncio.get_running_loop()
        begun_s = time.monotonic() + 0.05
        count = int(self.settings.duration_s * rate)
        while self.scheduled < count and not self.stopping.is_set():
            due_s = begun_s + self.scheduled / rate
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._send(loop, due_s)
        while self.open:
            self._done.clear()
            await self._done.wait()
        if self.settings.grpc:
            await self._channel.close()
        self._file.close()
        print(json.dumps({"scheduled": self.scheduled}), flush=True)

    def _send(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        number = self.scheduled
        self.scheduled += 1
        self.open += 1
        # A step more with each round, so that each question goes over each door.
        which = (number + number // len(self._round)) % len(self.settings.questions)
        record = Record(number, self._round[number % len(self._round)], due_s, time.monotonic())
        question = self.settings.questions[which]
        if record.door == GRPC:
            self._keep(loop.create_task(self._over_grpc(record, question, self._grpc_messages[which])))
            return
        loop.call_later(self.settings.timeout_s, self._give_up, record)
        head, body = self._rest_requests[which]
        request = head.replace(b"NUMBER", b"r%d" % number, 1) + body
        if self.idle:
            self.idle.pop().ask(request, record, question)
        else:
            self.connect(request, record, question)

    def connect(self, request: bytes, record: Record, question: Question) -> None:
        """Send it on a new connection."""
        self._keep(asyncio.get_running_loop().create_task(self._connect(request, record, question)))

    async def _connect(self, request: bytes, record: Record, question: Question) -> None:
        host, _, port = self.settings.rest.rpartition(":")
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: RestConnection(self, request, record, question), host, int(port)
            )
        except OSError as error:
            if not record.state:
                self.end(record, LOST, f"cannot connect: {error}")

    def _give_up(self, record: Record) -> None:
        if record.state:
            return
        self.end(record, LOST, f"no answer in {self.settings.timeout_s:.0f} s")
        connection = self.under_way.pop(record.number, None)
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def _over_grpc(self, record: Record, question: Question, message: bytes) -> None:
        metadata = (("x-request-id", f"r{record.number}"),)
        call = self._predict(message, timeout=self.settings.timeout_s, metadata=metadata)
        try:
            data = await call
            take_fields(record, dict(await call.initial_metadata() or ()))
            take_fields(record, dict(await call.trailing_metadata() or ()))
        except grpc.aio.AioRpcError as error:
            take_fields(record, dict(error.trailing_metadata() or ()))
            silent = error.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
            lost = silent and not error.trailing_metadata()
            self.end(record, LOST if lost else ERROR, f"{error.code().name}: {(error.details() or '')[:160]}")
        else:
            self.judge(record, question, grpc_answer(question, data))

    def judge(self, record: Record, question: Question, answer: list[Any]) -> None:
        """Compare with the right answer."""
        if not alike(answer, question.expected):
            self.end(record, WRONG, f"{answer} instead of {question.expected}")
        elif question.versions and record.version not in question.versions:
            self.end(record, WRONG, f"version {record.version} instead of {question.versions}")
        else:
            self.end(record, OK)

    def end(self, record: Record, state: str, detail: str = "") -> None:
        """The request's one end."""
        if record.state:
            raise AssertionError(f"request {record.number} ended twice: {record.state}, {state}")
        record.ended_s = time.monotonic()
        record.state, record.detail = state, detail
        self._file.write(json.dumps([getattr(record, name) for name in Record.__slots__]) + "\n")
        self.open -= 1
        self._done.set()

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def take_fields(record: Record, fields: dict[str, Any]) -> None:
    """What headers or trailers say of who answered."""
    site, version, attempts, degraded = (str(fields.get(name, "")) for name in _FIELDS)
    record.site = site or record.site
    record.version = int(version or record.version)
    record.attempts = int(attempts or record.attempts)
    record.degraded = degraded or record.degraded


async def _until_input_ends(apps: Apps) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    apps.stopping.set()


async def generate(settings: LoadSettings) -> None:
    """Run one load in this process."""
    apps = Apps(settings)
    gc.collect()
    gc.freeze()
    watch = asyncio.get_running_loop().create_task(_until_input_ends(apps))
    await apps.run()
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


def main() -> None:
    """Read the settings and run."""
    told = json.loads(Path(sys.argv[1]).read_text())
    told["questions"] = [Question(**question) for question in told["questions"]]
    asyncio.run(generate(LoadSettings(**told)))


if __name__ == "__main__":
    main()
