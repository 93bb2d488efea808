"""Lines for a terminal, or for whatever reads one."""

from collections.abc import Sequence


def printable(text: str) -> str:
    """Text that somebody else wrote, without what a terminal would obey: reports and notes come from many machines."""
    return "".join(character if character.isprintable() else "�" for character in text)


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Rows as lines, each column as wide as its widest word; the first row is the head."""
    shown = [[printable(word) for word in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        indent + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in shown
    ]
