"""The plots of a training, in the looks of the studies' reports."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgewise.study.cells import CLOUD, EDGE
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.palette import GRID, INK, PAPER, SOFT, TINTS, series
from edgewise.study.report.plots_style import logarithmic, panels
from edgewise.train.curves import COLUMNS, Epoch
from edgewise.train.evaluation import ClassScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN: Final = 6.2
_HEIGHT_IN: Final = 2.5
_LOOKS: Final = dict(zip(("training", "validation"), series((CLOUD, EDGE)).values(), strict=True))
_AROUND: Final = 1.2
_MARKED: Final = 40
"""Epochs from which on their points are no longer marked one by one."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is drawn.

    Attributes:
        confusion: counts[actual][called] on the test split.
        parted: as `curves.parted` has it.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    parted: int | None
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    scores: tuple[ClassScore, ...]


def drawings(shown: Shown) -> list[Drawing]:
    """All plots, in the order of the page."""
    return [
        _learning_rate(shown),
        _curves(
            shown,
            "loss",
            "Training and validation loss",
            "Mean negative logarithm of the right class's probability. While it learns, dropout hides features and class weights count: "
            "the training loss can lie above the validation loss.",
        ),
        _curves(shown, "accuracy", "Accuracy", "The share of pictures whose most probable class is the right one."),
        _confusion(shown),
        _by_class(shown),
    ]


def _learning_rate(shown: Shown) -> Drawing:
    def draw() -> "Figure":
        figure, ((axes,),) = panels(1, 1, width_in=_WIDTH_IN, height_in=1.9, top_in=0.05)
        rates = [one.learning_rate for one in shown.epochs]
        _line(axes, shown.epochs, rates, "training")
        if span := _decade(rates):
            axes.set_yscale("log")
            axes.set_ylim(*span)
            logarithmic(axes, "y", scale=False)
        axes.set_ylabel("learning rate")
        _epochs_below(axes, shown)
        return figure

    rows = [(str(one.epoch), str(one.stage), f"{one.learning_rate:.3g}") for one in shown.epochs]
    return Drawing(
        "learning-rate",
        "Learning rate",
        "In the mean of each epoch's steps; lines part the stages.",
        f"The learning rate of {len(shown.epochs)} epochs, from {shown.epochs[0].learning_rate:.2g} to {shown.epochs[-1].learning_rate:.2g}.",
        draw,
        Table(("epoch", "stage", "learning rate"), rows),
    )


def _decade(rates: Sequence[float]) -> tuple[float, float] | None:
    """What an axis shows of learning rates: a decade at least, in which there are three ticks; None where all are 0."""
    rates = [rate for rate in rates if rate > 0]
    if not rates:
        return None
    low, high = min(rates) / _AROUND, max(rates) * _AROUND
    wider = math.sqrt(max(10.0 * low / high, 1.0))
    return low / wider, high * wider


def _curves(shown: Shown, name: str, title: str, caption: str) -> Drawing:
    trained = [float(getattr(one, name)) for one in shown.epochs]
    validated = [float(getattr(one, f"validation_{name}")) for one in shown.epochs]

    def draw() -> "Figure":
        figure, ((axes,),) = panels(1, 1, width_in=_WIDTH_IN, height_in=_HEIGHT_IN)
        _line(axes, shown.epochs, trained, "training")
        _line(axes, shown.epochs, validated, "validation")
        at = shown.best_epoch - 1
        axes.plot([shown.best_epoch], [validated[at]], "o", markersize=9, fillstyle="none", color=INK.light)
        axes.set_ylabel(name)
        top = 1.04 if name == "accuracy" else 1.04 * max(*trained, *validated, 1e-6)
        # Room for the circle where the loss is next to nothing.
        axes.set_ylim(-0.04 * top, top)
        _epochs_below(axes, shown)
        _key(figure, shown)
        return figure

    best = shown.best_epoch
    rows = [
        (str(one.epoch), f"{a:.4f}", f"{b:.4f}") for one, a, b in zip(shown.epochs, trained, validated, strict=True)
    ]
    said = f"the circle is epoch {best}, whose weights are kept"
    where = f"From epoch {shown.parted} on the curves part." if shown.parted else "The curves have not parted."
    return Drawing(
        name,
        title,
        f"{caption} {said[0].upper()}{said[1:]}. {where if name == 'loss' else ''}".strip(),
        f"{title} over {len(rows)} epochs; validation {validated[best - 1]:.3f} at epoch {best}, the best.",
        draw,
        Table(("epoch", "training", "validation"), rows),
    )


def _line(axes: "Axes", epochs: Sequence[Epoch], values: Sequence[float], name: str) -> None:
    """A line for each stage: what lies between two stages is no step of the training."""
    look = _LOOKS[name]
    for stage in sorted({one.stage for one in epochs}):
        rows = [at for at, one in enumerate(epochs) if one.stage == stage]
        axes.plot(
            [epochs[at].epoch for at in rows],
            [values[at] for at in rows],
            color=look.colour,
            linestyle=look.dashes,
            marker=look.marker if len(epochs) <= _MARKED or len(rows) == 1 else "",
            markersize=3,
        )


