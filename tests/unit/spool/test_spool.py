"""Writers and a reader on a real directory."""

import errno
import hashlib
import os
import subprocess
import sys
import time

import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter, records_of
from edgewise.spool.disk import PosixDisk
from edgewise.spool.ledger import Ledger
from edgewise.spool.records import HEADER
from edgewise.spool.segment_names import SEGMENT_NAME, read_segment_name

MIB = 1 << 20


class Clock:
    def __init__(self):
        # Files get their times from the real one.
        self.wall = time.time()
        self.now = 0.0

    def wall_s(self):
        return self.wall + self.now

    def monotonic_s(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def spool(tmp_path, clock):
    """Makes writers that are closed in the end."""
    made = []

    def make(name="w0", **bounds):
        writer = SpoolWriter(
            tmp_path / "spool",
            SpoolBounds(**{"free_bytes": 0, **bounds}),
            writer=name,
            wall_s=clock.wall_s,
            monotonic_s=clock.monotonic_s,
        )
        made.append(writer)
        return writer

    yield make
    for writer in made:
        writer.close()


@pytest.fixture
def reader(tmp_path, clock):
    return SpoolReader(tmp_path / "spool", wall_s=clock.wall_s)


def sample_id(number, level=0):
    """The first byte says the level, the rest is drawn."""
    return f"{0x80 >> level:02x}" + hashlib.md5(str(number).encode()).hexdigest()[:30]


def die(writer):
    """As kill -9 does it: files and locks are let go, nothing else happens."""
    for segment in writer._writing.values():
        segment.leave()
    writer._writing.clear()
    writer._lock.release()
    writer._is_closed = True


def contents(reader):
    return [each for one in reader.segments() for each in records_of(reader.read(one, 0, 1 << 30))]


def used_bytes(directory):
    return sum(each.stat().st_size for each in directory.iterdir())


def test_what_was_offered_is_accepted_with_a_flush_and_read_once_it_is_closed(spool, reader):
    writer = spool()
    assert writer.offer(sample_id(1), 1, b"one")
    assert writer.offer(sample_id(2), 1, b"two")
    assert writer.counters.accepted == 0
    assert writer.flush() == 2
    assert writer.flush() == 0
    assert reader.segments() == []
    writer.close()
    (segment,) = reader.segments()
    assert SEGMENT_NAME.fullmatch(segment.name)
    assert (segment.priority, segment.level) == (1, 0)
    content = reader.read(segment, 0, segment.size_bytes + 1)
    assert len(content) == segment.size_bytes
    assert list(records_of(content)) == [b"one", b"two"]
    assert reader.read(segment, 3, 4) == content[3:7]
    assert reader.digest(segment) == hashlib.sha256(content).hexdigest()
    reader.remove(segment)
    reader.remove(segment)
    assert reader.segments() == []


def test_the_order_of_sending(spool, reader):
    writer = spool()
    for number, (priority, level) in enumerate([(0, 0), (2, 0), (0, 3), (2, 5)]):
        writer.offer(sample_id(number, level), priority, b"%d" % number)
    writer.close()
    later = spool("w1")
    later.offer(sample_id(9, 5), 2, b"later")
    later.close()
    assert contents(reader) == [b"3", b"later", b"1", b"2", b"0"]


def test_segments_are_closed_by_age_and_by_size(spool, reader, clock):
    writer = spool(segment_bytes=1000)
    writer.offer(sample_id(1), 0, b"small")
    clock.now = 9.0
    writer.tick()
    assert reader.segments() == []
    clock.now = 10.0
    writer.tick()
    assert contents(reader) == [b"small"]
    writer.offer(sample_id(2), 3, bytes(1000))
    writer.flush()
    assert [each.priority for each in reader.segments()] == [3, 0]


def test_names_never_come_twice_in_a_spool_that_was_emptied(spool, reader):
    names = []
    for _ in range(2):
        writer = spool()
        writer.offer(sample_id(1), 0, b"x")
        writer.close()
        (segment,) = reader.segments()
        names.append(segment.name)
        reader.remove(segment)
    assert names[0] != names[1]


def test_two_writers_stay_within_one_bound_and_keep_what_is_worth_most(spool, reader, tmp_path, clock):
    writers = [spool("w0", bytes=2 * MIB), spool("w1", bytes=2 * MIB)]
    most = 0
    for number in range(600):
        clock.now += 0.1
        writer = writers[number % 2]
        writer.offer(sample_id(number, number % 3), 3 if number % 10 == 0 else 0, bytes(10_000))
        if number % 10 == 9:
            most = max(most, used_bytes(tmp_path / "spool"))
            for each in writers:
                each.flush()
                each.tick()
    for each in writers:
        each.close()
    assert 1.5 * MIB < most <= 2 * MIB
    kept = [
        each.priority for one in reader.segments() for each in [one] * len(list(records_of(reader.read(one, 0, MIB))))
    ]
    assert kept.count(3) == 60
    counters = reader.counters()
    assert counters.offered == 600
    assert counters.offered == counters.accepted + counters.refused
    assert counters.accepted == len(kept) + counters.dropped["bound", 0] + counters.dropped["bound", 3]
    assert counters.dropped["refused", 0] > 100
    assert counters.bytes_on_disk == used_bytes(tmp_path / "spool")


def test_what_would_go_at_once_touches_no_disk(spool, tmp_path):
    writer = spool(bytes=MIB)
    while writer.offer(sample_id(1, 7), 3, bytes(20_000)):
        pass
    writer.tick()
    before = {each: each.stat().st_mtime_ns for each in (tmp_path / "spool").iterdir()}
    assert not writer.offer(sample_id(2), 0, bytes(20_000))
    assert {each: each.stat().st_mtime_ns for each in (tmp_path / "spool").iterdir()} == before
    assert writer.counters.dropped["refused", 0] == 1


def test_a_spool_that_was_emptied_takes_samples_again(spool, reader, clock):
    writer = spool(bytes=MIB)
    while writer.offer(sample_id(1), 0, bytes(20_000)):
        pass
    clock.now = 30.0
    writer.tick()
    for segment in reader.segments():
        reader.remove(segment)
    assert writer.offer(sample_id(2), 0, bytes(20_000))


def test_a_bound_that_was_lowered_is_kept_from_the_start(spool, tmp_path, reader):
    writer = spool(bytes=4 * MIB)
    for number in range(150):
        writer.offer(sample_id(number), number % 4, bytes(20_000))
    writer.close()
    assert used_bytes(tmp_path / "spool") > 2 * MIB
    lowered = spool(bytes=MIB)
    assert used_bytes(tmp_path / "spool") <= MIB
    assert sum(record == bytes(20_000) for record in contents(reader)) == 150 - lowered.counters.dropped.total()
    assert lowered.counters.dropped["bound", 3] == 0
    assert lowered.counters.dropped["bound", 0] == 38


def test_a_record_that_is_too_large(spool):
    writer = spool(record_bytes=100)
    assert not writer.offer(sample_id(1), 2, bytes(101))
    assert writer.counters.dropped == {("too-large", 2): 1}


def test_a_segment_that_the_bound_drops_while_it_is_read(spool, reader, clock):
    writer = spool(bytes=MIB, segment_bytes=30_000)
    writer.offer(sample_id(0), 0, bytes(40_000))
    writer.flush()
    (segment,) = reader.segments()
    assert reader.read(segment, 0, 100)
    for number in range(40):
        writer.offer(sample_id(number), 3, bytes(40_000))
        writer.flush()
    with pytest.raises(NotFoundError, match="is gone: the spool dropped it for what is worth more, or as too old"):
        reader.read(segment, 100, 100)
    with pytest.raises(NotFoundError):
        reader.digest(segment)
    reader.remove(segment)
    reader.set_aside(segment)
    assert reader.counters().dropped["bound", 0] == 1
    assert reader.counters().dropped["damaged", 0] == 0


@pytest.mark.parametrize("tail", [b"", b"\x05", b"\xff\xff\xff\x7f1234", b"\x05\0\0\0abcdhello", bytes(4096)])
def test_what_a_dead_writer_left_is_cut_where_it_is_torn(tail, spool, reader, tmp_path):
    writer = spool()
    for number in range(3):
        writer.offer(sample_id(number), 0, b"%d" % number)
    writer.flush()
    (left,) = (tmp_path / "spool").glob("*.open")
    assert reader.adopt() == 0, "its writer lives"
    die(writer)
    with left.open("ab") as file:
        file.write(tail)
    assert reader.adopt() == 1
    assert reader.adopt() == 0
    assert contents(reader) == [b"0", b"1", b"2"]
    assert not reader.counters().dropped, "it was never accepted"


def left_by_a_dead_writer(spool, reader, number=6):
    """Records of 100 bytes and their heads of 8. Returns: the file."""
    writer = spool()
    for each in range(number):
        writer.offer(sample_id(each), 2, b"%d" % each * 100)
    writer.flush()
    die(writer)
    (left,) = reader._directory.glob("*.open")
    return left


def spoil(path, place, content):
    spoilt = bytearray(path.read_bytes())
    spoilt[place : place + len(content)] = content
    path.write_bytes(spoilt)


@pytest.mark.parametrize(
    ("place", "content", "kept", "lost"),
    [
        (2 * 108 + 50, b"\xff", "01345", 1),
        (2 * 108, b"\xff\xff\xff\xff", "01345", 1),
        # By the lengths that are left, there were two of them.
        (2 * 108, b"\x40\0\0\0", "01345", 2),
        (2 * 108 + 50, b"\xff" * 108, "0145", 2),
        (0, b"\xff", "12345", 1),
        (-len(HEADER), b"\xff", "012345", 0),
        (-9, b"\xff" * 20, "12345", 1),
        (-9, b"\xff", "012345", 0),
        (2 * 108, bytes(4 * 108), "01", 0),
        (5 * 108, b"\xff\xff\xff\xff", "01234", 0),
    ],
)
def test_what_is_whole_behind_a_damaged_record_is_kept_and_the_record_counted(
    place, content, kept, lost, spool, reader, caplog
):
    spoil(left_by_a_dead_writer(spool, reader), len(HEADER) + place, content)
    assert reader.adopt() == 1
    assert [each[:1].decode() for each in contents(reader)] == list(kept)
    assert reader.counters().dropped["damaged", 2] == lost
    assert caplog.text.count("is damaged") == bool(lost)


@pytest.mark.parametrize(
    ("hay", "kept"),
    [(bytes(1 << 20), [b"before", b"behind"]), (b"\x01\x02\0\0" * (1 << 17), [b"before"])],
    ids=["zeros", "lengths"],
)
def test_a_spoilt_length_is_searched_behind_as_far_as_can_be(hay, kept, spool, reader):
    writer = spool(segment_bytes=2 << 20)
    for each in (b"before", hay, b"behind"):
        writer.offer(sample_id(1), 2, each)
    writer.flush()
    die(writer)
    (left,) = reader._directory.glob("*.open")
    spoil(left, len(HEADER) + 8 + len(b"before"), b"\xff" * 4)
    assert reader.adopt() == 1
    assert contents(reader) == kept
    assert reader.counters().dropped == {("damaged", 2): 1}


def test_a_file_of_which_nothing_is_whole_is_set_aside_and_counted(spool, reader):
    left = left_by_a_dead_writer(spool, reader)
    for number in range(6):
        spoil(left, len(HEADER) + number * 108 + 20, b"\xff")
    assert reader.adopt() == 0
    assert reader.counters().dropped == {("damaged", 2): 6}
    assert [each.suffix for each in reader._directory.glob("2-*")] == [".damaged"]


def test_a_damaged_record_is_counted_once_whoever_fails_when(spool, reader, monkeypatch):
    spoil(left_by_a_dead_writer(spool, reader), len(HEADER) + 50, b"\xff")
    with monkeypatch.context() as patch:
        patch.setattr(PosixDisk, "mend", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        assert reader.adopt() == 0
        assert reader.adopt() == 0
    assert reader.adopt() == 1
    assert len(contents(reader)) == 5
    assert reader.counters().dropped == {("damaged", 2): 1}


def test_the_next_writer_of_any_name_adopts(spool, reader):
    for name in ("w0", "w1"):
        writer = spool(name)
        writer.offer(sample_id(1), 0, name.encode())
        writer.flush()
        die(writer)
    spool("w1")
    assert contents(reader) == [b"w0", b"w1"]


def test_an_orphan_without_a_whole_record_goes(spool, reader, tmp_path):
    spool().close()
    name = "0-0-w7.00000000-0000000001"
    (tmp_path / "spool" / f"{name}.open").write_bytes(HEADER + b"\x09")
    assert reader.adopt() == 0
    assert reader.segments() == []
    assert not list((tmp_path / "spool").glob("0-*"))


def live(clock, until, *looks):
    """Let time go by, with a look every five minutes."""
    while clock.now < until:
        clock.now = min(until, clock.now + 300.0)
        for look in looks:
            look()


def date(reader, written_s):
    for each in reader.segments():
        os.utime(reader._directory / f"{each.name}.seg", (written_s, written_s))


def dates(reader):
    return [(reader._directory / f"{each.name}.seg").stat().st_mtime for each in reader.segments()]


def test_samples_older_than_the_retention_go_and_are_counted(spool, reader, clock):
    writer = spool(retention_s=3600.0)
    writer.offer(sample_id(1), 3, b"old")
    clock.now = 11.0
    writer.tick()
    date(reader, clock.wall_s())
    writer = spool("w1", retention_s=3600.0)
    live(clock, 3000.0, writer.tick)
    assert len(reader.segments()) == 1
    live(clock, 3700.0, writer.tick)
    assert reader.segments() == []
    assert writer.counters.dropped == {("expired", 3): 1}
    assert reader.counters().dropped["expired", 3] == 1


def test_the_reader_keeps_the_retention_when_no_writer_lives(spool, reader, clock):
    writer = spool(retention_s=3600.0)
    writer.offer(sample_id(1), 3, b"x")
    writer.close()
    live(clock, 3300.0, reader.adopt)
    assert len(reader.segments()) == 1
    live(clock, 3900.0, reader.adopt)
    assert reader.segments() == []
    assert reader.counters().dropped == {("expired", 3): 1}


def test_without_a_retention_the_reader_keeps_all(spool, reader, clock):
    writer = spool(retention_s=3600.0)
    writer.offer(sample_id(1), 3, b"x")
    writer.close()
    spool().close()
    live(clock, 9000.0, reader.adopt)
    assert len(reader.segments()) == 1


@pytest.mark.parametrize("written_s", [0.0, 4e9])
def test_a_segment_with_a_time_that_cannot_be_is_taken_to_be_from_now(written_s, spool, reader, clock):
    writer = spool(retention_s=3600.0)
    writer.offer(sample_id(1), 3, b"x")
    writer.close()
    date(reader, written_s)
    reader.adopt()
    assert dates(reader) == pytest.approx([clock.wall_s()], abs=1)
    live(clock, 3599.0, reader.adopt)
    assert len(reader.segments()) == 1
    live(clock, 3602.0, reader.adopt)
    assert reader.segments() == []


def test_an_outage_that_began_with_a_wrong_clock_outlives_that_it_is_set(spool, reader, clock):
    truth_s = clock.wall
    clock.wall = truth_s - 63e6
    writer = spool(retention_s=3600.0)
    for number in range(3):
        writer.offer(sample_id(number), 3, b"%d" % number)
        clock.now += 11.0
        writer.tick()
        date(reader, clock.wall_s())
    writer.offer(sample_id(3), 3, b"3")
    writer.flush()
    (being_written,) = reader._directory.glob("*.open")
    os.utime(being_written, (clock.wall_s(), clock.wall_s()))
    clock.wall = truth_s
    live(clock, clock.now + 3500.0, writer.tick, reader.adopt)
    assert len(reader.segments()) == 4
    assert writer.counters.dropped.total() == reader.counters().dropped.total() == 0
    live(clock, clock.now + 700.0, writer.tick, reader.adopt)
    assert reader.segments() == []


def test_a_clock_that_was_set_while_no_process_lived(spool, reader, clock):
    truth_s = clock.wall
    clock.wall = truth_s - 63e6
    for name in ("w0", "w1"):
        writer = spool(name, retention_s=3600.0)
        writer.offer(sample_id(1), 3, b"x")
        writer.close()
        date(reader, clock.wall_s())
    clock.wall = truth_s
    writer = spool("w2", retention_s=3600.0)
    live(clock, 3500.0, writer.tick, reader.adopt)
    assert len(reader.segments()) == 2


def test_what_another_process_has_redated_is_not_old(spool, reader, clock):
    """A writer looks at each closed file once; of what became of its time it is not told."""
    truth_s = clock.wall
    clock.wall = truth_s - 63e6
    writer = spool(retention_s=3600.0)
    writer.offer(sample_id(1), 3, b"x")
    clock.now = 11.0
    writer.tick()
    date(reader, clock.wall_s())
    clock.now = 22.0
    writer.tick()
    clock.wall = truth_s
    reader.adopt()
    clock.now = 33.0
    writer.tick()
    assert len(reader.segments()) == 1


def test_a_device_that_boots_in_the_past_each_day_loses_nothing_and_keeps_nothing_for_good(spool, reader, clock):
    truth_s, day_s = clock.wall, 86400.0
    writer = spool(retention_s=30 * day_s)
    writer.offer(sample_id(1), 3, b"before")
    writer.close()
    for day in range(1, 29):
        # Each day begins years ago; one sample comes until the clock is set.
        clock.wall = truth_s - 63e6
        writer = spool(retention_s=30 * day_s)
        reader.adopt()
        if day == 10:
            writer.offer(sample_id(2), 3, b"wrong")
            clock.now += 11.0
            writer.tick()
            (wrong,) = [each for each in reader.segments() if next(records_of(reader.read(each, 0, MIB))) == b"wrong"]
            os.utime(reader._directory / f"{wrong.name}.seg", (clock.wall_s(), clock.wall_s()))
            clock.now += 11.0
            writer.tick()
        clock.wall = truth_s + day * day_s
        reader.adopt()
        writer.close()
        assert len(contents(reader)) == 1 + (day >= 10), day
    for day in range(29, 45):
        clock.wall = truth_s + day * day_s
        reader.adopt()
    assert contents(reader) == []


def test_the_retention_ends_on_a_device_that_is_switched_off_each_night(spool, reader, clock):
    truth_s, hour_s, most = clock.wall, 3600.0, 0
    for day in range(6):
        clock.wall = truth_s + day * 24 * hour_s
        writer = spool(retention_s=24 * hour_s)
        for _ in range(12):
            reader.adopt()
            clock.wall += hour_s
        writer.offer(sample_id(day), 3, b"%d" % day)
        writer.flush()
        (being_written,) = reader._directory.glob("*.open")
        os.utime(being_written, (clock.wall_s(), clock.wall_s()))
        writer.close()
        most = max(most, len(reader.segments()))
    assert most <= 3
    assert reader.counters().dropped["expired", 3] >= 3


def test_a_clock_that_was_far_ahead_for_a_while(spool, reader, clock):
    writer = spool(retention_s=3600.0)
    writer.offer(sample_id(1), 3, b"x")
    clock.now = 11.0
    writer.tick()
    date(reader, clock.wall_s())
    clock.wall += 1e8
    live(clock, 1000.0, writer.tick)
    clock.wall -= 1e8
    live(clock, 86400.0, writer.tick)
    assert len(reader.segments()) == 1
    # After a day it is believed again, and the retention begins anew.
    live(clock, 95000.0, writer.tick)
    assert reader.segments() == []


def test_what_is_set_aside_is_counted_not_sent_and_goes_first(spool, reader, tmp_path):
    writer = spool()
    for number in range(3):
        writer.offer(sample_id(number), 3, bytes(1000))
    writer.close()
    (segment,) = reader.segments()
    reader.set_aside(segment)
    assert reader.segments() == []
    assert reader.counters().dropped == {("damaged", 3): 3}
    assert [each.name for each in (tmp_path / "spool").glob("*.damaged")] == [f"{segment.name}.damaged"]
    full = spool(bytes=MIB)
    while full.offer(sample_id(1), 0, bytes(20_000)):
        pass
    full.offer(sample_id(1), 3, bytes(20_000))
    assert not list((tmp_path / "spool").glob("*.damaged"))


def test_what_is_damaged_is_counted_once_whoever_is_killed_when(spool, reader, monkeypatch):
    writer = spool()
    for number in range(3):
        writer.offer(sample_id(number), 3, bytes(1000))
    writer.close()
    (segment,) = reader.segments()
    with monkeypatch.context() as patch:
        patch.setattr(PosixDisk, "rename", lambda self, old, new: fail_at(old, ".seg", rename, self, old, new))
        reader.set_aside(segment)
        reader.set_aside(segment)
        assert reader.counters().dropped == {("damaged", 3): 3}
        assert len(reader.segments()) == 1
    assert reader.counters().dropped == {("damaged", 3): 3}
    assert reader.segments() == []
    assert len(list(reader._directory.glob("*.damaged"))) == 1


rename, salvage, records, read = PosixDisk.rename, PosixDisk.salvage, PosixDisk.records, PosixDisk.read


def fail_at(name, part, call, *words):
    if part in name:
        raise OSError(errno.EIO, "Input/output error")
    return call(*words)


def test_an_orphan_that_cannot_be_read_is_set_aside_and_the_others_are_adopted(spool, reader, monkeypatch, caplog):
    for writer, content in [(spool("w0"), b"w0"), (spool("w1"), b"w1")]:
        writer.offer(sample_id(1), 2, content)
        writer.flush()
        die(writer)
    monkeypatch.setattr(PosixDisk, "salvage", lambda self, name: fail_at(name, "-w0.", salvage, self, name))
    assert reader.adopt() == 1
    assert reader.adopt() == 0
    assert contents(reader) == [b"w1"]
    assert len(list(reader._directory.glob("*.damaged"))) == 1
    assert reader.counters().dropped == {("damaged", 2): 1}
    assert caplog.text.count("is passed over: Input/output error") == 1


def test_an_orphan_that_cannot_even_be_renamed_stops_nothing(spool, reader, monkeypatch, caplog):
    for writer, content in [(spool("w0"), b"w0"), (spool("w1"), b"w1")]:
        writer.offer(sample_id(1), 2, content)
        writer.flush()
        die(writer)
    monkeypatch.setattr(PosixDisk, "salvage", lambda self, name: fail_at(name, "-w0.", salvage, self, name))
    monkeypatch.setattr(PosixDisk, "rename", lambda self, old, new: fail_at(old, "-w0.", rename, self, old, new))
    assert reader.adopt() == 1
    assert reader.adopt() == 0
    assert contents(reader) == [b"w1"]
    assert reader.counters().dropped == {("damaged", 2): 1}
    assert caplog.text.count("is passed over") == 1


def test_a_segment_that_cannot_be_read_is_counted_as_one_sample_and_goes(spool, reader, monkeypatch):
    writer = spool()
    for number in range(3):
        writer.offer(sample_id(number), 0, bytes(20_000))
    writer.close()
    monkeypatch.setattr(PosixDisk, "records", lambda self, name: fail_at(name, "-w0.", records, self, name))
    full = spool("w1", bytes=MIB)
    while full.offer(sample_id(1), 3, bytes(20_000)):
        pass
    assert full.counters.dropped["bound", 0] == 1
    assert [each.priority for each in reader.segments()] in ([], [3])


def test_a_segment_that_cannot_be_read_keeps_no_other_from_being_sent(spool, reader, monkeypatch):
    for name in ("w0", "w1"):
        writer = spool(name)
        writer.offer(sample_id(1), 2, name.encode())
        writer.close()
    patched = lambda self, name, offset, count: fail_at(name, "-w0.", read, self, name, offset, count)  # noqa: E731
    monkeypatch.setattr(PosixDisk, "read", patched)
    bad, good = reader.segments()
    with pytest.raises(FailedPreconditionError, match="cannot be read: Input/output error"):
        reader.digest(bad)
    assert reader.segments() == [good, bad]
    with pytest.raises(FailedPreconditionError):
        reader.digest(bad)
    with pytest.raises(NotFoundError, match="it is set aside"):
        reader.digest(bad)
    assert reader.segments() == [good]
    assert reader.counters().dropped == {("damaged", 2): 1}


def test_a_directory_that_goes_while_it_is_looked_after(spool, reader, monkeypatch):
    spool().close()
    monkeypatch.setattr(Ledger, "adopt", lambda *_: (_ for _ in ()).throw(FileNotFoundError(errno.ENOENT, "gone")))
    with pytest.raises(FailedPreconditionError, match="cannot be used"):
        reader.adopt()


def test_counters_last_and_damaged_ones_begin_anew(spool, reader, tmp_path, caplog):
    for _ in range(2):
        writer = spool()
        writer.offer(sample_id(1), 0, b"x")
        writer.close()
        assert (writer.counters.offered, writer.counters.accepted) == (1, 1)
    assert (reader.counters().offered, reader.counters().accepted) == (2, 2)
    (tmp_path / "spool" / "counters").write_bytes(b"\0" * 100)
    assert reader.counters().offered == 0
    assert "the counters of the spool is not JSON; counting begins again from 0" in caplog.text
    writer = spool()
    writer.offer(sample_id(1), 0, b"x")
    writer.close()
    assert reader.counters().offered == 1


def test_another_living_writer_of_the_name(spool, tmp_path):
    spool()
    with pytest.raises(
        FailedPreconditionError, match="another writer named 'w0' holds the spool .*; give each writer a name"
    ):
        spool()
    with pytest.raises(InvalidArgumentError, match="found the writer 'a-b', expected 1 to 32 letters"):
        spool("a-b")


def test_directories_that_cannot_be_used(tmp_path, monkeypatch):
    def start(directory):
        SpoolWriter(directory, SpoolBounds(), writer="w0").close()

    with pytest.raises(FailedPreconditionError, match="gone is not there; make it, or mount the volume that has it"):
        start(tmp_path / "gone" / "spool")
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPreconditionError, match="it is no directory; name one"):
        start(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(FailedPreconditionError, match="may not write there; change its owner or its mode"):
        start(tmp_path)
    read_only = os.statvfs_result((1, 1, 1, 1, 1, 1, 1, 1, os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: read_only)
    with pytest.raises(FailedPreconditionError, match="its file system is read-only; name a directory on one that can"):
        start(tmp_path)


def test_a_reader_of_a_spool_that_is_not_there(reader):
    assert reader.segments() == []
    assert reader.adopt() == 0
    assert reader.counters().offered == 0


@pytest.mark.parametrize(("mode", "files"), [(0o2770, 0o660), (0o700, 0o600), (0o755, 0o600)])
def test_files_are_for_a_group_where_the_directory_is(mode, files, tmp_path, spool):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(mode)
    before = os.umask(0o077)
    try:
        writer = spool()
        writer.offer(sample_id(1), 0, b"x")
        writer.close()
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "spool").iterdir()} == {files}


def test_a_spool_is_made_for_its_owner_alone(tmp_path, spool):
    spool()
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_strange_files_are_left_alone(tmp_path, spool, reader):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "notes.seg").write_text("not ours")
    spool().close()
    assert reader.segments() == []
    assert (tmp_path / "spool" / "notes.seg").read_text() == "not ours"


