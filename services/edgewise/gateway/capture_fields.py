"""What heads of requests and answers say to capturing."""

from collections.abc import Mapping
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.net.exchange import Body
from edgewise.net.http_head_shape import is_count
from edgewise.protocols.answers import JSON_LENGTH_HEADER

CAPTURE_HEADER: Final = b"x-edgewise-capture"
SOURCE_HEADER: Final = b"x-edgewise-source"
MAX_SOURCE_CHARACTERS: Final = 128


def opted_out(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request says that it must not be captured.

    Raises: InvalidArgumentError: it says something else: who misspells that is not to be captured unawares. Or it says a source that is too
        long: one that was cut would be taken for another one.
    """
    source = headers.get(SOURCE_HEADER)
    if source is not None and len(source) > MAX_SOURCE_CHARACTERS:
        raise InvalidArgumentError(
            f"x-edgewise-source takes {MAX_SOURCE_CHARACTERS} characters at most, found {len(source)}"
        )
    wish = headers.get(CAPTURE_HEADER)
    if wish is None:
        return False
    if wish.strip().lower() != b"never":
        raise InvalidArgumentError("x-edgewise-capture takes never and nothing else")
    return True


def source_of(headers: Mapping[bytes, bytes]) -> str:
    """What a request says of where it comes from: its printable ASCII characters; "" where it says nothing."""
    words = headers.get(SOURCE_HEADER, b"").decode("ascii", "replace")
    return "".join(character for character in words if character.isascii() and character.isprintable()).strip()


class Said:
    """What a site answered.

    Args:
        site, tier: which.
        version: of the model; 0 where it is not known.
        headers, body: of the answer.

    Attributes:
        content_type, encoding: what its head says of the body; b"" for nothing.
        json_length: how much of it is JSON, where binary tensors are behind it.
    """

    __slots__ = ("body", "content_type", "encoding", "json_length", "site", "tier", "version")

    def __init__(self, site: str, tier: str, version: int, headers: Mapping[bytes, bytes], body: Body) -> None:
        self.site = site
        self.tier = tier
        self.version = version
        self.body = body
        self.content_type = headers.get(b"content-type", b"")
        self.encoding = headers.get(b"content-encoding", b"")
        self.json_length = json_length(headers)


def json_length(headers: Mapping[bytes, bytes]) -> int | None:
    """How much of a body is JSON, where its head says so."""
    length = headers.get(JSON_LENGTH_HEADER)
    return int(length) if length is not None and is_count(length) else None
