"""What works, and what is said, where the extra `grpc` is not installed."""

import subprocess
import sys

import pytest

# Refuses the library as a machine without it would, then does what follows.
BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("grpc", "grpc_health", "grpc_reflection"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""
MESSAGE = "grpc:// and grpcs:// URLs need grpcio, which is not installed: pip install 'edgewise[grpc]'"


def run(code, *arguments):
    command = [sys.executable, "-c", BLOCKED + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_server_health_and_reflection_do_without():
    done = run("""
import edgewise.model_server.server
from edgewise.net.grpc_health import HealthService
from edgewise.net.grpc_reflection import methods
from edgewise.protocols.reflection import public_pool

HealthService(("",)).say(serving=True)
assert len(methods(("a.B",), public_pool())) == 2
""")
    assert done.returncode == 0, done.stderr


def test_the_client_speaks_rest_without():
    done = run("from edgewise.client import Client; Client('http://127.0.0.1:1').close()")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("url", ["grpc://127.0.0.1:1", "grpcs://127.0.0.1:1"])
def test_a_grpc_url_says_what_to_install(url):
    done = run(
        """
import asyncio
from edgewise.client import AsyncClient, Client, FailedPreconditionError

async def ask():
    async with AsyncClient(sys.argv[1]) as client:
        await client.ready()

for attempt in (lambda: Client(sys.argv[1]), lambda: asyncio.run(ask())) * 2:
    try:
        attempt()
    except FailedPreconditionError as error:
        print(error.message)
""",
        url,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [MESSAGE] * 4


def test_the_command_line_says_so_without_a_traceback():
    done = run("""
from edgewise.cli import main
sys.exit(main(["predict", "--url", "grpc://127.0.0.1:1", "--model", "pets", "cat.jpg"]))
""")
    assert done.returncode == 1
    assert done.stderr == f"edgewise: {MESSAGE}\n"
    assert done.stdout == ""
