"""What the bench rolls out: a release of a few bytes, since simulated agents fetch nothing."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def publish(url: str, token: str, trust: Path) -> None:
    """Make versions 1 and 2 of pets at a hub."""
    environment = {**os.environ, "EDGEWISE_HUB": url, "EDGEWISE_HUB_TOKEN": token}
    for version in ("1", "2"):
        with tempfile.TemporaryDirectory(prefix="edgewise-bench-hub-") as scratch:
            (Path(scratch) / "model.onnx").write_bytes(f"version {version}".encode())
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "edgewise",
                    "release",
                    "create",
                    "pets",
                    version,
                    "--all",
                    scratch,
                    "--trust",
                    str(trust),
                ],
                check=True,
                env=environment,
            )


def desired_key(public_keys: Path) -> str:
    """The key that signs desired states, by what `hub init` wrote."""
    return str(json.loads(public_keys.read_text())["desired"])
