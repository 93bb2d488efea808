"""Cuts follow the content: the same whatever stands before, within the limits, and few of them move."""

import hashlib

import numpy as np
import pytest

from edgewise.protocols import chunking
from edgewise.protocols.chunking import LEAST_BYTES, MOST_BYTES, chunks_of, cut_bytes


@pytest.fixture(scope="module")
def content():
    return np.random.default_rng(5).bytes(6_000_000)


def pieces(content):
    return [content[start:end] for start, end in zip([0, *cut_bytes(content)], cut_bytes(content), strict=False)]


def slow_hash(window):
    """The sum as it is defined, byte by byte."""
    total = 0
    for age, byte in enumerate(reversed(window)):
        total += int(chunking._GEAR[byte]) << age
    return total % (1 << 32)


def test_the_hash_in_five_passes_is_the_sum_over_the_window(content):
    hashes = chunking._hashes(np.frombuffer(content[:500], np.uint8))
    for place in (0, 1, 30, 31, 32, 33, 257, 499):
        assert hashes[place] == slow_hash(content[max(0, place - 31) : place + 1])


def test_chunks_are_the_content_and_keep_the_limits(content):
    found = pieces(content)
    assert b"".join(found) == content
    assert all(LEAST_BYTES <= len(piece) <= MOST_BYTES for piece in found[:-1])
    assert 40_000 < len(content) / len(found) < 120_000


def test_a_file_has_the_chunks_of_its_bytes(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    done = []
    found = chunks_of(tmp_path / "file", done.append)
    assert [(chunk.size_bytes, chunk.sha256) for chunk in found] == [
        (len(piece), hashlib.sha256(piece).hexdigest()) for piece in pieces(content)
    ]
    assert sum(done) == len(content)


def test_a_cut_does_not_depend_on_how_much_is_looked_at_at_once(content, monkeypatch):
    whole = cut_bytes(content[:1_500_000])
    monkeypatch.setattr(chunking, "_AT_ONCE_BYTES", 100_001)
    assert cut_bytes(content[:1_500_000]) == whole


@pytest.mark.parametrize("inserted", [b"x", b"y" * 5_000])
def test_what_is_inserted_changes_the_chunks_around_it_alone(content, inserted):
    before = set(pieces(content))
    after = pieces(content[:3_000_000] + inserted + content[3_000_000:])
    new = sum(len(piece) for piece in after if piece not in before)
    assert new <= 3 * MOST_BYTES


def test_content_without_a_cut_is_cut_where_it_must_be():
    assert cut_bytes(bytes(MOST_BYTES * 2 + 5)) == [MOST_BYTES, MOST_BYTES * 2, MOST_BYTES * 2 + 5]


def test_small_and_empty_files(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert chunks_of(tmp_path / "empty") == ()
    assert cut_bytes(b"") == []
    assert cut_bytes(b"abc") == [3]


def plain_cuts(content):
    """The same, one byte after the other."""
    cuts, begin, rolling = [], 0, 0
    gear = [int(value) for value in chunking._GEAR]
    for place, byte in enumerate(content, 1):
        rolling = ((rolling << 1) + gear[byte]) % (1 << 32)
        if (rolling >> 16 == 0 and place - begin >= LEAST_BYTES) or place - begin == MOST_BYTES:
            cuts.append(place)
            begin = place
    return [*cuts, len(content)] if begin < len(content) else cuts


def test_the_cuts_are_part_of_the_format():
    # Other cuts would share nothing with the releases that are out there.
    known = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(20_000))
    assert cut_bytes(known) == plain_cuts(known)
    assert cut_bytes(known)[:4] == [44493, 86501, 119512, 324356]
