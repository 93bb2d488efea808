"""A spool on a real disk that is too small for its bound."""

import os
import subprocess

import pytest

from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter, records_of


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_full_and_has_room_again(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1200k", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        now_s = [0.0]
        writer = SpoolWriter(disk / "spool", SpoolBounds(free_bytes=0), writer="w0", monotonic_s=lambda: now_s[0])
        taken = [writer.offer(f"{number:02x}" * 16, 1, bytes(50_000)) for number in range(40)]
        assert 15 < sum(taken) < 25
        assert writer.flush() == sum(taken)
        assert writer.counters.dropped == {("disk-full", 1): 40 - sum(taken)}
        now_s[0] = 11.0
        writer.tick()
        reader = SpoolReader(disk / "spool")
        for segment in reader.segments():
            assert all(each == bytes(50_000) for each in records_of(reader.read(segment, 0, segment.size_bytes)))
            reader.remove(segment)
        now_s[0] = 20.0
        assert writer.offer("ff" * 16, 1, bytes(50_000))
        writer.close()
        counters = reader.counters()
        assert (counters.offered, counters.accepted) == (41, sum(taken) + 1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk that is read-only")
def test_a_disk_that_is_read_only(tmp_path):
    from edgewise.core.errors import FailedPreconditionError

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        for directory in (disk, disk / "spool"):
            with pytest.raises(
                FailedPreconditionError, match="its file system is read-only; name a directory on one that can"
            ):
                SpoolWriter(directory, SpoolBounds(), writer="w0")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
