"""A PostgreSQL of one's own: Debian's package, run by a user without rights, in a directory that goes away."""

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

INSTALL_TIMEOUT_S = 600
START_TIMEOUT_S = 60
_APT_LISTS = Path("/var/lib/apt/lists/lock")
_HOMES = Path("/usr/lib/postgresql")


class Postgres:
    """A running server, asked through a socket in its directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"hub_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(f"host={self._directory} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://postgres@/{name}?host={self._directory}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start one, and stop it in the end."""
    programs = _programs()
    directory = Path(tempfile.mkdtemp(prefix="edgewise-pg-"))
    user = _user(directory)
    data = str(directory / "data")
    try:
        _run(user, str(programs / "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        # Nobody loses the power here; what a crash of the machine would do is PostgreSQL's to test.
        options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off"
        log = str(directory / "log")
        _run(user, str(programs / "pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start")
        try:
            yield Postgres(directory)
        finally:
            _run(user, str(programs / "pg_ctl"), "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path:
    """Where initdb and pg_ctl are; installed where they are missing and root may."""
    found = _newest()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        told = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        patient = ["apt-get", "-qq", "-o", f"DPkg::Lock::Timeout={INSTALL_TIMEOUT_S}"]
        for words in (["update"], ["install", "--yes", "--no-install-recommends", "postgresql"]):
            _wait_for_others()
            subprocess.run([*patient, *words], env=told, timeout=INSTALL_TIMEOUT_S, check=False)
        found = _newest()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found


def _wait_for_others() -> None:
    """Others install as well, and apt-get gives up at once where its lists are locked."""
    if _APT_LISTS.exists():
        with _APT_LISTS.open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)


def _newest() -> Path | None:
    homes = sorted(_HOMES.glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    return homes[-1].parent if homes else None


def _user(directory: Path) -> str | None:
    """Who runs it: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    user = next((name for name in ("postgres", "nobody") if _is_there(name)), None)
    if user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
    found = pwd.getpwnam(user)
    os.chown(directory, found.pw_uid, found.pw_gid)
    return user


def _is_there(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _run(user: str | None, *words: str) -> None:
    done = subprocess.run(
        words,
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]} failed: {done.stderr}"
