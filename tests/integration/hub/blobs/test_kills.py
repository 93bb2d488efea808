"""Killed at any point, an upload leaves the blob absent or whole, and the next one makes it whole; a removal takes whole blobs, and no other ones."""

import hashlib
import json

import pytest

from edgewise.hub.blobs.directory import DirectoryBlobs
from support.deadly_calls import printed

PROGRAM = """
import hashlib, os, shutil, sys
from pathlib import Path

from edgewise.hub.blobs.directory import DirectoryBlobs
from support.deadly_calls import print_seen

root, moment = Path(sys.argv[1]), sys.argv[2]
CONTENT = b"0123456789" * 1000
NAME = hashlib.sha256(CONTENT).hexdigest()

def upload():
    store = DirectoryBlobs(root)
    one = store.upload(NAME)
    one.write(CONTENT[:4000])
    one.write(CONTENT[4000:])
    one.commit()

def look():
    path, incoming = root / "sha256" / NAME[:2] / NAME, root / "incoming"
    whole = path.read_bytes() == CONTENT if path.exists() else None
    return [whole, len(os.listdir(incoming)) if incoming.exists() else 0]

print_seen(moment, upload, look=look, again=upload, put_back=lambda: shutil.rmtree(root))
"""


PRUNING = """
import os, shutil, sys
from pathlib import Path

from edgewise.hub.blobs.directory import DirectoryBlobs
from support.deadly_calls import print_seen

root, moment = Path(sys.argv[1]), sys.argv[2]
unwanted, wanted = sys.argv[3].split(","), sys.argv[4]
aside, BEFORE_S = root.with_name("before"), 4e9
os.utime(root / "sha256" / wanted[:2] / wanted, (BEFORE_S, BEFORE_S))
shutil.copytree(root, aside)

def prune():
    store = DirectoryBlobs(root)
    for name in [*unwanted, wanted]:
        store.remove(name, BEFORE_S)

def put_back():
    shutil.rmtree(root)
    shutil.copytree(aside, root)

print_seen(moment, prune, look=lambda: sorted(DirectoryBlobs(root).names()), again=prune, put_back=put_back)
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
    seen = json.loads(printed(["-c", PRUNING], str(tmp_path / "blobs"), moment, ",".join(unwanted), wanted))
    assert not seen[-1][0]
    # One goes after the other, and what is wanted never does.
    assert {tuple(before) for _, before, _ in seen} == {tuple(sorted(names[gone:])) for gone in range(4)}
    assert all(after == [wanted] for _, _, after in seen)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_point(tmp_path, moment):
    seen = json.loads(printed(["-c", PROGRAM], str(tmp_path / "blobs"), moment))
    assert len(seen) > 6
    assert not seen[-1][0]
    assert {whole for _, (whole, _), _ in seen} == {None, True}
    assert all(after == [True, 0] for _, _, after in seen)
