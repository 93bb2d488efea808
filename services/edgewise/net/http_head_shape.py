"""What heads have in common that differ in a few values only, such as Content-Length or a request's id.

Parsing a head strictly costs twenty times as much as comparing it, and peers repeat themselves: the same fields in the
same order with another length. So a head that was parsed once is cut at the values that vary; one that fits between the
cuts, and has values there that cannot mean anything else, is understood without parsing it again.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_MAX_VALUE_BYTES: Final = 128
_MAX_NUMBER_BYTES: Final = 18
_DECIMAL: Final = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?").fullmatch
_WORD: Final = re.compile(rb"[!-~]{1,128}").fullmatch

Fits = Callable[[bytes], object]


def is_count(value: bytes) -> bool:
    """Whether a value is a plain number of digits, few enough for 64 bits."""
    return value.isdigit() and len(value) <= _MAX_NUMBER_BYTES


def is_decimal(value: bytes) -> bool:
    """Whether a value is a plain decimal fraction."""
    return _DECIMAL(value) is not None


def is_word(value: bytes) -> bool:
    """Whether a value is visible ASCII without spaces."""
    return _WORD(value) is not None


class HeadShape:
    r"""A head with the values cut out that vary.

    Args:
        raw: a whole head that was parsed and found right, up to and with the empty line.
        varying: fields that may vary, by name in lower case, and what their values have to be like.

    Attributes:
        names: of the fields that were cut out, in their order.
        note: for the front door or whoever reads the answers: what it made of the rest.
    """

    __slots__ = ("_first", "_first_bytes", "_pieces", "names", "note")

    def __init__(self, raw: bytes, varying: Mapping[bytes, Fits]) -> None:
        self.note: Any = None
        lines = raw.split(b"\r\n")
        names = [line.partition(b":")[0].lower() for line in lines]
        pieces: list[tuple[bytes, Fits]] = []
        cut: list[bytes] = []
        start = at = 0
        first: bytes | None = None
        fits: Fits = is_count
        for line, name in zip(lines, names, strict=True):
            check = varying.get(name)
            # A field that is there twice means both together; it is left as it is.
            if check is not None and at and names.count(name) == 1:
                value_at = at + len(name) + 2
                value = line[len(name) + 2 :]
                if line[len(name) : len(name) + 2] == b": " and check(value):
                    if first is None:
                        first = raw[:value_at]
                    else:
                        pieces.append((raw[start:value_at], fits))
                    fits = check
                    cut.append(name)
                    start = at + len(line)
            at += len(line) + 2
        if first is None:
            first = raw
        else:
            pieces.append((raw[start:], fits))
        self.names = tuple(cut)
        self._first = first
        self._first_bytes = len(first)
        self._pieces = tuple(pieces)

    def match(self, data: bytes | bytearray, start: int, end: int) -> tuple[int, list[bytes]] | None:
        """Compare data[start:end] with the shape.

        Returns: where the head ends and the values of `names`, or None when it is another head or not whole.
        """
        if not data.startswith(self._first, start, end):
            return None
        at = start + self._first_bytes
        values = []
        for piece, fits in self._pieces:
            stop = data.find(b"\r\n", at, at + _MAX_VALUE_BYTES + 2)
            if stop < 0 or not data.startswith(piece, stop, end):
                return None
            value = bytes(data[at:stop])
            if not fits(value):
                return None
            values.append(value)
            at = stop + len(piece)
        return at, values
