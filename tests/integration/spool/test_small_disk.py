"""A spool on a real disk that is too small for its bound."""

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter, records_of
from support.mounting import mounted, small_disk


def test_a_disk_that_is_full_and_has_room_again(tmp_path):
    with small_disk(tmp_path / "disk", "1200k") as disk:
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


def test_a_disk_that_is_read_only(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro", "none") as disk:
        for directory in (disk, disk / "spool"):
            with pytest.raises(
                FailedPreconditionError, match="its file system is read-only; name a directory on one that can"
            ):
                SpoolWriter(directory, SpoolBounds(), writer="w0")
