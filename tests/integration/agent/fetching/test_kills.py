"""Killed at any point, a fetch leaves the directory absent or whole, and the next one makes it whole.

A process is killed with SIGKILL just before, or just after, its first call that changes the disk, then its second, and so on
until it gets through. Each time what is left is looked at, and the fetch is repeated.
"""

import json

import pytest

from support.deadly_calls import printed

PROGRAM = """
import os, shutil, sys
from pathlib import Path

from edgewise.agent.fetching.fetch import FetchRequest, fetch
from edgewise.agent.fetching import archives, fetch as fetching, files_source, http_source, place, tar_archives
from edgewise.agent.fetching.uris import parse_uri
from support.deadly_calls import print_seen

uri, sha256, models, moment = sys.argv[1:]
directory = Path(models) / "pets" / "1"
request = FetchRequest(parse_uri(uri), directory, sha256)
already = None

def files():
    return sorted(
        (str(path.relative_to(directory)), path.stat().st_size) for path in directory.rglob("*") if path.is_file()
    ) if directory.exists() else None

def take():
    global already
    already = fetch(request, lambda line: None).already

def look():
    beside = directory.parent / ".1.fetch"
    return [files(), already, sorted(os.listdir(beside)) if beside.exists() else None]

print_seen(moment, take, look=look, again=take, put_back=lambda: shutil.rmtree(models, ignore_errors=True))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("source", ["archive", "directory", "http"])
def test_killed_at_every_point(source, moment, tmp_path, version, tools, web):
    from edgewise.agent.fetching.digests import digest_of_path

    uri, sha256 = str(tmp_path / "pets.tar.gz"), version.sha256
    if source == "archive":
        (tmp_path / "pets.tar.gz").write_bytes(version.archive)
    elif source == "http":
        web.content = version.archive
        uri = f"{web.url}/pets.tar.gz"
    else:
        uri = str(tmp_path / "source")
        for name, content in version.files.items():
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "source" / name).write_bytes(content)
        sha256 = digest_of_path(tmp_path / "source")
    seen = json.loads(printed(["-c", PROGRAM], uri, sha256, str(tmp_path / "models"), moment))
    whole = sorted([name, len(content)] for name, content in version.files.items())
    # It was killed often, before the version appeared and after, and got through in the end.
    assert len(seen) > 20
    assert not seen[-1][0]
    assert {files is None for _, (files, *_), _ in seen} == {True, False}
    for killed, (left, *_), (after, already, beside) in seen:
        assert left in (None, whole)
        assert already == (left is not None)
        assert after == whole
        assert beside == ["lock", "record.json"], killed
