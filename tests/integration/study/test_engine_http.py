"""The engine's process against servers that do what the test says, over HTTP."""

import contextlib
import os
import random
import signal
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError, UnavailableError
from edgewise.study.engine.job import OTHER_ANSWER, Asking, Job, Question, State
from edgewise.study.engine.outcome import STOP
from edgewise.study.engine.process import Engine
from support.sockets import free_port
from support.waiting import WAIT_S, wait_for

MS = 1_000_000


@dataclass
class Last:
    """What a server sends before it closes the connection without a word."""

    raw: bytes = b""


CLOSE = Last()


def answer(body=b"{}", status=200, *fields):
    lines = [b"HTTP/1.1 %d Because" % status, b"content-length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", body])


class ScriptedServer:
    """A thread a connection; `script(connection, number, head, body)` says what is sent, number counting from 0."""

    def __init__(self, script):
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.requests = []
        self.connections = 0
        self.over = threading.Event()
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()
            self.connections += 1

    def _serve(self, sock, connection):
        with contextlib.suppress(OSError), sock, sock.makefile("rb") as file:
            number = 0
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = file.readline()
                    if not line:
                        return
                    head += line
                fields = dict(line.split(b": ", 1) for line in head.splitlines()[1:-1])
                body = file.read(int(fields[b"content-length"]))
                self.requests.append((connection, number, head, body))
                reply = self._script(connection, number, head, body)
                if isinstance(reply, Last):
                    sock.sendall(reply.raw)
                    return
                sock.sendall(reply)
                number += 1

    def later(self, delay_s, reply):
        """Hold the answer back for so long, or until the server ends."""
        self.over.wait(delay_s)
        return reply

    def close(self):
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def serving():
    servers = []

    def start(script):
        servers.append(ScriptedServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


def job(port, due_ms, bodies=(b"question",), index=None, headers=(), **options):
    due_ns = (np.asarray(due_ms, np.float64) * MS).astype(np.int64)
    questions = tuple(Question(body) for body in bodies)
    asking = Asking("http", "127.0.0.1", port, "/v1/models/m:predict", questions, headers, "text/plain")
    index = np.arange(len(due_ns)) % len(questions) if index is None else index
    return Job(asking, due_ns, np.asarray(index, np.uint16), **{"timeout_s": 20.0, **options})


def states(recording):
    return [State(state).name for state in recording.state.tolist()]


def test_requests_are_sent_when_they_are_due_and_written_down_with_their_answers(engine, serving):
    server = serving(
        lambda _c, _n, _head, body: answer(
            body.upper(), 200, b"x-edgewise-site: cloud", b"x-edgewise-attempts: 2", b"x-edgewise-model-version: 12"
        )
    )
    due_ms = [0, 0, 5, 5.5, 40]
    recording = engine.run(job(server.port, due_ms, (b"cat", b"dog"), headers=(("x-tenant", "a b"),)))
    assert recording.due_ns.tolist() == [int(due * MS) for due in due_ms]
    assert states(recording) == ["OK"] * 5
    assert recording.code.tolist() == [200] * 5
    assert (recording.sent_ns >= recording.due_ns).all()
    assert (recording.ended_ns > recording.sent_ns).all()
    assert [recording.answers[index] for index in recording.answer] == [b"CAT", b"DOG", b"CAT", b"DOG", b"CAT"]
    assert [recording.sites[index] for index in recording.site] == ["cloud"] * 5
    assert recording.attempts.tolist() == [2] * 5
    assert recording.version.tolist() == [12] * 5
    assert (recording.errors, recording.stopped) == ({}, False)
    assert abs(recording.started_wall_s - time.time()) < WAIT_S
    assert recording.cpu_s > 0
    assert len(recording.latency_ns()) == len(recording.lag_ns()) == 5
    head = server.requests[0][2]
    assert head.startswith(b"POST /v1/models/m:predict HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % server.port)
    assert b"\r\ncontent-type: text/plain\r\n" in head
    assert b"\r\nx-tenant: a b\r\n" in head


def test_every_status_has_its_state(engine, serving):
    server = serving(lambda _c, _n, _head, body: answer(b'{"error": "because"}', int(body)))
    statuses = [200, 201, 429, 503, 504, 400, 404, 500, 502]
    recording = engine.run(job(server.port, range(9), [b"%d" % status for status in statuses]))
    assert recording.code.tolist() == statuses
    expected = ["OK", "OK", "REJECTED", "REJECTED", "EXPIRED", "ERROR", "ERROR", "ERROR", "ERROR"]
    assert states(recording) == expected
    assert (recording.answer[2:] == OTHER_ANSWER).all()
    assert recording.errors == {f'{status} {{"error": "because"}}': 1 for status in statuses[2:]}
    assert (recording.ended_ns >= 0).all()


def test_long_questions_and_answers_pass_whole(engine, serving):
    server = serving(lambda _c, _n, _head, body: answer(body[::-1]))
    body = os.urandom(3_000_000)
    recording = engine.run(job(server.port, [0, 0, 1], (body, body[:40_000])))
    assert states(recording) == ["OK"] * 3
    assert {request[3] for request in server.requests} == {body, body[:40_000]}
    # Longer than what the table takes; the others are in it.
    assert recording.answer.tolist() == [OTHER_ANSWER, 0, OTHER_ANSWER]
    assert recording.answers == [body[:40_000][::-1]]


def test_answers_in_pieces_of_unknown_length_and_at_the_last_moment_are_understood(engine, serving):
    ways = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"abcde"),
        answer(b"abcde", 200, b"connection: close"),
        Last(b"HTTP/1.1 200 OK\r\n\r\nabcde"),
    ]
    server = serving(lambda _c, _n, _head, body: ways[int(body)])
    recording = engine.run(job(server.port, range(4), (b"0", b"1", b"2", b"3")))
    assert states(recording) == ["OK"] * 4
    assert recording.answers == [b"abcde"]


