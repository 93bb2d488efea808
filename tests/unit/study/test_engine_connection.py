"""One connection of the engine, against a socket that the test holds."""

import asyncio
import contextlib
import socket

import pytest

from edgewise.net.http_response_head import KnownHeads
from edgewise.study.engine.http_connection import IDLE, HttpConnection
from support.event_loop import run
from support.waiting import until

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Owner:
    """Notes what it is told; `untouched` is asked when a request is lost, as the pool does."""

    def __init__(self):
        self.told = []

    def connection_ready(self, connection):
        self.told.append("ready")

    def connection_failed(self, connection, reason):
        self.told.append(("failed", reason))

    def connection_answered(self, connection, row, at_ns, head, body):
        self.told.append(("answered", row, head.status, bytes(body), connection.usable))

    def connection_lost(self, connection, row, reason):
        self.told.append(("lost", row, connection.untouched()))
        connection.close()

    def connection_garbled(self, connection, row, reason):
        self.told.append(("garbled", row))

    def connection_gone(self, connection):
        self.told.append("gone")


class Pair:
    """A connection and the server's side of it."""

    def __init__(self):
        self.owner = Owner()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connection = HttpConnection(self.owner, asyncio.get_running_loop(), bytearray(65536), KnownHeads())

    async def open(self):
        self.connection.open(socket.AF_INET, self._listener.getsockname())
        self.server, _ = self._listener.accept()
        self.server.settimeout(20)
        await until(lambda: self.owner.told == ["ready"])
        self.owner.told.clear()
        return self

    async def exchange(self, row):
        self.connection.ask(row, [b"question"])
        assert self.server.recv(100) == b"question"
        self.server.sendall(ANSWER)
        await until(lambda: self.owner.told)
        assert self.owner.told.pop() == ("answered", row, 200, b"ok", True)

    def close(self):
        self.connection.close()
        self.server.close()
        self._listener.close()


def on_a_pair(test):
    async def main():
        pair = await Pair().open()
        try:
            await test(pair)
        finally:
            pair.close()

    run(main)


def test_a_request_that_the_server_had_no_more_socket_for_is_untouched():
    async def test(pair):
        await pair.exchange(1)
        # The end has come and the loop has not seen it: this is when a request is sent in vain.
        pair.server.close()
        pair.connection.ask(2, [b"in vain"])
        await until(lambda: pair.owner.told)
        assert pair.owner.told == [("lost", 2, True)]

    on_a_pair(test)


def test_a_request_that_the_server_had_taken_is_not():
    async def test(pair):
        await pair.exchange(1)
        pair.connection.ask(2, [b"taken"])
        assert pair.server.recv(100) == b"taken"
        pair.server.close()
        await until(lambda: pair.owner.told)
        assert pair.owner.told == [("lost", 2, False)]
        assert not pair.connection.usable

    on_a_pair(test)


def test_an_idle_connection_knows_whether_something_has_come():
    async def test(pair):
        assert pair.connection.silent
        pair.server.shutdown(socket.SHUT_WR)
        assert not pair.connection.silent
        await until(lambda: pair.owner.told)
        assert pair.owner.told == ["gone"]

    on_a_pair(test)


@pytest.mark.parametrize("word", [b"unasked", ANSWER])
def test_what_nobody_asked_for_ends_an_idle_connection(word):
    async def test(pair):
        pair.server.sendall(word)
        await until(lambda: pair.owner.told)
        assert pair.owner.told == ["gone"]
        assert pair.connection.row == IDLE

    on_a_pair(test)


def test_a_long_request_is_sent_as_the_server_takes_it():
    async def test(pair):
        body = bytes(range(256)) * 40_000
        pair.connection.ask(5, [b"head", body])
        taken = bytearray()

        def take():
            pair.server.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                taken.extend(pair.server.recv(1 << 20))
            return len(taken) == 4 + len(body)

        await until(take)
        assert taken == b"head" + body
        pair.server.sendall(ANSWER)
        await until(lambda: pair.owner.told)
        assert pair.owner.told == [("answered", 5, 200, b"ok", True)]

    on_a_pair(test)


def test_an_answer_before_the_end_of_the_request_counts_and_closes():
    async def test(pair):
        pair.connection.ask(6, [bytes(50_000_000)])
        pair.server.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await until(lambda: pair.owner.told)
        assert pair.owner.told == [("answered", 6, 413, b"", False)]

    on_a_pair(test)


def test_nobody_is_told_of_a_connection_that_was_closed_here():
    async def test(pair):
        pair.connection.ask(7, [b"question"])
        pair.connection.close()
        with contextlib.suppress(ConnectionResetError):
            pair.server.recv(100)
        await asyncio.sleep(0)
        assert pair.owner.told == []

    on_a_pair(test)
