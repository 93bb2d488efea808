"""The network side of an MLPerf run: each sample ends once, whatever becomes of it."""

import asyncio
import contextlib
import re
from collections import Counter

import pytest

from edgewise.study.engine.job import Asking, Question
from edgewise.study.mlperf_network import sender
from support import event_loop
from support.sockets import free_port
from support.waiting import until

SAMPLES = 10
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Ledger:
    """What was told of each sample."""

    def __init__(self):
        self.ended = {}
        self.times = Counter()

    def done(self, tag, body, problem):
        self.times[tag] += 1
        self.ended[tag] = (bytes(body), problem)

    def once(self, count=SAMPLES):
        return len(self.times) == count and set(self.times.values()) == {1}


def asking(transport, port):
    path = "/v1/models/m:predict" if transport == "http" else "/inference.GRPCInferenceService/ModelInfer"
    return Asking(transport, "127.0.0.1", port, path, [Question(b"one"), Question(b"two")])


class Holding(asyncio.Protocol):
    """One connection of a server that takes requests over HTTP/1.1 and answers when told; other bytes it ignores."""

    def __init__(self, held):
        self.held = held
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport
        self.held.connections.append(transport)

    def data_received(self, data):
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if found and length and len(body) == int(length[1]):
            self.received = b""
            self.held.bodies.append(body)
            self.held.waiting.append(self.transport)


class Held:
    """What such a server was asked and has not answered."""

    def __init__(self):
        self.connections = []
        self.waiting = []
        self.bodies = []

    def answer(self, raw=OK):
        waiting, self.waiting = self.waiting, []
        for transport in waiting:
            transport.write(raw)


@contextlib.asynccontextmanager
async def holding():
    held = Held()
    server = await asyncio.get_running_loop().create_server(lambda: Holding(held), "127.0.0.1", 0)
    try:
        yield held, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in held.connections:
            transport.abort()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def asker_to(port, transport="http", *, window=3, timeout_s=5.0):
    asker = sender(asking(transport, port), window=window, timeout_s=timeout_s)
    try:
        yield asker, Ledger()
    finally:
        await asker.close()


def test_no_more_than_the_window_are_in_flight_and_all_are_asked():
    async def main():
        async with holding() as (held, port), asker_to(port) as (asker, ledger):
            for tag in range(SAMPLES):
                asker.ask(tag % 2, tag, ledger.done)
            for round_of in (3, 3, 3, 1):
                await until(lambda count=round_of: len(held.waiting) == count)
                held.answer()
            await until(ledger.once)

            assert set(ledger.ended.values()) == {(b"ok", "")}
            assert Counter(held.bodies) == {b"one": 5, b"two": 5}
            assert len(held.connections) == 3

    event_loop.run(main)


def test_what_is_in_flight_waits_or_comes_later_is_given_up_once():
    async def main():
        async with holding() as (held, port), asker_to(port) as (asker, ledger):
            for tag in range(SAMPLES - 1):
                asker.ask(0, tag, ledger.done)
            await until(lambda: len(held.waiting) == 3)

            asker.give_up("that was long enough")
            asker.ask(0, SAMPLES - 1, ledger.done)

            assert ledger.once()
            assert set(ledger.ended.values()) == {(b"", "that was long enough")}
            held.answer()
            await asker.close()
            assert ledger.once()

    event_loop.run(main)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_what_is_given_up_while_a_connection_is_made_ends_once(transport):
    async def main():
        async with holding() as (_, port), asker_to(port, transport) as (asker, ledger):
            for tag in range(SAMPLES):
                asker.ask(0, tag, ledger.done)

            asker.give_up("never mind")

            assert ledger.once()
            await asker.close()
            assert ledger.once()

    event_loop.run(main)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_each_sample_that_finds_nobody_is_told(transport):
    async def main():
        async with asker_to(free_port(), transport) as (asker, ledger):
            for tag in range(SAMPLES):
                asker.ask(0, tag, ledger.done)
            await until(ledger.once)

            assert all("no connection to 127.0.0.1:" in problem for _, problem in ledger.ended.values())

    event_loop.run(main)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_samples_nobody_answers_end_with_their_timeout_and_the_next_are_asked(transport):
    async def main():
        async with holding() as (_, port), asker_to(port, transport, window=5, timeout_s=0.1) as (asker, ledger):
            for tag in range(SAMPLES):
                asker.ask(0, tag, ledger.done)
            await until(ledger.once)

            assert all(problem for _, problem in ledger.ended.values())

    event_loop.run(main)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'HTTP/1.1 503 Full\r\ncontent-length: 21\r\n\r\n{"error":"too  busy"}', "HTTP 503: too busy"),
        (b"HTTP/1.1 404 No\r\ncontent-length: 3\r\n\r\nno\n", "HTTP 404: no"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", "HTTP 500: "),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer "),
    ],
)
def test_another_answer_is_no_prediction_and_the_next_is_asked(raw, problem):
    async def main():
        async with holding() as (held, port), asker_to(port) as (asker, ledger):
            asker.ask(0, 0, ledger.done)
            await until(lambda: held.waiting)
            held.answer(raw)
            await until(lambda: ledger.once(1))
            asker.ask(0, 1, ledger.done)
            await until(lambda: held.waiting)
            held.answer()
            await until(lambda: ledger.once(2))

            assert ledger.ended[0][1].startswith(problem)
            assert ledger.ended[1] == (b"ok", "")

    event_loop.run(main)


def test_a_path_that_cannot_be_sent_is_refused():
    async def main():
        with pytest.raises(ValueError, match="space"):
            sender(Asking("http", "h", 1, "/a b", [Question(b"")]), window=1, timeout_s=1)

    event_loop.run(main)
