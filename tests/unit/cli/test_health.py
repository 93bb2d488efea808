"""`edgewise health` says by its exit code whether a server is ready, and in words why it is not."""

import argparse
import contextlib
import socket
import subprocess
import sys
import threading

import pytest

from edgewise.cli import health
from edgewise.core.errors import UnavailableError


def run(*words):
    """The exit code of `edgewise health`."""
    parser = argparse.ArgumentParser(prog="edgewise")
    health.add_to(parser.add_subparsers())
    arguments = parser.parse_args(["health", *words])
    return arguments.run(arguments)


@contextlib.contextmanager
def answering(*pieces, keep_open=None):
    """The URL of a server that takes one connection and sends these pieces, and a list that its request is put into.

    Args:
        keep_open: an event that is waited for before the connection is closed.
    """
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096).decode("latin-1"))
                # One that expected something else has gone.
                with contextlib.suppress(OSError):
                    for piece in pieces:
                        connection.sendall(piece)
                if keep_open is not None:
                    keep_open.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            if keep_open is not None:
                keep_open.set()
            thread.join(30)


def test_ready_is_zero(capsys):
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as (url, asked):
        assert run(url) == 0
    assert asked[0].startswith("GET /v2/health/ready HTTP/1.1\r\nHost: 127.0.0.1:")
    assert capsys.readouterr().out == f"{url}/v2/health/ready is ready\n"


def test_a_path_of_ones_own_is_asked():
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (url, asked):
        assert run(f"{url}/v2/models/pets/ready?x=1") == 0
    assert asked[0].startswith("GET /v2/models/pets/ready?x=1 HTTP/1.1\r\n")


def test_an_answer_in_pieces_is_read_to_the_end_of_its_first_line():
    with (
        answering(b"HT", b"TP/1.1 5", b"03 Service Unavailable\r\n") as (url, _),
        pytest.raises(UnavailableError) as raised,
    ):
        run(url)
    assert raised.value.message == f"{url}/v2/health/ready is not ready: it answered 503"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnavailableError, match="cannot be asked: Connection refused"):
        run(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1\r\n", b"\x00" * 5000])
def test_what_speaks_another_protocol_is_not_ready(said):
    with answering(said) as (url, _), pytest.raises(UnavailableError, match="does not speak HTTP"):
        run(url)


def test_silence_ends():
    with answering(keep_open=threading.Event()) as (url, _), pytest.raises(UnavailableError, match="within 0.05 s"):
        run(url, "--timeout-s", "0.05")


def test_another_protocol_behind_https_is_not_ready():
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (url, _), pytest.raises(UnavailableError, match="cannot be asked"):
        run(url.replace("http:", "https:"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8501",
        "ftp://127.0.0.1",
        "http://",
        "http://a:99999",
        "http://a:0",
        "http://u:p@a",
        "http://a/b c",
    ],
)
def test_a_wrong_url_is_refused(url, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(url)
    assert stopped.value.code == 2
    assert "expected http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:8501" in capsys.readouterr().err


def test_it_imports_nothing_heavy():
    script = "import sys, edgewise.cli.health; print(sorted({'asyncio', 'ssl', 'http', 'numpy', 'uvloop'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
