"""Killed at any point, an upload leaves the blob absent or whole, and the next one makes it whole."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, json, os, shutil, signal, sys
from pathlib import Path

from edgewise.hub.blobs.directory import DirectoryBlobs

root, moment = Path(sys.argv[1]), sys.argv[2]
CONTENT = b"0123456789" * 1000
NAME = hashlib.sha256(CONTENT).hexdigest()
CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "chmod", "open")

def deadly(name, left):
    call = getattr(os, name)
    def called(*words, **options):
        left[0] -= 1
        if left[0] == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        last = left[0] == 0
        try:
            return call(*words, **options)
        finally:
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
    return called

def upload():
    store = DirectoryBlobs(root)
    one = store.upload(NAME)
    one.write(CONTENT[:4000])
    one.write(CONTENT[4000:])
    one.commit()

def state():
    path = root / "sha256" / NAME[:2] / NAME
    return path.read_bytes() == CONTENT if path.exists() else None

seen = []
for point in range(1, 1000):
    child = os.fork()
    if child == 0:
        left = [point]
        for name in CALLS:
            setattr(os, name, deadly(name, left))
        try:
            upload()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    left = state()
    upload()
    seen.append([killed, left, state(), len(os.listdir(root / "incoming"))])
    if not killed:
        break
    shutil.rmtree(root)
print(json.dumps(seen))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_point(tmp_path, moment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "blobs"), moment],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen) > 6
    assert not seen[-1][0]
    assert {left for _, left, *_ in seen} == {None, True}
    assert all(after and left_over == 0 for _, _, after, left_over in seen)
