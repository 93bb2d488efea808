"""Killed at any point, a fetch leaves the directory absent or whole, and the next one makes it whole.

A process is killed with SIGKILL just before, or just after, its first call that changes the disk, then its second, and so on
until it gets through. Each time what is left is looked at, and the fetch is repeated.
"""

import json
import subprocess
import sys

import pytest

# Forks a child for each point: this process has no threads, and importing once keeps it quick.
PROGRAM = """
import json, os, shutil, signal, sys
from pathlib import Path

from edgewise.agent.fetching.fetch import FetchRequest, fetch
from edgewise.agent.fetching import archives, fetch as fetching, files_source, http_source, place, tar_archives
from edgewise.agent.fetching.uris import parse_uri

uri, sha256, models, moment = sys.argv[1:]
directory = Path(models) / "pets" / "1"
request = FetchRequest(parse_uri(uri), directory, sha256)
CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "link", "open", "ftruncate")

def deadly(name, left):
    call = getattr(os, name)
    def called(*words, **options):
        left[0] -= 1
        if left[0] == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*words, **options)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return called

def files():
    return sorted(
        (str(path.relative_to(directory)), path.stat().st_size) for path in directory.rglob("*") if path.is_file()
    ) if directory.exists() else None

seen = []
for point in range(1, 1000):
    child = os.fork()
    if child == 0:
        left = [point]
        for name in CALLS:
            setattr(os, name, deadly(name, left))
        try:
            fetch(request, lambda line: None)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    left = files()
    fetched = fetch(request, lambda line: None)
    beside = sorted(os.listdir(directory.parent / ".1.fetch"))
    seen.append([killed, left, files(), fetched.already, beside])
    if not killed:
        break
    shutil.rmtree(models)
print(json.dumps(seen))
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
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, uri, sha256, str(tmp_path / "models"), moment],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    whole = sorted([name, len(content)] for name, content in version.files.items())
    # It was killed often, before the version appeared and after, and got through in the end.
    assert len(seen) > 20
    assert not seen[-1][0]
    assert {left is None for _, left, *_ in seen} == {True, False}
    for killed, left, after, already, beside in seen:
        assert left in (None, whole)
        assert already == (left is not None)
        assert after == whole
        assert beside == ["lock", "record.json"], killed
