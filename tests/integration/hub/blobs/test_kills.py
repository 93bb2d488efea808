"""Killed at any point, an upload leaves the blob absent or whole, and the next one makes it whole."""

import json

import pytest

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


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_point(tmp_path, moment):
    seen = json.loads(printed(["-c", PROGRAM], str(tmp_path / "blobs"), moment))
    assert len(seen) > 6
    assert not seen[-1][0]
    assert {whole for _, (whole, _), _ in seen} == {None, True}
    assert all(after == [True, 0] for _, _, after in seen)
