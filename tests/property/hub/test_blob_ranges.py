"""Whatever range is asked for, what is answered lies within the blob, and is what a slice would be."""

from hypothesis import given
from hypothesis import strategies as st

from edgewise.hub.api.ranges import UnsatisfiableRangeError, requested_range

FIELDS = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True),
    st.builds("bytes={}-{}".format, st.integers(0, 200), st.integers(0, 200)),
)


@given(field=FIELDS, if_range=st.one_of(st.none(), st.sampled_from(['"a"', '"b"'])), size=st.integers(0, 150))
def test_a_range_lies_within_the_blob(field, if_range, size):
    try:
        found = requested_range(field, if_range, etag='"a"', size_bytes=size)
    except UnsatisfiableRangeError:
        assert field is not None
        return
    assert 0 <= found.start <= found.end <= size
    assert found.is_part or (found.start, found.end) == (0, size)
    if found.is_part:
        assert found.end > found.start
        assert if_range in {None, '"a"'}
