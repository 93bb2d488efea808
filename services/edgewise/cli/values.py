"""Types of argument values: each refuses what the command could not use, and says what it could."""

import argparse
import contextlib
import math
import re
from collections.abc import Callable
from typing import Final

_UNITS: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}=[A-Za-z0-9._-]{0,63}")


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number.

    Args:
        least: the smallest that is taken.
        most: the greatest that is taken; None is no bound.
    Returns: what `argparse` calls with the word; it raises `ArgumentTypeError` for another value.
    """
    allowed = f"{least} or more" if most is None else f"{least} to {most}"

    def parse(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"found {word!r}, expected a whole number, {allowed}")
        return value

    return parse


def seconds(*, zero: bool) -> Callable[[str], float]:
    """A duration in seconds.

    Args:
        zero: whether 0 s is taken.
    Returns: what `argparse` calls with the word; it raises `ArgumentTypeError` for another value.
    """
    allowed = "0 or more" if zero else "more than 0"

    def parse(word: str) -> float:
        try:
            value_s = float(word)
        except ValueError:
            value_s = math.nan
        if not math.isfinite(value_s) or value_s < 0 or (value_s == 0 and not zero):
            raise argparse.ArgumentTypeError(f"found {word!r}, expected a number of seconds, {allowed}")
        return value_s

    return parse


def days(word: str) -> float:
    """A number of days, 0 or more.

    Raises: ArgumentTypeError: another value.
    """
    with contextlib.suppress(ValueError):
        value = float(word)
        if math.isfinite(value) and value >= 0.0:
            return value
    raise argparse.ArgumentTypeError(f"found {word!r}, expected a number of days, 0 or more")


def header_name(word: str) -> str:
    """A name that answers carry in a header and in gRPC metadata, which take printable ASCII only.

    Raises:
        ArgumentTypeError: it is empty or holds something else.
    Source: gRPC over HTTP/2, "ASCII-Value"; RFC 9110, section 5.5.
    """
    if not word.strip() or not (word.isascii() and word.isprintable()) or word != word.strip():
        raise argparse.ArgumentTypeError(
            f"found {word!r}, expected printable ASCII characters without spaces at the ends, such as factory-7"
        )
    return word


def size(word: str) -> int:
    """Bytes: 500MB, 2GiB or 65536.

    Raises: argparse.ArgumentTypeError: it is none.
    """
    found = _SIZE.fullmatch(word.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or not float(found[1]) * unit >= 1:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a size such as 500MB, 2GiB or 65536")
    return int(float(found[1]) * unit)


def rate(word: str) -> float:
    """Bytes per second: 2MB/s.

    Raises: argparse.ArgumentTypeError: it is none.
    """
    if not word.endswith("/s"):
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a rate such as 2MB/s or 64kB/s")
    return float(size(word.removesuffix("/s")))


def label(word: str) -> tuple[str, str]:
    """A label of a site: NAME=VALUE.

    Raises: argparse.ArgumentTypeError: it is none.
    """
    if not _LABEL.fullmatch(word):
        raise argparse.ArgumentTypeError(f"found {word!r}, expected NAME=VALUE, such as region=eu")
    name, _, value = word.partition("=")
    return name, value
