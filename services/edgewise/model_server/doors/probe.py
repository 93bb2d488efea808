"""`POST /edgewise/v1/probe?answer_bytes=N`: a question of one size and an answer of another, for whoever measures the link.

A link that lets small packets through and swallows large ones looks healthy to every small question, so the gateway
asks with payloads as large as those of its requests.
"""

from typing import TYPE_CHECKING, Final

from edgewise.core.errors import InvalidArgumentError, UnavailableError

if TYPE_CHECKING:
    from edgewise.net.exchange import Exchange, Header

PROBE_PATH: Final = b"/edgewise/v1/probe"
MAX_PROBE_BYTES: Final = 1 << 20
_QUERY: Final = b"answer_bytes="
_TYPE: Final = (b"content-type", b"application/octet-stream")


class ProbeAnswers:
    """Answers probes.

    Args:
        who: the fields that say which site answers.
    """

    def __init__(self, who: "tuple[Header, ...]") -> None:
        self._headers = (_TYPE, *who)
        self._padding = memoryview(b"")

    def answer(self, exchange: "Exchange", *, ready: bool) -> None:
        """Answer one probe.

        Raises:
            InvalidArgumentError: a size is no number or too large.
            UnavailableError: the server is not ready.
        """
        if exchange.method != b"POST":
            exchange.respond(405, ((b"allow", b"POST"), *self._headers), b"")
            return
        size_bytes = _answer_bytes(exchange.query)
        if len(exchange.body) > MAX_PROBE_BYTES:
            raise InvalidArgumentError(f"the body has {len(exchange.body)} bytes; expected at most {MAX_PROBE_BYTES}")
        if not ready:
            raise UnavailableError("this server is not ready", retry_after_s=1.0)
        if size_bytes > len(self._padding):
            # Kept in the largest size that was asked for; most servers are never asked.
            self._padding = memoryview(bytes(size_bytes))
        exchange.respond(200, self._headers, self._padding[:size_bytes])


def _answer_bytes(query: bytes) -> int:
    """The size that the query asks for; 0 without one.

    Raises:
        InvalidArgumentError: it is no number of bytes from 0 to the bound.
    """
    if not query:
        return 0
    value = query.removeprefix(_QUERY)
    if value == query or not value.isdigit() or len(value) > 7 or int(value) > MAX_PROBE_BYTES:
        raise InvalidArgumentError(f"expected ?answer_bytes=N with N from 0 to {MAX_PROBE_BYTES}")
    return int(value)
