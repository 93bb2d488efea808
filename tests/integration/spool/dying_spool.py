"""A writer and a reader of one spool, killed at one of their calls that change the disk; what must hold is checked after each.

python dying_spool.py DIRECTORY before|after
"""

import hashlib
import shutil
import sys
from pathlib import Path

from edgewise.core.errors import NotFoundError
from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter, records_of
from edgewise.spool import writer as writer_module
from edgewise.spool.counters import ACCEPTED_REASONS
from support import deadly_calls

deadly_calls.CALLS = ("fdatasync", "fsync", "ftruncate", "pwrite", "rename", "unlink", "write", "writev")
root, moment = Path(sys.argv[1]), sys.argv[2]
spool, template, said = root / "spool", root / "template", root / "said"
BOUNDS = SpoolBounds(bytes=1 << 20, segment_bytes=150_000, free_bytes=0)
now_s = [0.0]


def sample_id(number):
    return hashlib.md5(str(number).encode()).hexdigest()


def record(number):
    return b"%06d" % number + bytes(60_000)


def made(incarnation):
    writer_module.secrets.token_hex = lambda count: incarnation
    return SpoolWriter(spool, BOUNDS, writer="w0", wall_s=lambda: 1.8e9 + now_s[0], monotonic_s=lambda: now_s[0])


def tell(word, numbers):
    # Not by a call that kills.
    with said.open("a") as file:
        file.write("".join(f"{word} {number}\n" for number in numbers))


def act():
    """One life: a writer starts over what a dead one left, fills the spool beyond its bound, some is sent and removed."""
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
    writer.close()
    tell("accepted", taken)


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
    """The next life adopts; then all that was accepted is there, was sent, or is counted as dropped, and nothing is there twice."""
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
    # Those of before were accepted by the writer that died with them.
    accepted, possible = told["accepted"] | set(range(3)), (told["offered"] - told["refused"]) | set(range(3))
    gone = set(kept) | told["sent"]
    # One that arrived and was not yet removed may be dropped as well: at most the records of one segment.
    assert len(accepted - gone) <= dropped <= len(possible - set(kept)), (point, accepted - gone, counters)
    if not killed:
        assert told["offered"] == told["refused"] | told["accepted"]
        assert counters.dropped["bound", 0] > 0
        assert counters.offered == 24
        assert counters.accepted == len(told["accepted"])
        assert counters.accepted + 3 == len(kept) + dropped + len(told["sent"])


def put_back():
    shutil.rmtree(spool, ignore_errors=True)
    shutil.copytree(template, spool)
    said.write_text("")


# What a writer leaves that dies within a record.
spool.mkdir(parents=True)
first = made("00000001")
for number in range(3):
    assert first.offer(sample_id(number), 0, record(number))
assert first.flush() == 3
first._lock.release()
for left in spool.glob("*.open"):
    with left.open("ab") as file:
        file.write(b"\x10\x00\x00\x00torn")
shutil.copytree(spool, template)

for point in range(1, deadly_calls.MOST_POINTS):
    put_back()
    killed = deadly_calls.killed_at(point, moment, act)
    check(killed)
    if not killed:
        break
print(point)
