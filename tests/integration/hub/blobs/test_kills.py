"""Killed at any point, an upload leaves the blob absent or whole, and the next one makes it whole; a removal takes whole blobs, and no other ones."""

import hashlib
import json
import subprocess
import sys

import pytest

from edgewise.hub.blobs.directory import DirectoryBlobs

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


PRUNING = """
import os, shutil, signal, sys, json
from pathlib import Path

from edgewise.hub.blobs.directory import DirectoryBlobs

root, moment = Path(sys.argv[1]), sys.argv[2]
BEFORE_S = 4e9
unwanted, wanted = sys.argv[3].split(","), sys.argv[4]
CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "remove", "utime", "open")

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

def prune():
    store = DirectoryBlobs(root)
    os.utime(root / "sha256" / wanted[:2] / wanted, (BEFORE_S, BEFORE_S))
    for name in [*unwanted, wanted]:
        store.remove(name, BEFORE_S)

def there():
    return sorted(DirectoryBlobs(root).names())

seen = []
for point in range(1, 1000):
    shutil.copytree(root, root.with_name("before"))
    child = os.fork()
    if child == 0:
        left = [point]
        for name in CALLS:
            setattr(os, name, deadly(name, left))
        try:
            prune()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    before = there()
    prune()
    seen.append([os.WIFSIGNALED(status), before, there()])
    if not seen[-1][0]:
        break
    shutil.rmtree(root)
    root.with_name("before").rename(root)
print(json.dumps(seen))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_point_while_blobs_are_removed(tmp_path, moment):
    store = DirectoryBlobs(tmp_path / "blobs")
    names = []
    for number in range(4):
        content = b"%d" % number
        names.append(hashlib.sha256(content).hexdigest())
        upload = store.upload(names[-1])
        upload.write(content)
        upload.commit()
    *unwanted, wanted = names
    done = subprocess.run(
        [sys.executable, "-c", PRUNING, str(tmp_path / "blobs"), moment, ",".join(unwanted), wanted],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert not seen[-1][0]
    # One goes after the other, and what is wanted never does.
    assert {tuple(before) for _, before, _ in seen} == {tuple(sorted(names[gone:])) for gone in range(4)}
    assert all(after == [wanted] for _, _, after in seen)


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
