"""A server process that was stopped for a while runs nothing that its clients have given up meanwhile."""

import os
import signal
import socket
import struct
import subprocess
import sys

SERVER = """
import asyncio
from edgewise.net.http_server import HttpServer

async def main():
    def handler(exchange):
        print(exchange.path.decode(), flush=True)
        exchange.respond(200, (), b"ok")
    server = HttpServer(handler)
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.Event().wait()

import uvloop
uvloop.run(main())
"""


def ask(port, path):
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    return connection


def test_what_was_given_up_while_the_process_was_stopped_is_not_run():
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            with ask(port, "/before") as before:
                assert b"200 OK" in before.recv(1000)
            assert server.stdout.readline() == "/before\n"
            with socket.create_connection(("127.0.0.1", port), timeout=10) as kept:
                kept.sendall(b"GET /kept HTTP/1.1\r\nhost: x\r\n\r\n")
                assert kept.recv(1000)
                assert server.stdout.readline() == "/kept\n"
                os.kill(server.pid, signal.SIGSTOP)
                os.waitpid(server.pid, os.WUNTRACED)
                given_up = [ask(port, f"/given-up-{number}") for number in range(5)]
                kept.sendall(b"GET /waits HTTP/1.1\r\nhost: x\r\n\r\n")
                for connection in given_up:
                    # A reset, as when a gateway gives a site up.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()
                # Long enough for the server to see that it was away.
                kept.settimeout(0.7)
                try:
                    kept.recv(1000)
                    raise AssertionError("a stopped process answered")
                except TimeoutError:
                    kept.settimeout(10)
                os.kill(server.pid, signal.SIGCONT)
                assert b"200 OK" in kept.recv(1000)
            with ask(port, "/after") as after:
                assert b"200 OK" in after.recv(1000)
            assert server.stdout.readline() == "/waits\n"
            assert server.stdout.readline() == "/after\n"
        finally:
            server.kill()
