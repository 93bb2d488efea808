"""A file that comes in chunks: whatever came, was lost or was changed, what is kept is right, and it becomes whole."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.agent.site.partial_file import KnownChunks, PartialFile, WrongContentError
from edgewise.core.releases import Chunk, ReleaseFile

# Few kinds of chunks, so that some come more than once.
PIECES = st.lists(st.sampled_from([b"a", b"bb" * 3, b"c" * 40, b"d" * 7, b"\0" * 5]), max_size=12)


def release_file(pieces):
    content = b"".join(pieces)
    chunks = tuple(Chunk(len(piece), hashlib.sha256(piece).hexdigest()) for piece in pieces)
    return ReleaseFile("model.onnx", len(content), hashlib.sha256(content).hexdigest(), chunks)


@given(pieces=PIECES, order=st.randoms(use_true_random=False), lives=st.integers(1, 4), data=st.data())
def test_it_becomes_whole_over_any_number_of_lives(pieces, order, lives, data):
    file = release_file(pieces)
    numbers = list(range(len(pieces)))
    order.shuffle(numbers)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for life in range(lives):
            path = directory / f"{file.sha256}.part"
            if path.exists() and path.stat().st_size and data.draw(st.booleans()):
                # The disk lost or changed something between two lives.
                content = bytearray(path.read_bytes())
                content[data.draw(st.integers(0, len(content) - 1))] ^= 0xFF
                path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
            with PartialFile(directory, file) as partial:
                share = numbers[life::lives]
                for number in share:
                    partial.put(number, pieces[number])
                # What is said to be there is there.
                missing = {n for piece in partial.missing() for n in range(piece.first, piece.last)}
                there = [piece for number, piece in enumerate(pieces) if number not in missing]
                assert partial.there_bytes == sum(map(len, there))
        with PartialFile(directory, file) as partial:
            for number, _ in list(partial.lacks()):
                partial.put(number, pieces[number])
            assert partial.missing() == []
            partial.finish()
        assert (directory / file.sha256).read_bytes() == b"".join(pieces)


@given(pieces=PIECES.filter(bool), data=st.data())
def test_what_is_not_the_chunk_is_not_written(pieces, data):
    file = release_file(pieces)
    number = data.draw(st.integers(0, len(pieces) - 1))
    wrong = data.draw(st.binary(max_size=50).filter(lambda content: content != pieces[number]))
    with tempfile.TemporaryDirectory() as name, PartialFile(Path(name), file) as partial:
        with pytest.raises(WrongContentError):
            partial.put(number, wrong)
        assert partial.there_bytes == 0


@given(pieces=PIECES)
def test_chunks_are_found_in_files_that_are_there(pieces):
    file = release_file(pieces)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "there"
        path.write_bytes(b"".join(pieces))
        known = KnownChunks([(path, file)])
        for chunk, piece in zip(file.chunks, pieces, strict=True):
            assert known.read(chunk) == piece


def test_a_release_whose_parts_are_right_and_whose_whole_is_not_is_refused(tmp_path):
    file = release_file([b"one", b"two"])
    wrong = ReleaseFile(file.path, file.size_bytes, hashlib.sha256(b"other").hexdigest(), file.chunks)
    with PartialFile(tmp_path, wrong) as partial:
        partial.put(0, b"one")
        partial.put(1, b"two")
        with pytest.raises(WrongContentError, match="the release is wrong"):
            partial.finish()
        assert partial.there_bytes == 0
