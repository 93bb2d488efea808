"""The errors of the transport, below any model protocol.

NetError
├── HttpProtocolError           a peer's bytes are not the HTTP/1.1 we speak; carries the status to answer with
├── TlsMaterialError            certificate, key or client CA cannot be used
├── ApiKeyFileError             the file of API keys cannot be used
└── HttpClientError             a request of ours got no answer
    ├── ConnectError            no connection could be made (refused, unreachable, TLS refused)
    │   └── ConnectTimeoutError within the connect timeout
    ├── PoolTimeoutError        every connection stayed busy until the deadline
    ├── RequestTimeoutError     the request was sent; no whole answer came before the deadline
    ├── ConnectionLostError     the connection ended before the answer was complete
    ├── NotExecutedError        the server said that it did not begin with it
    ├── ResponseTooLargeError   the answer is over the client's limit
    ├── ProtocolError           the answer is not of the protocol
    └── ClientClosedError       the client object was closed
"""


class NetError(Exception):
    """A failure of the transport."""


class HttpProtocolError(NetError):
    """A peer's bytes are not the HTTP/1.1 we speak.

    Attributes:
        status: the HTTP status that a server answers it with.
        reason: what was wrong and what would be right; fit for the client to read.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class TlsMaterialError(NetError):
    """A certificate, key or client CA cannot be used."""


class ApiKeyFileError(NetError):
    """The file of API keys cannot be used."""


class HttpClientError(NetError):
    """A request of ours got no answer.

    Attributes:
        received_bytes: how many bytes of the answer had come. Zero does not prove that the server did not act.
    """

    def __init__(self, message: str, *, received_bytes: int = 0) -> None:
        super().__init__(message)
        self.received_bytes = received_bytes


class ConnectError(HttpClientError):
    """No connection could be made."""


class ConnectTimeoutError(ConnectError):
    """No connection could be made within the connect timeout."""


class PoolTimeoutError(HttpClientError):
    """Every connection stayed busy until the deadline; nothing was sent."""


class RequestTimeoutError(HttpClientError):
    """The request was sent and no whole answer came before the deadline."""


class ConnectionLostError(HttpClientError):
    """The connection ended before the answer was complete."""


class NotExecutedError(HttpClientError):
    """The server said that it did not begin with the request: sending it again runs it once."""


class ResponseTooLargeError(HttpClientError):
    """The answer is over the client's limit."""


class ProtocolError(HttpClientError):
    """The answer is not of the protocol."""


class ClientClosedError(HttpClientError):
    """The client object was closed."""
