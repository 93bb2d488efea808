import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.preferred_version import parse_preferred_version


@pytest.mark.parametrize(
    ("value", "version"), [(None, None), (b"1", 1), (b"007", 7), (b"%d" % MAX_VERSION, MAX_VERSION)]
)
def test_a_version_or_nothing(value, version):
    assert parse_preferred_version(value) == version


@pytest.mark.parametrize(
    "value", [b"", b"0", b"-1", b"+1", b"1.0", b" 1", b"1, 2", b"two", b"\xb2", b"9" * 19, b"1" * 5000]
)
def test_what_is_none(value):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_preferred_version(value)
    assert caught.value.message == "x-edgewise-prefer-version is not a version; expected a positive whole number"
