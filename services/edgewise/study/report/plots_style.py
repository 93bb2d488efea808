"""Matplotlib, loaded when something is drawn: without a display, without a home that can be written to, and the same bytes every time."""

import io
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from edgewise.study.report.drawings import Drawing, Plot
from edgewise.study.report.palette import AXIS, GRID, INK, PAPER, SOFT, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PNG_DPI: Final = 200
COLUMN_IN: Final = 2.55
ROW_IN: Final = 2.05

STYLE: Final[Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK.light,
    "axes.edgecolor": AXIS.light,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID.light,
    "grid.linewidth": 0.6,
    "xtick.color": AXIS.light,
    "ytick.color": AXIS.light,
    "xtick.labelcolor": SOFT.light,
    "ytick.labelcolor": SOFT.light,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "text.color": INK.light,
    "text.parse_math": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "hatch.linewidth": 0.6,
    "figure.facecolor": PAPER.light,
    "axes.facecolor": PAPER.light,
    "savefig.facecolor": PAPER.light,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgewise",
}


@contextmanager
def configuration() -> Iterator[None]:
    """A place for matplotlib's settings and its list of fonts: the usual one, or one for this time where that cannot be written to."""
    usual = (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))
    places = [Path(os.environ.get(variable) or Path.home() / name) for variable, name in usual]
    if "MPLCONFIGDIR" in os.environ or all(map(_writable, places)):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="edgewise-plots-") as directory:
        os.environ["MPLCONFIGDIR"] = directory
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


def _writable(directory: Path) -> bool:
    """Whether something could be made there; nothing is."""
    existing = next((one for one in (directory, *directory.parents) if one.exists()), None)
    return existing is not None and existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def render(drawing: Drawing) -> Plot:
    """Draw a plot as SVG and PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - loaded only when something is drawn
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks: the SVG has it as text, which the reader's fonts show.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = drawing.draw()
        picture, text = io.BytesIO(), io.StringIO()
        FigureCanvasSVG(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        # Laid out once: the second time would give the same.
        figure.set_layout_engine("none")
        FigureCanvasAgg(figure)
        figure.savefig(picture, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return Plot(drawing, text.getvalue(), picture.getvalue(), figure.get_figwidth() * 72)


def panels(
    rows: int,
    columns: int,
    *,
    width_in: float = COLUMN_IN,
    height_in: float = ROW_IN,
    top_in: float = 0.3,
    **options: Any,
) -> tuple["Figure", list[list["Axes"]]]:
    """A figure with a grid of axes, with room above for a key.

    Returns: the figure and its axes by row and column.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - loaded only when something is drawn
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    width, height = max(4.6, columns * width_in + 0.6), rows * height_in + top_in + 0.25
    room = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - top_in / height), w_pad=0.05, h_pad=0.05)
    figure = Figure(figsize=(width, height), layout=room)
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def key(figure: "Figure", targets: Sequence[str], *, markers: bool = True, areas: bool = False) -> None:
    """Names of the series on top, each with its line, its marker or both, or with its area."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - loaded only when something is drawn
    from matplotlib.patches import Patch  # noqa: PLC0415

    looks = series(targets)
    handles: list[Line2D | Patch] = [
        Patch(facecolor=look.colour, label=target)
        if areas
        else Line2D(
            [], [], color=look.colour, linestyle=look.dashes, marker=look.marker if markers else "", label=target
        )
        for target, look in looks.items()
    ]
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        ncols=min(6, len(handles)),
        bbox_to_anchor=(0, 1),
        handlelength=1.4 if areas else 2.6,
        columnspacing=1.6,
    )
    for text, look in zip(legend.get_texts(), looks.values(), strict=True):
        text.set_color(look.colour)


def logarithmic(axes: "Axes", which: Literal["x", "y"], *, scale: bool = True) -> None:
    """A logarithmic axis with plain numbers, few enough to be read; call it when everything is drawn."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator  # noqa: PLC0415

    axis = axes.xaxis if which == "x" else axes.yaxis
    if scale:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if 0 < low < high else 9.0
    subs = (1.0, 2.0, 5.0) if decades < 1.7 else (1.0, 3.0) if decades < 3.2 else (1.0,)
    axis.set_major_locator(LogLocator(10, subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def plain(value: float, _position: int | None = None) -> str:
    """A tick's number, never a power of ten."""
    return f"{value:,.10g}"
