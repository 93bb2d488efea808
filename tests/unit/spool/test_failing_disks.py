"""What the disk refuses never reaches the caller: it is counted, and goes on when there is room."""

import errno
from pathlib import Path

import pytest
from simulate_spool import Clock, simulate
from spool_simulator.virtual_disk import VirtualDisk, VirtualFile

from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter

KIB = 1024


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk(clock):
    return VirtualDisk(clock.wall_s)


def made(disk, clock, **bounds):
    return SpoolWriter(
        Path("virtual"),
        SpoolBounds(**{"free_bytes": 0, **bounds}),
        writer="w0",
        wall_s=clock.wall_s,
        monotonic_s=clock.monotonic_s,
        disk=disk,
    )


def kept(disk):
    return sum(len(file.records) for file in disk.files.values())


def test_a_full_disk(disk, clock, caplog):
    writer = made(disk, clock)
    disk.room_bytes = 200 * KIB
    taken = sum(writer.offer(f"{number:032x}", 1, bytes(10 * KIB)) for number in range(30))
    assert 10 < taken < 20
    assert writer.flush() == taken == kept(disk)
    assert writer.counters.dropped == {("disk-full", 1): 30 - taken}
    assert caplog.text.count("cannot take samples") <= 1
    disk.room_bytes = 10_000 * KIB
    clock.now_s = 6.0
    assert writer.offer("ff" * 16, 1, bytes(10 * KIB))
    writer.close()
    counters = SpoolReader(Path("virtual"), disk=disk).counters()
    assert counters.offered == 31 == counters.accepted + counters.refused
    assert counters.accepted == kept(disk)


def test_a_disk_that_fills_between_two_grants(disk, clock, caplog):
    writer = made(disk, clock)
    assert writer.offer("ff" * 16, 1, bytes(KIB))
    disk.room_bytes = disk.used_bytes + 100
    assert not writer.offer("ff" * 16, 1, bytes(KIB))
    assert not writer.offer("0f" * 16, 1, bytes(KIB))
    assert writer.counters.dropped == {("disk-full", 1): 2}
    assert caplog.text.count("No space left on device; they are counted as dropped") == 1
    disk.room_bytes *= 100
    assert writer.offer("0f" * 16, 1, bytes(KIB))
    assert "takes samples again" in caplog.text
    assert writer.flush() == 2 == kept(disk)


def test_room_that_is_left_to_others(disk, clock):
    disk.room_bytes = 500 * KIB
    writer = made(disk, clock, free_bytes=300 * KIB)
    taken = sum(writer.offer(f"{number:032x}", 1, bytes(10 * KIB)) for number in range(50))
    assert 10 < taken < 20
    assert writer.counters.dropped["disk-full", 1] == 50 - taken


def test_on_a_disk_that_is_smaller_than_the_bound_the_priorities_hold(disk, clock):
    disk.room_bytes = 1000 * KIB
    writer = made(disk, clock, segment_bytes=50 * KIB, free_bytes=100 * KIB)
    for number in range(200):
        writer.offer(f"{number:02x}" * 16, 0, bytes(10 * KIB))
    writer.flush()
    assert writer.counters.dropped["disk-full", 0] + writer.counters.dropped["refused", 0] > 100
    taken = sum(writer.offer(f"{number:02x}" * 16, 3, bytes(10 * KIB)) for number in range(50))
    assert taken == 50
    writer.close()
    assert writer.counters.dropped["bound", 0] > 0
    assert disk.free_bytes() > 80 * KIB
    assert writer.counters.accepted == kept(disk) + writer.counters.dropped["bound", 0]


def test_nothing_goes_because_others_have_filled_the_disk(disk, clock):
    writer = made(disk, clock, free_bytes=100 * KIB)
    for number in range(10):
        assert writer.offer(f"{number:02x}" * 16, 0, bytes(10 * KIB))
    clock.now_s = 11.0
    writer.tick()
    disk.room_bytes = disk.used_bytes + 10 * KIB
    clock.now_s = 30.0
    writer.tick()
    writer.close()
    assert kept(disk) == 10


def test_names_that_are_not_safe_are_not_lost_with_what_comes_after_them(disk, clock, monkeypatch):
    writer = made(disk, clock)
    assert writer.offer("ff" * 16, 2, b"first")
    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_names", lambda: fail(errno.EIO, "Input/output error"))
        assert writer.flush() == 0
    assert writer.offer("ff" * 16, 2, b"second")
    with monkeypatch.context() as patch:
        patch.setattr(VirtualFile, "sync", lambda self: fail(errno.EIO, "Input/output error"))
        assert writer.flush() == 0
    assert writer.counters.dropped == {("disk-error", 2): 1}
    assert writer.flush() == 1 == kept(disk)


