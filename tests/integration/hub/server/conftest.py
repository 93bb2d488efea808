"""`edgewise hub` as a person types it."""

import contextlib
import io
import re
import select
import signal
import subprocess
import sys

import httpx
import pytest

from edgewise.cli import main
from support.postgres import running_postgres

WAIT_S = 60


class Command:
    """Runs `edgewise` in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory

    def __call__(self, *words, code=0):
        """What it prints; on standard error when it fails."""
        run = self._in_process if words[:2] == ("hub", "serve") else self._in_this_process
        found, out, err = run(*map(str, words))
        assert found == code, err
        assert "Traceback" not in err
        return out if code == 0 else err

    def _in_process(self, *words):
        command = [sys.executable, "-m", "edgewise", *words]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False, timeout=WAIT_S)
        return done.returncode, done.stdout, done.stderr

    def _in_this_process(self, *words):
        """To start Python for each would take most of the time."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.directory), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as ended:
                code = ended.code
        return code, out.getvalue(), err.getvalue()

    def init(self, *words, state="hub"):
        """The administrator's token of a new hub."""
        out = self("hub", "init", "--state", state, "--with-offline-keys", f"{state}-trust", *words)
        return re.search(r"ewt_\S+", out)[0]

    @contextlib.contextmanager
    def serving(self, *words, state="hub", stop=True):
        """A process that serves, and its address."""
        with (self.directory / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgewise", "hub", "serve", "--state", state, "--port", "0", *map(str, words)],
                cwd=self.directory,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            readable, _, _ = select.select([process.stdout], [], [], WAIT_S)
            line = process.stdout.readline() if readable else ""
            assert line.startswith("edgewise: ready hub="), (self.directory / "log").read_text()
            yield Serving(process, line.split("=", 1)[1].strip())
            if stop:
                process.send_signal(signal.SIGTERM)
                assert process.wait(WAIT_S) == 0, (self.directory / "log").read_text()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @property
    def log(self):
        return (self.directory / "log").read_text()


class Serving:
    """A hub that serves."""

    def __init__(self, process, url):
        self.process = process
        self.url = url

    def client(self, token, **options):
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {token}"}, timeout=WAIT_S, **options)


@pytest.fixture
def edgewise(tmp_path):
    return Command(tmp_path)


@pytest.fixture(scope="session")
def postgres():
    with running_postgres() as server:
        yield server
