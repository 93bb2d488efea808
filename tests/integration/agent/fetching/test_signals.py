"""`edgewise fetch` as a process: SIGTERM, SIGINT, exit codes, and its lines."""

import re
import signal
import subprocess
import sys

import pytest

WAIT_S = 30
PROGRAM = """
import argparse, sys
from edgewise.cli import _reported, fetch
parser = argparse.ArgumentParser(prog="edgewise")
fetch.add_to(parser.add_subparsers(required=True))
arguments = parser.parse_args()
sys.exit(_reported(lambda: arguments.run(arguments)))
"""


@pytest.fixture
def start():
    started = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "fetch", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_at_once_and_leaves_nothing(how, code, start, web, step, version, fetches):
    web.content = version.archive
    web.steps = [step(stall_after_bytes=100_000)]
    process = start(f"{web.url}/pets.tar.gz", fetches.directory, "--sha256", version.sha256)
    assert web.stalled.wait(WAIT_S)
    process.send_signal(how)
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == code, err
    assert out == ""
    assert f"stopped by {how.name}; {fetches.directory} is as it was before" in err
    fetches.nothing_is_left()


def test_a_signal_while_it_waits_for_another(start, archive_of, fetches, version):
    from edgewise.agent.fetching.place import Place

    path = archive_of(version)
    with Place(fetches.directory).locked(lambda _: None, lambda: None):
        process = start(path, fetches.directory, "--sha256", version.sha256)
        assert "another fetch works on" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT_S)
    assert process.returncode == 143


def test_its_lines_and_its_exit_codes(start, archive_of, fetches, version):
    path = archive_of(version)
    for how in ("is there", "is there already"):
        process = start(path, fetches.directory, "--sha256", version.sha256)
        out, err = process.communicate(timeout=WAIT_S)
        assert (process.returncode, err) == (0, "")
        size_bytes = sum(map(len, version.files.values()))
        assert re.fullmatch(
            rf"edgewise: {fetches.directory} {how}: {path} sha256={version.sha256} bytes={size_bytes} files=3 "
            r"seconds=\d+\.\d\n",
            out,
        )
    process = start(path, fetches.directory.with_name("2"), "--sha256", "00" * 32)
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"edgewise: wrong checksum: {path} has the SHA-256 {version.sha256}")
    assert err.count("\n") == 1


def test_what_is_not_checked_says_so(start, archive_of, fetches, version):
    process = start(archive_of(version), fetches.directory.with_name("pets"), "--unverified")
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert f"sha256={version.sha256} unverified" in out
    assert "the checksum is not checked" in err
    assert "directories whose name is a number" in err


@pytest.fixture
def archive_of(tmp_path):
    def write(version):
        path = tmp_path / "pets.tar.gz"
        path.write_bytes(version.archive)
        return path

    return write
