import gzip
import zlib

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.content_encoding import UnpacksTooLongError, decompress

DATA = b'{"instances": [1, 2, 3]}' * 100


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(DATA, mtime=0)),
        (b" GZIP ", gzip.compress(DATA, mtime=0)),
        (b"x-gzip", gzip.compress(DATA, mtime=0)),
        (b"deflate", zlib.compress(DATA)),
        (b"identity", DATA),
        (b"", DATA),
    ],
)
def test_bodies_are_unpacked(encoding, body):
    assert decompress(body, encoding, len(DATA)) == DATA
    assert decompress(memoryview(body), encoding, len(DATA)) == DATA


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        (b"br", DATA, "Content-Encoding 'br' is not supported; expected gzip, deflate or identity"),
        (b"\xff" * 99, DATA, "is not supported"),
        (b"gzip", DATA, "The body is not valid gzip data"),
        (b"gzip", b"", "The gzip data of the body ends too early"),
        (b"gzip", gzip.compress(DATA, mtime=0)[:-4], "The gzip data of the body ends too early"),
        (b"deflate", zlib.compress(DATA)[:-1], "The deflate data of the body ends too early"),
        (b"gzip", gzip.compress(DATA, mtime=0) + b"more", "The body has 4 bytes behind its gzip data"),
        (b"gzip", gzip.compress(DATA + b"x", mtime=0), f"The body unpacks to more than {len(DATA)} bytes"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(encoding, body, message):
    with pytest.raises(InvalidArgumentError) as caught:
        decompress(body, encoding, len(DATA))
    assert message in caught.value.message


def test_a_bomb_takes_no_more_memory_than_allowed():
    bomb = gzip.compress(b"\0" * 50_000_000, mtime=0)
    with pytest.raises(UnpacksTooLongError, match="unpacks to more than 1000 bytes"):
        decompress(bomb, b"gzip", 1000)
