"""A writer and a reader of one spool, killed at one of their calls that change the disk; what must hold is checked after each.

python dying_spool.py DIRECTORY before|after
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from edgewise.core.errors import NotFoundError
from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter, records_of
from edgewise.spool import writer as writer_module
from edgewise.spool.counters import ACCEPTED_REASONS
from edgewise.spool.ledger import Ledger
from support import deadly_calls

deadly_calls.CALLS = ("fdatasync", "fsync", "ftruncate", "pwrite", "rename", "unlink", "utime", "write", "writev")
root, moment = Path(sys.argv[1]), sys.argv[2]
spool, template, said, going = root / "spool", root / "template", root / "said", root / "going"
RETENTION_S = 1e5
BOUNDS = SpoolBounds(bytes=1 << 20, segment_bytes=150_000, free_bytes=0, retention_s=RETENTION_S)
started_s, now_s = time.time(), [0.0]
utime = os.utime


def sample_id(number):
    return hashlib.md5(str(number).encode()).hexdigest()


def record(number):
    return b"%06d" % number + bytes(60_000)


def wall_s():
    return started_s + now_s[0]


def made(incarnation, name="w0"):
    writer_module.secrets.token_hex = lambda count: incarnation
    return SpoolWriter(spool, BOUNDS, writer=name, wall_s=wall_s, monotonic_s=lambda: now_s[0])


def tell(word, numbers):
    # Not by a call that kills.
    with said.open("a") as file:
        file.write("".join(f"{word} {number}\n" for number in numbers))


def note(file, reason):
    """Write down what a file holds that is about to go, and why: if it is gone in the end, exactly that is to be in the books."""
    if file.endswith(".seg") and (spool / file).exists():
        count = len(list(records_of((spool / file).read_bytes())))
        with going.open("a") as notes:
            notes.write(json.dumps([file, f"{reason}/{file[0]}", count]) + "\n")


def noting_drop(self, stored, reason, drop=Ledger.drop):
    for each in stored:
        note(each.file, reason)
    return drop(self, stored, reason)


def noting_aside(self, file, priority, set_aside=Ledger.set_aside):
    note(file, "damaged")
    set_aside(self, file, priority)


Ledger.drop, Ledger.set_aside = noting_drop, noting_aside


def act():
    """One life: a writer starts over what a dead one left, fills the spool beyond its bound; some is sent and removed, some is damaged, some
    too old, and a second writer dies, of which the reader takes over what it left."""
    writer, taken = made("0000000a"), []
    for number in range(100, 124):
        now_s[0] += 2.0
        tell("offered", [number])
        if writer.offer(sample_id(number), 3 * (number % 7 == 0), record(number)):
            taken.append(number)
        else:
            tell("refused", [number])
        if number % 4 == 3:
            writer.flush()
            tell("accepted", taken)
            taken.clear()
            writer.tick()
        if number == 114:
            send()
        if number == 118:
            SpoolReader(spool).set_aside(SpoolReader(spool).segments()[0])
    writer.close()
    tell("accepted", taken)
    second = made("0000000c", "w1")
    tell("offered", [124])
    second.offer("ff" * 16, 3, record(124))
    if second.flush():
        tell("accepted", [124])
    else:
        tell("refused", [124])
    with second._ledger.held(1.0):
        # What it has counted; it dies at once.
        second._ledger.tell(second.counters, second._told)
    second._lock.release()
    old = SpoolReader(spool).segments()[0]
    utime(spool / f"{old.name}.seg", (wall_s() - 2 * RETENTION_S,) * 2)
    reader = SpoolReader(spool, wall_s=wall_s)
    assert reader.adopt() == 1
    # A clock that jumps.
    now_s[0] += RETENTION_S / 2
    reader.adopt()


def send():
    reader = SpoolReader(spool)
    segment = reader.segments()[0]
    try:
        content = reader.read(segment, 0, 1 << 20)
    except NotFoundError:
        return
    tell("sent", [int(each[:6]) for each in records_of(content)])
    reader.remove(segment)


def check(killed):
    """The next life adopts; then all that was accepted is there, was sent, or is counted as dropped, and nothing is there twice.

    The books say exactly what the files held that were about to go and are gone.
    """
    assert sum(each.stat().st_size for each in spool.iterdir()) <= BOUNDS.bytes
    SpoolReader(spool).adopt()
    made("0000000b").close()
    told = {word: set() for word in ("offered", "refused", "accepted", "sent")}
    for line in said.read_text().splitlines():
        word, number = line.split()
        told[word].add(int(number))
    reader = SpoolReader(spool)
    kept = [int(each[:6]) for one in reader.segments() for each in records_of(reader.read(one, 0, 1 << 20))]
    assert len(kept) == len(set(kept)), kept
    assert not list(spool.glob("*.open"))
    counters = reader.counters()
    dropped = sum(count for (reason, _), count in counters.dropped.items() if reason in ACCEPTED_REASONS)
    notes = {file: (key, count) for file, key, count in map(json.loads, going.read_text().splitlines())}
    expected = Counter({"damaged/0": 1})
    for file, (key, count) in notes.items():
        if not (spool / file).exists():
            expected[key] += count
    booked = {f"{reason}/{priority}": count for (reason, priority), count in counters.dropped.items()}
    booked = {key: count for key, count in booked.items() if key.split("/")[0] in ACCEPTED_REASONS and count}
    assert booked == expected, (point, booked, expected)
    # Those of before were accepted by the writer that died with them.
    accepted, possible = told["accepted"] | set(range(5)), (told["offered"] - told["refused"]) | set(range(5))
    gone = set(kept) | told["sent"]
    # One that arrived and was not yet removed may be dropped as well: at most the records of one segment.
    assert len(accepted - gone) <= dropped <= len(possible - set(kept)), (point, accepted - gone, counters)
    if not killed:
        assert told["offered"] == told["refused"] | told["accepted"]
        assert counters.dropped["bound", 0] > 0
        assert counters.dropped["damaged", 3] + counters.dropped["damaged", 0] > 0
        assert counters.dropped["expired", 3] + counters.dropped["expired", 0] > 0
        assert counters.offered == 25
        assert counters.accepted == len(told["accepted"])
        assert counters.accepted + 5 == len(kept) + dropped + len(told["sent"])


def put_back():
    shutil.rmtree(spool, ignore_errors=True)
    shutil.copytree(template, spool)
    said.write_text("")
    going.write_text("")


# What a writer leaves that dies within a record, and what the disk has spoilt of another one's.
spool.mkdir(parents=True)
first, other = made("00000001"), made("00000002", "w2")
for number in range(3):
    assert first.offer(sample_id(number), 0, record(number))
assert first.flush() == 3
first._lock.release()
for left in spool.glob("*.open"):
    with left.open("ab") as file:
        file.write(b"\x10\x00\x00\x00torn")
for number in range(3, 5):
    assert other.offer("ff" * 16, 0, record(number))
assert other.flush() == 2
other._lock.release()
(left,) = spool.glob("*-w2.*.open")
content = bytearray(left.read_bytes())
content[1000] ^= 1
left.write_bytes(content)
shutil.copytree(spool, template)

for point in range(1, deadly_calls.MOST_POINTS):
    put_back()
    killed = deadly_calls.killed_at(point, moment, act)
    check(killed)
    if not killed:
        break
print(point)
