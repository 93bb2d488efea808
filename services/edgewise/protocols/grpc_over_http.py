"""What `edgewise.net.grpc_over_http` says of a call's end: the HTTP status of each gRPC status, and messages unescaped."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from edgewise.protocols.grpc_status import CODES, OK
from edgewise.protocols.http_status import TFS_STATUS

_ABORTED: Final = 10
_LAST_STATUS: Final = 16
_ESCAPED: Final = re.compile(rb"%[0-9A-Fa-f]{2}")


def _http_status(status: int) -> int:
    if status == OK:
        return 200
    if status == _ABORTED:
        return 409
    code = CODES.get(status)
    # UNKNOWN and DATA_LOSS have no code of ours.
    return 500 if code is None else TFS_STATUS[code]


HTTP_STATUS: Final = tuple(_http_status(status) for status in range(_LAST_STATUS + 1))
"""The HTTP status of each gRPC status."""


def unescape_message(value: bytes) -> str:
    """A status message out of `grpc-message`; what is not percent-encoded stays as it is."""
    if _ESCAPED.search(value):
        value = unquote_to_bytes(value)
    return value.decode("utf-8", "replace")
