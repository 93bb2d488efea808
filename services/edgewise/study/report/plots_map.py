"""Who wins: RTT against load, or network against model where one load was measured."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from edgewise.study.report.contests import Contest, Metric, Reason, contests
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index, Setting
from edgewise.study.report.palette import AXIS, INK, PAPER, SHADE, SOFT, TINTS
from edgewise.study.report.plots_panels import slug
from edgewise.study.report.plots_style import panels
from edgewise.study.report.wording import interval, listing, nominal, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS: Final = (1.25, 2.0)
"""Factors between targets at which a cell's colour gets stronger."""

MOST_MAPS: Final = 6
KEY_IN: Final = 5.2
CELL_IN: Final = (0.62, 0.36)


@dataclass(frozen=True, slots=True)
class _Map:
    """One map: contests by row and column; None where nothing was measured.

    Attributes:
        loads: of the rows, where rows are loads; empty where they are models.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: list[list[Contest | None]]
    loads: tuple[float, ...] = ()


def maps(index: Index) -> Iterator[Drawing]:
    """One of the means, one of the 99th percentiles, for each pair of targets."""
    pairs = index.rivals()
    for pair in pairs:
        for metric in (Metric.MEAN, Metric.P99):
            made = _maps(index, pair, metric)[:MOST_MAPS]
            found = [one for each in made for row in each.cells for one in row if one is not None]
            if len(found) < 2:
                continue
            words = "mean latency" if metric is Metric.MEAN else f"{metric} latency"
            against = "" if len(pairs) == 1 else f": {pair[0]} against {pair[1]}"
            yield Drawing(
                f"map-{metric}" + ("" if len(pairs) == 1 else f"-{slug(pair[0])}"),
                f"Who wins by {words}{against}",
                "Each field is one network and load, with the winner and how many times slower the other one is. Colour: 95 % "
                "intervals do not overlap. Hatched: no difference is shown, with the one that was faster in brackets. "
                "“answers”: the other one left more than 1 % of the requests unanswered; “neither”: both did."
                + _about_lines(index, made, pair, metric),
                f"Map of who wins by {words}: {_in_words(found, pair)}.",
                _drawer(index, made, pair, metric),
                Table(
                    (
                        "model",
                        "network",
                        "RTT, ms",
                        "load, 1/s",
                        "wins",
                        "why",
                        f"{pair[0]} {metric}, ms",
                        f"{pair[1]} {metric}, ms",
                        "ratio",
                    ),
                    [_row(index, one, metric) for one in found],
                    2,
                ),
            )


def _in_words(found: Sequence[Contest], pair: tuple[str, str]) -> str:
    said = [f"{target} in {sum(one.winner == target for one in found)}" for target in pair]
    said.append(f"no difference shown in {sum(not one.winner for one in found)}")
    return f"of {len(found)} fields {listing(said)}"


def _row(index: Index, one: Contest, metric: Metric) -> tuple[str, ...]:
    why = {
        Reason.LATENCY: "intervals apart",
        Reason.ANSWERS: "the other leaves requests unanswered",
        Reason.OVERLAP: "intervals overlap",
        Reason.OVERLOAD: "neither answers 99 %",
    }
    return (
        index.label(one.setting),
        one.profile or "–",
        number(index.rtt_ms(one.profile)) if one.profile else "–",
        f"{one.load:g}",
        one.winner or "not shown",
        why[one.reason],
        interval(metric.of(one.first)),
        interval(metric.of(one.second)),
        number(one.ratio),
    )


def _maps(index: Index, pair: tuple[str, str], metric: Metric) -> list[_Map]:
    settings = [setting for setting in index.settings if index.calm(setting)]
    found = {setting: list(contests(index, setting, pair, metric)) for setting in settings}
    found = {setting: some for setting, some in found.items() if some}
    if not found:
        return []
    if len(found) > 1 and all(len({one.load for one in some}) == 1 for some in found.values()):
        return [_by_model(index, found)]
    return [_by_load(index, setting, some) for setting, some in found.items()]


def _columns(index: Index, found: Sequence[Contest]) -> list[str]:
    crossed = {one.profile for one in found}
    return [profile for profile in index.profiles if profile in crossed] or [""]


def _network(index: Index, profile: str) -> str:
    rtt_ms = index.rtt_ms(profile)
    return profile or "no network" if math.isnan(rtt_ms) else f"{profile}\n{nominal(rtt_ms)}"


def _by_load(index: Index, setting: Setting, found: Sequence[Contest]) -> _Map:
    columns = _columns(index, found)
    loads = sorted({one.load for one in found})
    placed = {(one.load, one.profile): one for one in found}
    cells = [[placed.get((load, profile)) for profile in columns] for load in loads]
    names = tuple(_network(index, profile) for profile in columns)
    return _Map(index.label(setting), tuple(f"{load:g}" for load in loads), names, cells, tuple(loads))


def _by_model(index: Index, by_setting: dict[Setting, list[Contest]]) -> _Map:
    found = [one for some in by_setting.values() for one in some]
    columns = _columns(index, found)
    cells = []
    for some in by_setting.values():
        placed = {one.profile: one for one in some}
        cells.append([placed.get(profile) for profile in columns])
    cells.reverse()
    rows = tuple(index.label(setting) for setting in reversed(by_setting))
    loads = {one.load for one in found}
    title = f"at {loads.pop():g} requests/s" if len(loads) == 1 else ""
    return _Map(title, rows, tuple(_network(index, profile) for profile in columns), cells)


def _about_lines(index: Index, made: Sequence[_Map], pair: tuple[str, str], metric: Metric) -> str:
    if any(_border(index, one, metric) for one in made):
        return f" Line: where the prediction from the calibration sees {pair[0]} and {pair[1]} level."
    if not index.result.predictions:
        return " Nothing was predicted, so there is no predicted line."
    return " The prediction sees no crossover within the map."


def _drawer(index: Index, made: Sequence[_Map], pair: tuple[str, str], metric: Metric) -> Callable[[], "Figure"]:
    def figure() -> "Figure":
        wide, tall = max(len(one.columns) for one in made), max(len(one.rows) for one in made)
        width_in = max(2.4, wide * CELL_IN[0] + 0.6) + (1.0 if not made[0].loads else 0.0)
        columns = max(1, min(len(made), int(10.5 / width_in)))
        width_in = max(width_in, KEY_IN / columns)
        rows = math.ceil(len(made) / columns)
        drawn, axes = panels(rows, columns, width_in=width_in, height_in=max(1.2, tall * CELL_IN[1] + 0.85), top_in=0.3)
        flat = [axis for row in axes for axis in row]
        for axis in flat[len(made) :]:
            axis.set_axis_off()
        for one, axis in zip(made, flat, strict=False):
            _draw(axis, index, one, pair, metric)
        _key(drawn, pair)
        return drawn

    return figure


def _draw(axis: "Axes", index: Index, one: _Map, pair: tuple[str, str], metric: Metric) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - loaded only when something is drawn

    for row, contests_of_row in enumerate(one.cells):
        for column, found in enumerate(contests_of_row):
            corner = (column - 0.5, row - 0.5)
            if found is None:
                axis.add_patch(Rectangle(corner, 1, 1, facecolor=PAPER.light, edgecolor=PAPER.light))
                axis.text(column, row, "not\nmeasured", ha="center", va="center", fontsize=5.5, color=SOFT.light)
                continue
            ground, hatch = _ground(found, pair), None if found.winner else "////"
            axis.add_patch(
                Rectangle(
                    corner,
                    1,
                    1,
                    facecolor=ground,
                    edgecolor=AXIS.light if hatch else PAPER.light,
                    linewidth=0,
                    hatch=hatch,
                )
            )
            axis.text(
                column,
                row,
                _words(found),
                ha="center",
                va="center",
                fontsize=6.8,
                linespacing=1.05,
                color=INK.light if found.winner else SOFT.light,
                bbox=_under(ground if found.winner else PAPER.light),
                zorder=7,
            )
    axis.set_xlim(-0.5, len(one.columns) - 0.5)
    axis.set_ylim(-0.5, len(one.rows) - 0.5)
    axis.set_xticks(range(len(one.columns)), one.columns, fontsize=6.8)
    axis.set_yticks(range(len(one.rows)), one.rows)
    axis.set_xticks([place - 0.5 for place in range(1, len(one.columns))], minor=True)
    axis.set_yticks([place - 0.5 for place in range(1, len(one.rows))], minor=True)
    axis.grid(visible=False, which="major")
    axis.grid(visible=True, which="minor", color=PAPER.light, linewidth=1.5)
    axis.set_axisbelow(False)
    axis.tick_params(length=0, which="both")
    axis.spines[:].set_visible(False)
    axis.set_title(one.title)
    axis.set_xlabel("network, RTT to the cloud")
    if one.loads:
        axis.set_ylabel("requests/s of one place")
    for places, rows in _border(index, one, metric):
        axis.plot(places, rows, color=PAPER.light, linewidth=4, zorder=5, solid_capstyle="butt")
        axis.plot(places, rows, color=INK.light, linewidth=1.6, zorder=6, solid_capstyle="butt")


def _ground(found: Contest, pair: tuple[str, str]) -> str:
    if not found.winner:
        return SHADE.light
    tints = TINTS["edge" if found.winner == pair[0] else "cloud"]
    if math.isnan(found.factor):
        return tints[-1].light
    return tints[sum(found.factor >= step for step in STEPS)].light


def _under(colour: str) -> dict[str, object]:
    """A ground for words, so that hatching and lines do not run through them."""
    return {"facecolor": colour, "edgecolor": "none", "boxstyle": "round,pad=0.1"}


def _words(found: Contest) -> str:
    if found.reason is Reason.OVERLOAD:
        return "neither"
    if found.reason is Reason.ANSWERS:
        return f"{found.winner}\nanswers"
    factor = "" if math.isnan(found.factor) else f"{found.factor:.2f}×" if found.factor < 10 else f"{found.factor:.0f}×"
    return (
        f"{found.winner}\n{factor}" if found.winner else f"({found.faster})\n{factor}" if found.faster else "no\nfigure"
    )


def _predicted_changes(index: Index, one: _Map, metric: Metric) -> list[list[float]]:
    """Of each row of loads, the places between columns at which predictions are level."""
    return [_changes_of_row(index, row, metric) for row in one.cells] if one.loads else []


def _changes_of_row(index: Index, row: Sequence[Contest | None], metric: Metric) -> list[float]:
    points = []
    for column, found in enumerate(row):
        first = index.prediction(found.first) if found is not None else None
        second = index.prediction(found.second) if found is not None else None
        if first is not None and second is not None:
            a, b = (one.mean_ms if metric is Metric.MEAN else one.p99_ms for one in (first, second))
            if math.isfinite(a) or math.isfinite(b):
                points.append((float(column), a - b))
    places = []
    for (left, at_left), (right, at_right) in pairwise(points):
        if (at_left < 0) != (at_right < 0):
            finite = math.isfinite(at_left) and math.isfinite(at_right)
            places.append(left + (right - left) * (at_left / (at_left - at_right) if finite else 0.5))
    return places


def _border(index: Index, one: _Map, metric: Metric) -> list[tuple[list[float], list[float]]]:
    """Pieces of the predicted border: slanted where a place between two columns means something, else an upright piece a row."""
    changes = _predicted_changes(index, one, metric)
    profiles = [found.profile for row in one.cells for found in row if found is not None]
    if index.only_rtt(profiles) and all(len(places) < 2 for places in changes):
        points = [(places[0], float(row)) for row, places in enumerate(changes) if places]
        return [([place for place, _ in points], [row for _, row in points])] if len(points) > 1 else []
    return [([place, place], [row - 0.5, row + 0.5]) for row, places in enumerate(changes) for place in places]


def _key(figure: "Figure", pair: tuple[str, str]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - loaded only when something is drawn

    handles = []
    for target, tints in zip(reversed(pair), (TINTS["cloud"], TINTS["edge"]), strict=True):
        for tint, words in zip(tints, ("< 1.25×", "1.25–2×", "≥ 2×"), strict=True):
            handles.append(Patch(facecolor=tint.light, label=f"{target} {words}" if tint is tints[0] else words))
    handles.append(Patch(facecolor=SHADE.light, edgecolor=AXIS.light, hatch="////", linewidth=0, label="not shown"))
    figure.legend(
        handles=handles,
        loc="upper left",
        ncols=7,
        bbox_to_anchor=(0, 1),
        fontsize=6.8,
        handlelength=1.3,
        columnspacing=0.9,
        handletextpad=0.4,
    )
