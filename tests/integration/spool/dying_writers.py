"""Two writers and a reader on one directory at the same time; the writers are killed again and again, and the sums are checked.

python dying_writers.py DIRECTORY
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from edgewise.core.errors import NotFoundError
from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter, records_of
from edgewise.spool.counters import ACCEPTED_REASONS

root = Path(sys.argv[1])
spool = root / "spool"
BOUNDS = SpoolBounds(bytes=2 << 20, segment_bytes=50_000, segment_age_s=0.05, free_bytes=0)
ROUNDS = 6
drawn = random.Random(7)


def write(name, life, started):
    """Offer without end. What is accepted is said after it is, and what is offered before it is."""
    said = (root / f"{name}.{life}").open("w", buffering=1)
    writer = SpoolWriter(spool, BOUNDS, writer=name)
    os.write(started, b"x")
    number, taken = 0, []
    while True:
        number += 1
        sample = f"{random.getrandbits(128):032x}"
        said.write(f"offered {sample}\n")
        if writer.offer(sample, number % 4, sample.encode() + bytes(random.randrange(20_000))):
            taken.append(sample)
        if number % 5 == 0:
            writer.flush()
            writer.tick()
            said.writelines(f"accepted {each}\n" for each in taken)
            taken = []


def life_of(name, life):
    reading, started = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write(name, life, started)
        finally:
            os._exit(1)
    os.close(started)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    return child


def samples_of(content):
    return [each[:32].decode() for each in records_of(content)]


def send(reader, sent):
    """The reader beside them: takes what comes first, as the agent does, without waiting for anybody."""
    for segment in reader.segments()[:3]:
        try:
            content = reader.read(segment, 0, 1 << 24)
            assert len(content) == segment.size_bytes
        except NotFoundError:
            continue
        sent += samples_of(content)
        reader.remove(segment)


SpoolWriter(spool, BOUNDS, writer="w0").close()
reader, sent, most_bytes = SpoolReader(spool), [], 0
for life in range(ROUNDS):
    children = [life_of(name, life) for name in ("w0", "w1")]
    until_s = time.monotonic() + drawn.uniform(0.2, 0.5)
    while time.monotonic() < until_s:
        sizes = []
        for each in os.scandir(spool):
            try:
                sizes.append(each.stat().st_size)
            except FileNotFoundError:
                continue
        most_bytes = max(most_bytes, sum(sizes))
        if drawn.random() < 0.3:
            send(reader, sent)
        if drawn.random() < 0.1:
            reader.adopt()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

reader.adopt()
SpoolWriter(spool, BOUNDS, writer="w0").close()
kept = [each for one in reader.segments() for each in samples_of(reader.read(one, 0, 1 << 24))]
told = [line.split() for each in root.glob("w?.*") for line in each.read_text().splitlines() if len(line.split()) == 2]
accepted = {sample for word, sample in told if word == "accepted"}
offered = {sample for word, sample in told if word == "offered" and len(sample) == 32}
counters = reader.counters()
dropped = sum(count for (reason, _), count in counters.dropped.items() if reason in ACCEPTED_REASONS)
assert len(kept) == len(set(kept))
assert not set(kept) & set(sent), "what was sent and removed is there again"
assert set(kept) <= offered
gone = accepted - set(kept) - set(sent)
assert len(gone) <= dropped <= len(offered) - len(kept), (len(gone), dropped, counters)
assert dropped > 0
assert most_bytes <= BOUNDS.bytes, most_bytes
assert len(accepted) > 50
print(2 * ROUNDS)