def _epochs_below(axes: "Axes", shown: Shown) -> None:
    """The axis of epochs, with a line where a stage begins."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - loaded only when something is drawn

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, len(shown.epochs) + 0.5)
    for before, after in zip(shown.epochs, shown.epochs[1:], strict=False):
        if after.stage != before.stage:
            axes.axvline(after.epoch - 0.5, color=SOFT.light, linewidth=0.8, linestyle=(0, (2, 2)))


def _key(figure: "Figure", shown: Shown) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - loaded only when something is drawn

    handles = [
        Line2D([], [], color=look.colour, linestyle=look.dashes, marker=look.marker, markersize=3, label=name)
        for name, look in _LOOKS.items()
    ]
    handles.append(
        Line2D(
            [],
            [],
            color=INK.light,
            linestyle="",
            marker="o",
            fillstyle="none",
            markersize=8,
            label=f"best: epoch {shown.best_epoch}",
        )
    )
    figure.legend(handles=handles, loc="upper left", ncols=3, bbox_to_anchor=(0, 1), handlelength=2.4)


def _confusion(shown: Shown) -> Drawing:
    count = len(shown.classes)

    def draw() -> "Figure":
        side = min(max(2.6, 0.62 * count + 1.0), 9.0)
        figure, ((axes,),) = panels(1, 1, width_in=side + 0.6, height_in=side, top_in=0.1)
        axes.grid(visible=False)
        for actual, row in enumerate(shown.confusion):
            for called, number in enumerate(row):
                _cell(axes, called, actual, number, sum(row), small=count > 12)
        axes.set_xlim(0, count)
        axes.set_ylim(count, 0)
        places = [at + 0.5 for at in range(count)]
        axes.set_xticks(places, shown.classes, rotation=90 if count > 6 else 0)
        axes.set_yticks(places, shown.classes)
        axes.tick_params(length=0)
        axes.set_xlabel("called")
        axes.set_ylabel("is")
        return figure

    rows = [(name, *(str(one) for one in row)) for name, row in zip(shown.classes, shown.confusion, strict=True)]
    right = sum(row[at] for at, row in enumerate(shown.confusion))
    return Drawing(
        "confusion",
        "Confusion matrix",
        "Pictures of the test split: a row is what they are, a column what they were called; the ground is darker the larger the share of the row.",
        f"Of {sum(map(sum, shown.confusion))} pictures {right} were called right.",
        draw,
        Table(("is \\ called", *shown.classes), rows),
    )


def _cell(axes: "Axes", column: int, row: int, number: int, whole: int, *, small: bool) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - loaded only when something is drawn

    share = number / whole if whole else 0.0
    tints = TINTS[CLOUD if column == row else EDGE]
    ground: Any = PAPER if not number else tints[min(2, int(share * 3))]
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=ground.light, edgecolor=GRID.light, linewidth=0.8))
    text = str(number) if small or not number else f"{number}\n{share:.0%}"
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7 if small else 8.5, color=INK.light)


def _by_class(shown: Shown) -> Drawing:
    def draw() -> "Figure":
        count = len(shown.scores)
        figure, ((axes,),) = panels(1, 1, width_in=_WIDTH_IN, height_in=min(max(1.6, 0.42 * count + 0.6), 12.0))
        for shift, (what, name) in zip((-0.2, 0.2), (("precision", "training"), ("recall", "validation")), strict=True):
            look = _LOOKS[name]
            for at, score in enumerate(shown.scores):
                value = getattr(score, what)
                axes.barh(at + shift, value or 0.0, 0.36, color=look.colour, label=what if at == 0 else None)
                axes.text(
                    (value or 0.0) + 0.01,
                    at + shift,
                    "none" if value is None else f"{value:.0%}",
                    va="center",
                    fontsize=7.5,
                )
        axes.set_yticks(range(count), [score.name for score in shown.scores])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12)
        shares = (0.0, 0.25, 0.5, 0.75, 1.0)
        axes.set_xticks(shares, [f"{share:.0%}" for share in shares])
        axes.grid(visible=False, axis="y")
        figure.legend(loc="upper left", ncols=2, bbox_to_anchor=(0, 1), handlelength=1.4)
        return figure

    rows = [(one.name, _share(one.precision), _share(one.recall), str(one.support)) for one in shown.scores]
    return Drawing(
        "by-class",
        "Precision and recall of each class",
        "Precision: of those called so, how many are so. Recall: of those that are so, how many were called so.",
        "; ".join(f"{one.name}: precision {_share(one.precision)}, recall {_share(one.recall)}" for one in shown.scores)
        + ".",
        draw,
        Table(("class", "precision", "recall", "pictures"), rows),
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def epochs_table(epochs: Iterable[Epoch]) -> Table:
    """metrics.csv, for people."""
    rows = [
        (
            str(one.stage),
            str(one.epoch),
            f"{one.learning_rate:.3g}",
            f"{one.loss:.4f}",
            f"{one.accuracy:.1%}",
            f"{one.validation_loss:.4f}",
            f"{one.validation_accuracy:.1%}",
            f"{one.seconds:.1f}",
            f"{one.images_per_s:.1f}",
            f"{one.peak_memory_bytes / 2**20:,.0f}",
        )
        for one in epochs
    ]
    names = [name.replace("_", " ") for name in COLUMNS]
    return Table((*names[:-1], "peak memory, MiB"), rows)
