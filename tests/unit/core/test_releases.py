"""What a release is, and what a site asks for of a file of which it has most."""

import pytest

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.core.releases import Chunk, Piece, Release, ReleaseFile, Variant, missing_pieces

FILE = ReleaseFile(
    "model.onnx",
    100,
    "f" * 64,
    tuple(Chunk(size, letter * 64) for size, letter in ((10, "a"), (20, "b"), (30, "c"), (40, "d"))),
)


def digests(letters):
    return [letter * 64 for letter in letters]


@pytest.mark.parametrize(
    ("known", "gap_bytes", "pieces"),
    [
        ("", 0, [Piece(0, 100, 0, 4)]),
        ("abcd", 0, []),
        ("b", 0, [Piece(0, 10, 0, 1), Piece(30, 100, 2, 4)]),
        ("b", 20, [Piece(0, 100, 0, 4)]),
        ("b", 19, [Piece(0, 10, 0, 1), Piece(30, 100, 2, 4)]),
        ("ad", 0, [Piece(10, 60, 1, 3)]),
        ("bcd", 100, [Piece(0, 10, 0, 1)]),
        ("abc", 100, [Piece(60, 100, 3, 4)]),
    ],
)
def test_only_what_is_missing_is_asked_for(known, gap_bytes, pieces):
    assert missing_pieces(FILE, digests(known), gap_bytes=gap_bytes) == pieces


def test_a_tier_gets_its_variant_or_the_one_for_all():
    one, other = Variant((FILE,)), Variant((FILE, ReleaseFile("model.toml", 0, "0" * 64, ())))
    assert Release("pets", 2, "", {"any": one}).variant("edge") is one
    assert Release("pets", 2, "", {"edge": one, "cloud": other}).variant("cloud") is other
    assert other.size_bytes == 100
    with pytest.raises(NotFoundError, match="release pets/2 has no variant for the tier cloud; it has edge"):
        Release("pets", 2, "", {"edge": one}).variant("cloud")


def test_releases_that_cannot_be_are_refused():
    with pytest.raises(InvalidArgumentError, match="release pets/2 has no files"):
        Release("pets", 2, "", {})
    with pytest.raises(InvalidArgumentError, match="a variant for every tier and others beside it"):
        Release("pets", 2, "", {"any": Variant(()), "edge": Variant(())})
    with pytest.raises(InvalidArgumentError, match="model.onnx: its chunks are not 99 bytes together"):
        ReleaseFile("model.onnx", 99, "f" * 64, FILE.chunks)
