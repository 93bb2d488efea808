"""A long request body that a handler gets piece by piece, while it comes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.net.http_connection import HttpConnection

Piece = bytes | bytearray


class IncomingBody:
    """What is told of a body that comes.

    Args:
        length_bytes: of all of it; None where that is not known.
        first: what had come when it was decided not to wait for the rest.

    Attributes:
        on_piece, on_end: called with each piece, and once after the last; set by the handler before it returns. Neither is
            called once the exchange is closed. A body that ends too early closes the exchange.
    """

    __slots__ = ("_connection", "_first", "length_bytes", "on_end", "on_piece")

    def __init__(self, length_bytes: int | None, first: Piece) -> None:
        self.length_bytes = length_bytes
        self.on_piece: Callable[[Piece], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._first = first
        self._connection: HttpConnection | None = None

    def __len__(self) -> int:
        """Bytes in all, or that have come so far where that is not known."""
        return len(self._first) if self.length_bytes is None else self.length_bytes

    def pause(self) -> None:
        """Let the client wait with the rest."""
        if self._connection is not None:
            self._connection.pause_incoming(self)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._connection is not None:
            self._connection.resume_incoming(self)

    # --- for its connection alone ---

    def belongs_to(self, connection: "HttpConnection | None") -> None:
        """Note whose body it is; None when nobody is told of it any more."""
        self._connection = connection

    def begin(self) -> None:
        """Hand over what had come."""
        first, self._first = self._first, b""
        if first:
            self.give(first)

    def give(self, piece: Piece) -> None:
        """Hand over a piece."""
        if self._connection is not None and self.on_piece is not None and piece:
            self.on_piece(piece)

    def end(self) -> None:
        """The last piece was handed over."""
        if self._connection is not None:
            self._connection = None
            if self.on_end is not None:
                self.on_end()