def test_a_disk_that_cannot_hold_what_it_took(disk, clock, monkeypatch):
    writer = made(disk, clock)
    assert writer.offer("ff" * 16, 2, b"safe")
    assert writer.flush() == 1
    with monkeypatch.context() as patch:
        patch.setattr(VirtualFile, "sync", lambda self: fail(errno.EIO, "Input/output error"))
        assert writer.offer("ff" * 16, 2, b"lost")
        assert writer.flush() == 0
        assert writer.counters.dropped == {("disk-error", 2): 1}
        # It was taken back: a second try could tell that all is well.
    assert kept(disk) == 1
    assert writer.offer("ff" * 16, 2, b"safe again")
    assert writer.flush() == 1
    assert (writer.counters.offered, writer.counters.accepted, writer.counters.refused) == (3, 2, 1)


@pytest.mark.parametrize(
    "call", ["names", "sync_names", "rename", "replace", "create", "status", "free_bytes", "lock", "unlink"]
)
def test_no_call_of_the_disk_raises_into_the_caller(call, disk, clock, monkeypatch):
    writer = made(disk, clock, bytes=1 << 20, retention_s=100.0)
    for number in range(40):
        writer.offer(f"{number * 16777619 % 2**32:08x}" + "0" * 24, number % 4, bytes(30 * KIB))
    with monkeypatch.context() as patch:
        patch.setattr(disk, call, lambda *_: fail(errno.EROFS, "Read-only file system"))
        for number in range(40):
            clock.now_s += 7.0
            writer.offer(f"{number:02x}" * 16, number % 4, bytes(30 * KIB))
            writer.flush()
            writer.tick()
    clock.now_s += 30.0
    writer.tick()
    assert writer.offer("ff" * 16, 3, b"well again")
    writer.flush()
    writer.close()
    assert writer.counters.offered == 81 == writer.counters.accepted + writer.counters.refused
    later = sum(count for (reason, _), count in writer.counters.dropped.items() if reason in {"bound", "expired"})
    assert writer.counters.accepted == kept(disk) + later
    assert disk.most_bytes <= 1 << 20


def test_what_is_too_old_goes_from_a_disk_that_is_full_to_the_last_byte(disk, clock):
    writer = made(disk, clock, retention_s=60.0)
    for number in range(100):
        assert writer.offer(f"{number * 2:02x}" + "0" * 30, number % 4, b"x")
    clock.now_s = 11.0
    writer.tick()
    disk.room_bytes = disk.used_bytes
    clock.now_s = 80.0
    writer.tick()
    assert kept(disk) == 0
    assert writer.counters.dropped.total() == 100
    assert SpoolReader(Path("virtual"), disk=disk).counters().dropped.total() == 100


def test_another_process_that_holds_the_directory(disk, clock):
    writer = made(disk, clock)
    lock = disk.lock("lock", 0.0)
    assert not writer.offer("ff" * 16, 0, b"x")
    assert writer.counters.dropped == {("busy", 0): 1}
    lock.release()
    clock.now_s = 6.0
    assert writer.offer("ff" * 16, 0, b"x")


def fail(number, words):
    raise OSError(number, words)


def test_an_outage_keeps_the_right_ones_evenly():
    outcome = simulate(
        seconds=400, rate=10.0, record_bytes=5000, bounds=SpoolBounds(bytes=2_000_000), writers=2, seed=3
    )
    assert outcome.faults() == []
    # The two highest priorities are a fifth of 4000: 800 records of 5 kB are 4 MB, and the highest alone 1 MB.
    assert len(outcome.kept_s[3]) == outcome.offered[3]
    assert outcome.offered[0] > 1900
    assert len(outcome.kept_s[0]) < 20
    assert 50 < len(outcome.kept_s[2]) < outcome.offered[2]
    assert min(outcome.hours(2, parts=4)) > 0.4 * len(outcome.kept_s[2]) / 4


def test_a_spool_that_is_full_of_small_segments_refuses_what_would_go_at_once():
    bounds = SpoolBounds(bytes=100_000_000, segments=256)
    outcome = simulate(seconds=600, rate=10.0, record_bytes=500, bounds=bounds, writers=2, seed=4)
    assert outcome.faults() == []
    assert outcome.segments <= 256 + 2 * 32
    assert outcome.dropped["refused", 0] > 0.5 * outcome.offered[0]
    assert len(outcome.kept_s[3]) > 0.8 * outcome.offered[3]
