"""Virtual environments of public clients, one each, so that none shares a protobuf or a dependency with the server."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import environments

HERE = Path(__file__).parent


RunClient = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def run_client() -> RunClient:
    """Runs clients/NAME_session.py in the client's environment and gives the JSON object it prints last."""

    def run(name: str, *words: str, script: str | None = None, environment: str | None = None) -> dict[str, Any]:
        python = (
            sys.executable if environment == "own" else str(environments.environment(f"clients-{environment or name}"))
        )
        session = HERE / "clients" / f"{script or name}_session.py"
        done = subprocess.run(
            [python, "-W", "ignore", str(session), *words], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{session.name} failed:\n{done.stdout}\n{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run
