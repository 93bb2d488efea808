"""Whoever reads what the commands print may go (`| head`): no command complains of that."""

import os
import subprocess
import sys

import pytest

UNREAD = 128 + 13


def run_unread(*command, stderr=subprocess.PIPE):
    """The command, its standard output a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, *command],
            stdout=writer,
            stderr=writer if stderr is None else stderr,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--help"], ["tensorflow-model-server", "--help"]], ids=" ".join)
def test_a_command_ends_quietly(words, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = run_unread("-m", "edgewise", *words)
    assert done.stderr == b""
    # Later releases of Python 3.11 swallow the error of an unbuffered stream in argparse itself.
    assert done.returncode in ((0, UNREAD) if unbuffered and words == ["--help"] else (UNREAD,))


def test_up_ends_quietly(tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    done = run_unread("-m", "edgewise", "up", "--state", str(tmp_path / "state"), "--images", str(tmp_path))
    assert (done.returncode, done.stderr) == (UNREAD, b"")


def test_up_takes_a_command_of_its_own_that_nobody_reads_for_its_end():
    code = """
import sys
from edgewise.local.commands import edgewise
try:
    edgewise("tensorflow-model-server", "--version")
except BrokenPipeError:
    sys.exit(7)
"""
    done = run_unread("-c", code)
    assert (done.returncode, done.stderr) == (7, b"")


def test_an_error_that_nobody_reads_either(tmp_path):
    words = ("up", "--state", str(tmp_path / "state"), "--images", str(tmp_path))
    assert run_unread("-m", "edgewise", *words, stderr=None).returncode == UNREAD


def test_no_standard_output_at_all():
    done = subprocess.run(
        f"exec {sys.executable} -m edgewise tensorflow-model-server --version >&-",
        shell=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
