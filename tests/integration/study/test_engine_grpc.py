"""The engine's process against a server that does what the test says, over gRPC."""

import asyncio
import threading

import numpy as np
import pytest
import uvloop

from edgewise.core.errors import InvalidArgumentError
from edgewise.net.grpc_exchange import UnaryMethod
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_server import GrpcServer
from edgewise.study.engine.job import OTHER_ANSWER, Asking, Job, Question, State
from edgewise.study.engine.process import Engine
from support.sockets import free_port
from support.waiting import WAIT_S

MS = 1_000_000
METHOD = "/test.Echo/Echo"


class ServerThread:
    """A gRPC server with one method, on a loop of its own; `call_soon` runs things there."""

    def __init__(self, method, limits):
        self._ready = threading.Event()
        self._method = method
        self._limits = limits
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(WAIT_S)

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = self.server = GrpcServer({METHOD: UnaryMethod(self._method)}.get, self._limits)
        self.port = await server.start("127.0.0.1", 0)
        self._ready.set()
        await self._over.wait()
        await server.close()

    def close(self):
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._over.set)
            self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def serving():
    servers = []

    def start(method, **limits):
        servers.append(ServerThread(method, GrpcLimits(**limits)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


def job(port, due_ms, bodies=(b"question",), headers=(), method=METHOD, **options):
    due_ns = (np.asarray(due_ms, np.float64) * MS).astype(np.int64)
    asking = Asking("grpc", "127.0.0.1", port, method, tuple(map(Question, bodies)), headers)
    index = (np.arange(len(due_ns)) % len(bodies)).astype(np.uint16)
    return Job(asking, due_ns, index, **{"timeout_s": 20.0, **options})


def states(recording):
    return [State(state).name for state in recording.state.tolist()]


def test_calls_are_made_when_they_are_due_and_written_down_with_their_answers(engine, serving):
    seen = []

    def echo(call):
        seen.append((dict(call.metadata), call.timeout_s))
        fields = ((b"x-edgewise-site", b"edge"), (b"x-edgewise-attempts", b"3"), (b"x-edgewise-model-version", b"9"))
        call.respond(call.message.upper(), fields)

    server = serving(echo)
    recording = engine.run(job(server.port, [0, 0, 1, 20], (b"cat", b"dog"), headers=(("x-tenant", "a"),)))
    assert states(recording) == ["OK"] * 4
    assert recording.code.tolist() == [0] * 4
    assert [recording.answers[index] for index in recording.answer] == [b"CAT", b"DOG", b"CAT", b"DOG"]
    assert [recording.sites[index] for index in recording.site] == ["edge"] * 4
    assert recording.attempts.tolist() == [3] * 4
    assert recording.version.tolist() == [9] * 4
    assert recording.opened == 1
    assert (recording.sent_ns >= recording.due_ns).all()
    assert (recording.ended_ns > recording.sent_ns).all()
    assert [(metadata[b"x-tenant"], timeout_s) for metadata, timeout_s in seen] == [(b"a", None)] * 4


def test_every_status_has_its_state(engine, serving):
    server = serving(lambda call: call.fail(int(call.message), "because") if int(call.message) else call.respond(b""))
    statuses = [0, 3, 4, 5, 8, 13, 14]
    recording = engine.run(job(server.port, range(7), [b"%d" % status for status in statuses]))
    assert recording.code.tolist() == statuses
    assert states(recording) == ["OK", "ERROR", "EXPIRED", "ERROR", "REJECTED", "ERROR", "REJECTED"]
    assert recording.errors == {f"{status} because": 1 for status in statuses[1:]}
    assert recording.answer.tolist() == [0] + [OTHER_ANSWER] * 6
    assert recording.answers == [b""]


def test_a_method_that_is_not_there_is_an_error(engine, serving):
    server = serving(lambda call: call.respond(b""))
    recording = engine.run(job(server.port, [0], method="/test.Echo/Other"))
    assert states(recording) == ["ERROR"]
    assert recording.code.tolist() == [12]


def test_long_messages_pass_whole(engine, serving):
    server = serving(lambda call: call.respond(b"%d" % len(call.message)))
    recording = engine.run(job(server.port, [0, 0], (bytes(3_000_000), bytes(100_000))))
    assert sorted(recording.answers) == [b"100000", b"3000000"]
    server = serving(lambda call: call.respond(bytes(1_000_000)))
    assert states(engine.run(job(server.port, [0]))) == ["OK"]


def test_the_deadline_is_told_and_the_server_says_when_it_is_over(engine, serving):
    told = []

    def wait(call):
        told.append(call.timeout_s)

    server = serving(wait)
    recording = engine.run(job(server.port, [0, 1], deadline_ms=100))
    assert states(recording) == ["EXPIRED"] * 2
    assert recording.code.tolist() == [4] * 2
    assert all(0 < timeout_s <= 0.1 for timeout_s in told)


def test_a_server_that_never_answers_ends_in_requests_lost_at_the_end_of_the_patience(engine, serving):
    cancelled = threading.Semaphore(0)

    def wait(call):
        call.on_cancel = cancelled.release

    server = serving(wait)
    recording = engine.run(job(server.port, [0, 10], timeout_s=0.2))
    assert states(recording) == ["LOST"] * 2
    assert (recording.ended_ns - recording.due_ns).tolist() == [200 * MS] * 2
    for _ in range(2):
        assert cancelled.acquire(timeout=WAIT_S)


def test_a_server_that_is_not_there_ends_in_lost_requests(engine):
    recording = engine.run(job(free_port(), np.arange(30)))
    assert states(recording) == ["LOST"] * 30
    assert all("refused" in text for text in recording.errors)
    assert sum(recording.errors.values()) == 30


def test_a_server_that_goes_away_loses_what_it_had_and_the_rest(engine, serving):
    server = None

    def vanish(call):
        if call.message == b"vanish":
            server.server.announce_close()
            asyncio.get_running_loop().call_soon(server._over.set)
        else:
            call.respond(b"")

    server = serving(vanish)
    recording = engine.run(job(server.port, [0, 30, 60, 1000, 1010], (b"a", b"b", b"vanish", b"c", b"d"), timeout_s=2))
    assert states(recording) == ["OK", "OK", "LOST", "LOST", "LOST"]


def test_no_more_calls_at_once_than_allowed_and_the_line_is_kept_in_order(engine, serving):
    inside, most, order = 0, 0, []

    def slow(call):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        order.append(int(call.message))

        def done():
            nonlocal inside
            inside -= 1
            call.respond(b"")

        asyncio.get_running_loop().call_later(0.01, done)

    server = serving(slow)
    recording = engine.run(job(server.port, [0] * 9, [b"%d" % n for n in range(9)], max_connections=3))
    assert states(recording) == ["OK"] * 9
    assert most == 3
    assert order == list(range(9))
    assert recording.latency_ns().max() >= 3 * 10 * MS


def test_more_calls_than_a_connection_takes_get_others(engine, serving):
    waiting = []

    def hold(call):
        waiting.append(call)
        if len(waiting) == 8:
            for each in waiting:
                each.respond(b"")

    server = serving(hold, max_concurrent_streams=4)
    recording = engine.run(job(server.port, [0] * 8))
    assert states(recording) == ["OK"] * 8
    assert recording.opened == 2


def test_a_stopped_run_leaves_the_rest_unsent_and_returns(engine, serving):
    server = serving(lambda call: call.respond(b""))
    stop = threading.Event()
    recording = engine.run(
        job(server.port, np.arange(1000) * 50), lambda _due, ended, _failed: ended >= 3 and stop.set(), stop
    )
    assert recording.stopped
    sent = int((recording.sent_ns >= 0).sum())
    assert states(recording) == ["OK"] * sent + ["UNSENT"] * (1000 - sent)


@pytest.mark.parametrize(
    "change", [{"method": "no-slash"}, {"headers": (("te", "x"),)}, {"headers": (("X-Upper", "x"),)}]
)
def test_impossible_calls_are_refused(engine, change):
    with pytest.raises(InvalidArgumentError, match="the call cannot be sent as it is"):
        engine.run(job(9, [0], **change))