def test_a_file_that_may_grow_no_further(tmp_path):
    """A real disk that takes a part of a record and refuses the rest: what is there stays whole."""
    program = """
import resource, sys
from pathlib import Path
from edgewise.spool import *
spool = Path(sys.argv[1])
writer = SpoolWriter(spool, SpoolBounds(free_bytes=0), writer="w0")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
taken = [writer.offer("80" * 16, 2, b"%05d" % number + bytes(29_995)) for number in range(5)]
assert taken == [True, True, True, False, False], taken
assert writer.flush() == 3
assert writer.counters.dropped == {("disk-full", 2): 2}
writer.close()
reader = SpoolReader(spool)
(segment,) = reader.segments()
assert [each[:5] for each in records_of(reader.read(segment, 0, 1 << 20))] == [b"00000", b"00001", b"00002"]
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "spool")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found b'' at the start of a segment"),
        (b"edgewise-spool/2\n", "at the start of a segment"),
        (HEADER + b"\x01", "record 0 of the segment is cut off before its content"),
        (
            HEADER + b"\xff\xff\xff\xff1234",
            "record 0 of the segment says that it has 4294967295 bytes; 67108864 is the most",
        ),
        (HEADER + b"\x05\0\0\x001234abc", "record 0 of the segment is cut off: 3 of 5 bytes are there"),
        (HEADER + b"\x03\0\0\x001234abc", "record 0 of the segment has a wrong checksum; the segment is damaged"),
    ],
)
def test_what_is_no_segment(content, message):
    with pytest.raises(InvalidArgumentError) as caught:
        list(records_of(content))
    assert message in caught.value.message


def test_names_that_are_none():
    assert str(read_segment_name("2-0-w0.5f3a9c01-0000000012")) == "2-0-w0.5f3a9c01-0000000012"
    for name in ("", "4-0-w0.5f3a9c01-0000000012", "../2-0-w0.5f3a9c01-0000000012", "2-0-w0.5f3a9c01-0000000012.seg"):
        with pytest.raises(InvalidArgumentError, match="expected one such as"):
            read_segment_name(name)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"bytes": 1000}, "1048576 is the least"),
        ({"segments": 1}, "256 is the least"),
        ({"record_bytes": 0}, "expected 1 to"),
        ({"retention_s": 0.0}, "expected a closing age and a retention above 0 s"),
    ],
)
def test_bounds_that_could_not_work(bounds, message):
    with pytest.raises(InvalidArgumentError, match=message):
        SpoolBounds(**bounds)
