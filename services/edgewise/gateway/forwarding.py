"""Which header fields go on to the next station, and which end here.

Source: RFC 9110, sections 7.6.1 (Connection), 7.6.3 (Via); RFC 9112, section 6 (framing is each hop's own).
"""

from collections.abc import Iterable
from typing import Final

from edgewise.net.exchange import Header

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Said anew by us: where it goes, how long it is, how much time is left, which request it is, which version is to answer.
# `x-edgewise-route` is for this gateway; the body is there as a whole, so nobody has to expect anything.
OWN_REQUEST_FIELDS: Final = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"x-edgewise-deadline-ms",
    b"x-edgewise-prefer-version",
    b"x-edgewise-route",
    b"x-request-id",
}

OWN_ANSWER_FIELDS: Final = HOP_BY_HOP | {
    b"content-length",
    b"x-edgewise-attempts",
    b"x-edgewise-degraded",
    b"x-edgewise-site",
    b"x-edgewise-tier",
    b"x-request-id",
}

CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})
"""What an app shows to this gateway; a site with a key of its own does not get it."""


def end_to_end(fields: Iterable[Header], connection: bytes | None, dropped: frozenset[bytes]) -> list[Header]:
    """The fields that go on.

    Args:
        fields: names in lower case.
        connection: the value of Connection; what it names is for this hop alone.
        dropped: names that end here whatever Connection says.
    """
    if connection is None or connection in (b"keep-alive", b"close"):
        return [field for field in fields if field[0] not in dropped]
    nominated = {option.strip().lower() for option in connection.split(b",")}
    return [field for field in fields if field[0] not in dropped and field[0] not in nominated]
