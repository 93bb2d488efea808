"""A unary gRPC call as one HTTP/1.1 request: what the gateway sends and the model server's REST port answers.

    POST /package.Service/Method          200
    content-type: application/x-protobuf  content-type: application/x-protobuf
    (metadata as header fields)           grpc-status: 0
                                          (trailers as header fields)
    the bare message                      the bare message

The message has no length before it, since the body says where it ends. An error has the HTTP status of its code, no body,
and `grpc-status` and `grpc-message` (percent-encoded) beside the trailers. Deadlines travel as `x-edgewise-deadline-ms`.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from edgewise.protocols.grpc_status import CODES, OK
from edgewise.protocols.http_status import TFS_STATUS

CONTENT_TYPE: Final = b"application/x-protobuf"
STATUS_FIELD: Final = b"grpc-status"
MESSAGE_FIELD: Final = b"grpc-message"

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