def test_of_several_addresses_the_one_that_answers_is_taken(engine, serving):
    server = serving(lambda _c, _n, _head, _body: answer())
    asked = job(server.port, np.arange(30))
    # It may have an address of the other family, where nobody listens.
    recording = engine.run(replace(asked, asking=replace(asked.asking, host="localhost")))
    assert states(recording) == ["OK"] * 30


def test_whatever_a_server_does_each_request_ends_once_and_every_failure_has_its_reason(engine, serving):
    chance = random.Random(5)
    ways = [
        lambda: answer(b"right"),
        lambda: answer(b"right", 200, b"connection: close"),
        lambda: answer(b"busy", 503),
        lambda: answer(b"wrong", 500),
        lambda: b"nonsense\r\n\r\n",
        lambda: Last(answer(b"right")),
        lambda: Last(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
        lambda: CLOSE,
        lambda: answer(b"right") + b"and more",
        lambda: server.later(0.03, answer(b"slow")),
        lambda: server.later(0.4, answer(b"late")),
    ]
    server = serving(lambda _c, _n, _head, _body: chance.choice(ways)())
    recording = engine.run(job(server.port, np.arange(600), timeout_s=0.3, max_connections=40))
    assert sum(recording.errors.values()) == int((recording.state != State.OK).sum())
    assert set(states(recording)) == {"OK", "REJECTED", "ERROR", "LOST"}
    assert set(recording.answers) == {b"right", b"slow"}
    assert (recording.ended_ns - recording.due_ns).max() <= 0.3e9
    assert ((recording.answer != OTHER_ANSWER) == (recording.state == State.OK)).all()


def test_idle_connections_are_used_again_the_last_one_first(engine, serving):
    server = serving(lambda _c, _n, _head, _body: answer())
    recording = engine.run(job(server.port, np.arange(20) * 5))
    assert states(recording) == ["OK"] * 20
    assert recording.opened == server.connections
    used = {connection for connection, *_ in server.requests}
    assert len(used) < 20


def test_no_more_connections_than_allowed_and_the_line_is_kept_in_order(engine, serving):
    lock = threading.Lock()
    inside, most = 0, 0

    def script(_c, _n, _head, _body):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        server.over.wait(0.01)
        with lock:
            inside -= 1
        return answer()

    server = serving(script)
    recording = engine.run(job(server.port, [0] * 12, [b"%02d" % n for n in range(12)], max_connections=2))
    assert states(recording) == ["OK"] * 12
    assert (most, server.connections) == (2, 2)
    asked = [int(body) for *_, body in server.requests]
    assert all(abs(place - row) <= 1 for place, row in enumerate(asked)), asked
    # All were taken up when they were due; their latency has the waiting in it.
    assert recording.lag_ns().max() < recording.latency_ns().max()
    assert recording.latency_ns().max() >= 6 * 10 * MS


def test_a_server_that_is_not_there_ends_in_lost_requests(engine):
    recording = engine.run(job(free_port(), np.arange(50)))
    assert states(recording) == ["LOST"] * 50
    assert recording.code.tolist() == [-1] * 50
    (text,) = recording.errors
    assert "no connection to 127.0.0.1" in text
    assert "refused" in text
    assert recording.errors[text] == 50


def test_a_server_that_never_answers_ends_in_requests_lost_at_the_end_of_the_patience(engine, serving):
    server = serving(lambda _c, _n, _head, _body: server.later(WAIT_S, CLOSE))
    recording = engine.run(job(server.port, [0, 10, 20], timeout_s=0.2, max_connections=2))
    assert states(recording) == ["LOST"] * 3
    assert (recording.ended_ns - recording.due_ns).tolist() == [200 * MS] * 3
    assert recording.errors == {"no answer within the timeout": 3}


def test_a_server_that_accepts_nobody_any_more_ends_in_lost_requests(engine):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        # Who fills the queue of the listener leaves no room for the engine.
        port = listener.getsockname()[1]
        guests = [socket.socket() for _ in range(4)]
        for guest in guests:
            guest.setblocking(False)
            guest.connect_ex(("127.0.0.1", port))
        recording = engine.run(job(port, [0, 1, 2], timeout_s=0.2))
        for guest in guests:
            guest.close()
    assert states(recording) == ["LOST"] * 3


def test_a_connection_that_breaks_ends_in_a_lost_request_and_the_next_one_has_another(engine, serving):
    server = serving(lambda _c, n, _head, body: CLOSE if body == b"break" else answer())
    recording = engine.run(job(server.port, [0, 30, 60, 90], (b"break", b"work")))
    assert states(recording) == ["LOST", "OK", "LOST", "OK"]
    assert recording.errors == {"the connection was lost: closed by the server": 2}
    assert recording.resent == 0
    assert sum(body == b"break" for *_, body in server.requests) == 2


def test_connections_that_the_server_closes_without_a_word_are_not_used_again(engine, serving):
    server = serving(lambda _c, _n, _head, _body: Last(answer()))
    recording = engine.run(job(server.port, np.arange(15) * 20))
    answered = states(recording).count("OK")
    # One may have been sent before the server's thread came to close.
    assert answered > 7
    assert recording.opened >= answered
    assert len({connection for connection, *_ in server.requests}) >= answered


def test_a_request_on_a_connection_that_was_idle_for_long_is_sent_again_once(engine, serving):
    server = serving(lambda _c, n, _head, _body: answer() if n == 0 else CLOSE)
    recording = engine.run(job(server.port, [0, 1200], max_connections=1))
    assert states(recording) == ["OK", "OK"]
    assert recording.resent == 1
    assert [(connection, number) for connection, number, *_ in server.requests] == [(0, 0), (0, 1), (1, 0)]


def test_what_is_not_http_is_an_error(engine, serving):
    server = serving(lambda _c, _n, _head, _body: b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    recording = engine.run(job(server.port, [0, 5]))
    assert states(recording) == ["ERROR"] * 2
    assert recording.code.tolist() == [-1] * 2
    assert all(text.startswith("the answer is not HTTP") for text in recording.errors)


def test_the_deadline_is_told_and_shrinks_while_a_request_waits(engine, serving):
    server = serving(lambda _c, _n, _head, _body: server.later(0.05, answer()))
    recording = engine.run(job(server.port, [0, 0], deadline_ms=400, max_connections=1))
    assert states(recording) == ["OK"] * 2
    told = [
        int(line.split(b": ")[1])
        for _, _, head, _ in server.requests
        for line in head.splitlines()
        if line.startswith(b"x-edgewise-deadline-ms")
    ]
    assert 0 < told[1] <= 351
    assert told[1] < told[0] <= 400


def test_a_stopped_run_leaves_the_rest_unsent_and_returns(engine, serving):
    server = serving(lambda _c, _n, _head, _body: answer())
    stop = threading.Event()
    told = []

    def progress(due, ended, failed):
        told.append((due, ended, failed))
        if ended >= 5:
            stop.set()

    recording = engine.run(job(server.port, np.arange(10_000) * 50), progress, stop)
    assert recording.stopped
    sent = int((recording.sent_ns >= 0).sum())
    assert 5 <= sent < 10_000
    assert states(recording) == ["OK"] * sent + ["UNSENT"] * (10_000 - sent)
    assert (recording.ended_ns[sent:] == -1).all()
    assert told == sorted(told)
    assert told[-1][1] == 10_000


def test_a_stopped_run_waits_for_what_never_comes_only_for_a_moment(engine, serving):
    server = serving(lambda _c, _n, _head, _body: server.later(WAIT_S, CLOSE))
    stop = threading.Event()
    recording = engine.run(
        job(server.port, [0, 3_600_000], timeout_s=3600), lambda due, _ended, _failed: due and stop.set(), stop
    )
    assert states(recording) == ["LOST", "UNSENT"]
    assert recording.errors == {"the run was stopped before an answer came": 1}


def test_a_wish_to_stop_that_comes_too_late_does_not_reach_the_next_run(engine, serving):
    server = serving(lambda _c, _n, _head, _body: answer())
    # As when a run ends between the wish and its delivery.
    engine._connection.send(STOP)
    recording = engine.run(job(server.port, [0, 10]))
    assert states(recording) == ["OK"] * 2
    assert not recording.stopped


def test_a_run_of_nothing_is_over_at_once(engine):
    recording = engine.run(job(free_port(), []))
    assert len(recording.state) == 0
    assert not recording.stopped


def test_a_process_that_dies_is_told_and_the_next_run_has_another(serving):
    server = serving(lambda _c, _n, _head, _body: answer())
    with Engine() as engine:
        first = engine.pid

        def kill(_due, ended, _failed):
            if ended:
                os.kill(first, signal.SIGKILL)

        with pytest.raises(UnavailableError, match=r"ended \(exit code -9\) in the middle of a run"):
            engine.run(job(server.port, [0, 3_600_000]), kill)
        assert states(engine.run(job(server.port, [0]))) == ["OK"]
        assert engine.pid != first


def test_an_interrupted_run_leaves_no_process_that_sends_on(serving):
    server = serving(lambda _c, _n, _head, _body: answer())
    with Engine() as engine:
        first = engine.pid

        def interrupt(_due, ended, _failed):
            if ended:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.run(job(server.port, [0, 3_600_000]), interrupt)
        assert not Path(f"/proc/{first}").exists()
        assert states(engine.run(job(server.port, [0]))) == ["OK"]


def test_the_process_ends_with_who_asked_for_it():
    engine = Engine()
    with engine:
        pid = engine.pid
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert engine.pid is None


def test_the_cores_are_those_that_were_named_and_reported(engine, serving):
    server = serving(lambda _c, _n, _head, _body: answer())
    one = min(os.sched_getaffinity(0))
    recording = engine.run(job(server.port, [0], cpus=(one,)))
    assert recording.cpus == (one,)
    assert recording.scheduling in {"SCHED_RR", "nice -10", "normal"}
    assert os.sched_getaffinity(engine.pid) == {one}
    assert set(engine.run(job(server.port, [0])).cpus) == os.sched_getaffinity(0)
    with pytest.raises(InvalidArgumentError, match="cores 4095"):
        engine.run(job(server.port, [0], cpus=(4095,)))
    assert states(engine.run(job(server.port, [0]))) == ["OK"]


def test_a_name_that_nobody_knows_is_told(engine):
    asking = Asking("http", "no-such-host.invalid", 80, "/", (Question(b""),))
    with pytest.raises(UnavailableError, match=r"no-such-host.invalid:80 cannot be looked up"):
        engine.run(Job(asking, np.zeros(1, np.int64), np.zeros(1, np.uint16)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"due_ms": [2, 1]}, "have to rise"),
        ({"due_ms": [-1, 1]}, "have to rise"),
        ({"index": [0, 1]}, "there are 1, from 0 on"),
        ({"index": [0]}, "2 due times for 1 questions"),
        ({"timeout_s": 0}, "timeout of 0 s"),
        ({"timeout_s": float("nan")}, "timeout of nan s"),
        ({"deadline_ms": -1}, "deadline of -1 ms"),
        ({"max_connections": 0}, "at least 1"),
        ({"port": 0}, "is no port"),
        ({"headers": (("naïve", "x"),)}, "not ASCII"),
        ({"headers": (("x", "line\r\nbreak"),)}, "cannot be sent as it is"),
    ],
)
def test_impossible_jobs_are_refused_before_anything_is_sent(engine, change, message):
    with pytest.raises(InvalidArgumentError, match=message):
        engine.run(job(**{"port": 9, "due_ms": [0, 1], **change}))
