"""A plot before and after it is drawn, and the table beneath it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers for people, as text.

    Attributes:
        header: the names of the columns, with their units.
        rows: as many words each as the header.
        words: how many columns from the left hold words, not numbers.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot to be drawn.

    Attributes:
        name: of its files.
        title: a heading.
        caption: what is seen and how it was computed.
        description: what it shows, for who cannot see it.
        draw: makes the figure; called under the style, with matplotlib loaded.
        table: its data.
    """

    name: str
    title: str
    caption: str
    description: str
    draw: Callable[[], "Figure"]
    table: Table


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot that was drawn.

    Attributes:
        svg: a document, text as text.
        png: 200 dots per inch.
        width_pt: of the drawing.
    """

    drawing: Drawing
    svg: str
    png: bytes
    width_pt: float
