import pytest

from edgewise.hub.api.ranges import ByteRange, UnsatisfiableRangeError, etag_matches, requested_range

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("field", "if_range", "expected"),
    [
        (None, None, ByteRange(0, 100, is_part=False)),
        ("bytes=10-19", None, ByteRange(10, 20, is_part=True)),
        ("bytes=10-19", ETAG, ByteRange(10, 20, is_part=True)),
        ("bytes=10-19", 'W/"abc"', ByteRange(0, 100, is_part=False)),
        ("bytes=10-19", '"abd"', ByteRange(0, 100, is_part=False)),
        ("BYTES= 90- ", None, ByteRange(90, 100, is_part=True)),
        ("bytes=-1", None, ByteRange(99, 100, is_part=True)),
        ("bytes=0-1,3-4", None, ByteRange(0, 100, is_part=False)),
        ("bytes=5-4", None, ByteRange(0, 100, is_part=False)),
        ("bytes=" + "9" * 30 + "-", None, ByteRange(0, 100, is_part=False)),
    ],
)
def test_what_is_answered_with(field, if_range, expected):
    assert requested_range(field, if_range, etag=ETAG, size_bytes=100) == expected


@pytest.mark.parametrize("field", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_nothing_of_it_is_there(field):
    with pytest.raises(UnsatisfiableRangeError):
        requested_range(field, None, etag=ETAG, size_bytes=100)


@pytest.mark.parametrize(
    ("field", "matches"),
    [
        (None, False),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ("*", True),
        ('"ABC"', False),
        ("", False),
    ],
)
def test_tags(field, matches):
    assert etag_matches(field, ETAG) is matches
