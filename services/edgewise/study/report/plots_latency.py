"""Latency: its distribution, and its quantiles against RTT and against load."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgewise.study.report.contests import Metric
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index, Setting, spread, spread_loads
from edgewise.study.report.palette import series
from edgewise.study.report.plots_panels import (
    MOST_COLUMNS,
    MOST_PANELS,
    MOST_ROWS,
    Grid,
    Panel,
    figures,
    fill,
    left_out,
    wrapped,
)
from edgewise.study.report.plots_style import key, logarithmic, panels
from edgewise.study.report.wording import interval, listing, number, percent
from edgewise.study.results import CellResult, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTILES: Final = {Metric.P50: 0.5, Metric.P95: 0.95, Metric.P99: 0.99}
CELL_HEADER: Final = (
    "model",
    "network",
    "target",
    "RTT, ms",
    "load, 1/s",
    "mean, ms",
    "p50, ms",
    "p95, ms",
    "p99, ms",
    "answers",
)
"""Of `quantile_rows`."""
_SHOWN_WITHIN: Final = 10.0
"""Times a figure: as far as its band is drawn for sure."""
_TOLD: Final = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Quantiles in the table beneath a distribution."""


def distributions(index: Index) -> Iterator[Drawing]:
    """The share of requests answered within a time, by target."""
    settings = [setting for setting in index.settings if any(found.cdf_ms for found in index.cells_of(setting))]
    for name, title, chosen, grid in figures(index, settings, _distribution_grid):
        rows = [row for setting in chosen for row in _distribution_rows(index, setting)]
        yield Drawing(
            f"cdf{name}",
            f"How long answers take{title}",
            "Share of all requests of the schedule that were answered within a time, counted from when each was due. A curve that "
            "ends below 1 belongs to a target that left requests unanswered." + left_out(index, chosen, grid),
            f"Curves of the share of requests answered against latency for {listing(index.targets)}{title}, in {len(grid) * len(grid[0])} panels.",
            _distribution_drawer(index, grid),
            Table(
                (
                    "model",
                    "network",
                    "target",
                    "load, 1/s",
                    "answered",
                    *(f"{_ratio_name(ratio)}, ms" for ratio in _TOLD),
                ),
                rows,
                3,
            ),
        )


def against_rtt(index: Index) -> Iterator[Drawing]:
    """Quantiles over networks, for settings that were measured on more than one."""
    settings = [one for one in index.settings if len(_placed(index, one)) > 1]
    label = "RTT, ms" if _numeric(index, settings) else "network, RTT in ms"
    yield from _against(index, settings, _Axis("rtt", "RTT to the cloud", _rtt_grid, _draw_rtt, label))


def against_load(index: Index) -> Iterator[Drawing]:
    """Quantiles over loads, for settings that were measured at more than one."""
    settings = [one for one in index.settings if len(index.loads(one)) > 1]
    yield from _against(index, settings, _Axis("load", "load", _load_grid, _draw_load, "requests/s of one place"))


class _Draws(Protocol):
    """Draws one panel of a quantile."""

    def __call__(self, axis: "Axes", index: Index, panel: Panel, *, metric: Metric) -> None: ...


@dataclass(frozen=True, slots=True)
class _Axis:
    """What quantiles are drawn against.

    Attributes:
        name: of the files.
        words: for people.
        grid_of: the panels of a setting.
        draw: one panel.
        label: of the axis.
    """

    name: str
    words: str
    grid_of: Callable[[Index, Setting], Grid]
    draw: _Draws
    label: str


def _against(index: Index, settings: list[Setting], axis: _Axis) -> Iterator[Drawing]:
    for name, title, chosen, grid in figures(index, settings, axis.grid_of):
        one_row = len(grid) == 1 and len(grid[0]) <= MOST_COLUMNS
        predicted = any(index.prediction(found) is not None for one in chosen for found in index.cells_of(one))
        caption = (
            "Lines: measured, with 95 % confidence bands; a band that leaves the picture reaches further than ten times. "
            + ("Thin lines without marks: predicted from the calibration. " if predicted else "")
            + (
                "A level line without marks: a target that does not cross the network, measured once. "
                if axis.name == "rtt"
                else ""
            )
            + left_out(index, chosen, grid).lstrip()
        ).strip()
        rows = [row for setting in chosen for row in quantile_rows(index, setting)]
        table = Table(CELL_HEADER, rows, 3)
        for metrics in [list(QUANTILES)] if one_row else [[metric] for metric in (Metric.P50, Metric.P99)]:
            quantiles = listing(metrics)
            yield Drawing(
                f"{axis.name}{name}" + ("" if one_row else f"-{metrics[0]}"),
                f"{quantiles} against {axis.words}{title}",
                caption,
                f"{quantiles} latency of {listing(index.targets)} against {axis.words}{title}; the table beneath has the figures.",
                _drawer_of_metrics(index, grid, axis, metrics),
                table,
            )


def _distribution_grid(index: Index, setting: Setting) -> Grid:
    profiles, loads = index.profiles_of(setting), index.loads(setting)
    if len(profiles) == 1 or len(loads) == 1:
        names, places = spread(profiles, MOST_PANELS), spread_loads(loads, 8)
        return wrapped([Panel(setting, profile, load) for profile in names for load in places])
    return [
        [Panel(setting, profile, load) for profile in spread(profiles, MOST_COLUMNS)]
        for load in spread_loads(loads, MOST_ROWS)
    ]


def _rtt_grid(index: Index, setting: Setting) -> Grid:
    return [[Panel(setting, None, load) for load in spread_loads(index.loads(setting), MOST_COLUMNS)]]


def _load_grid(index: Index, setting: Setting) -> Grid:
    return [[Panel(setting, profile, None) for profile in spread(index.profiles_of(setting), MOST_COLUMNS)]]


def _distribution_drawer(index: Index, grid: Grid) -> Callable[[], "Figure"]:
    def made() -> "Figure":
        figure, axes = panels(len(grid), len(grid[0]), sharex=True, sharey=True)
        fill(index, grid, axes, _draw_distribution, x_label="latency, ms", y_label="share of requests answered")
        key(figure, _targets(index, grid), markers=False)
        return figure

    return made


def _drawer_of_metrics(index: Index, grid: Grid, axis: _Axis, metrics: Sequence[Metric]) -> Callable[[], "Figure"]:
    """Rows of quantiles for one row of panels; else one quantile for panels in rows."""

    def made() -> "Figure":
        several = len(metrics) > 1
        rows = len(metrics) if several else len(grid)
        figure, axes = panels(
            rows, len(grid[0]), height_in=1.75 if several else 2.05, sharex=True, sharey="row" if several else True
        )
        for row, metric in enumerate(metrics):
            fill(
                index,
                grid,
                axes[row : row + 1] if several else axes,
                partial(axis.draw, metric=metric),
                x_label=axis.label if metric is metrics[-1] else "",
                y_label=f"{metric}, ms",
                titled=row == 0,
            )
        key(figure, _targets(index, grid))
        return figure

    return made


def _targets(index: Index, grid: Grid) -> list[str]:
    drawn = {panel.setting for row in grid for panel in row if panel is not None}
    asked = {target for setting in drawn for target in _targets_at(index, setting)}
    return [target for target in index.targets if target in asked]


def _targets_at(index: Index, setting: Setting) -> list[str]:
    """With those that were measured without the outage only, as what they are compared with."""
    plain = Setting(setting.model, setting.protocol, setting.batching)
    asked = {*index.targets_of(setting), *index.targets_of(plain)}
    return [target for target in index.targets if target in asked]


def _draw_distribution(axis: "Axes", index: Index, panel: Panel) -> None:
    looks = series(index.targets)
    for target in _targets_at(index, panel.setting):
        found = index.cell(panel.setting, target, panel.profile or "", panel.load or 0.0)
        if found is None or len(found.cdf_ms) < 2:
            continue
        within = found.availability.value
        steps = len(found.cdf_ms) - 2
        shares = [*(within * step / (steps - 1) for step in range(steps)), within * 0.999, within]
        # A log axis has no place for 0.
        axis.plot(
            [max(value, 1e-3) for value in found.cdf_ms],
            shares,
            color=looks[target].colour,
            linestyle=looks[target].dashes,
        )
    axis.set_ylim(0, 1.02)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    logarithmic(axis, "x")


def _placed(index: Index, setting: Setting) -> list[tuple[str, float]]:
    """The networks of a setting with their RTT, where it is known."""
    placed = [(profile, index.rtt_ms(profile)) for profile in index.profiles_of(setting) if profile]
    return [(profile, rtt_ms) for profile, rtt_ms in placed if not math.isnan(rtt_ms)]


def _numeric(index: Index, settings: Sequence[Setting]) -> bool:
    """Whether RTT is an axis of numbers: when the networks differ in nothing else."""
    placed = [place for setting in settings for place in _placed(index, setting)]
    return index.only_rtt(profile for profile, _ in placed)


def _draw_rtt(axis: "Axes", index: Index, panel: Panel, *, metric: Metric) -> None:
    placed = _placed(index, panel.setting)
    numeric = _numeric(index, index.settings)
    places = [rtt_ms for _, rtt_ms in placed] if numeric else [float(place) for place in range(len(placed))]
    for target in _targets_at(index, panel.setting):
        cells = [index.cell(panel.setting, target, profile, panel.load or 0.0) for profile, _ in placed]
        crosses = any(found is not None and found.cell.profile for found in cells)
        width = 1.5 if numeric or not crosses else 0.9
        _line(axis, index, target, places=places, cells=cells, metric=metric, markers=crosses, width=width)
    if not numeric:
        axis.set_xticks(places, [f"{profile} {rtt_ms:g}" for profile, rtt_ms in placed], rotation=90, fontsize=7)
        axis.set_xlim(-0.4, len(placed) - 0.6)
    else:
        if min(places) > 0 and max(places) / min(places) >= 8:
            logarithmic(axis, "x")
        axis.set_xticks(places, [f"{place:g}" for place in places])
    logarithmic(axis, "y")


def _draw_load(axis: "Axes", index: Index, panel: Panel, *, metric: Metric) -> None:
    loads = index.loads(panel.setting)
    for target in _targets_at(index, panel.setting):
        cells = [index.cell(panel.setting, target, panel.profile or "", load) for load in loads]
        _line(axis, index, target, places=loads, cells=cells, metric=metric, markers=True)
    logarithmic(axis, "y")


def _line(
    axis: "Axes",
    index: Index,
    target: str,
    *,
    places: Sequence[float],
    cells: Sequence[CellResult | None],
    metric: Metric,
    markers: bool,
    width: float = 1.5,
) -> None:
    """One target's figures with their band, and what was predicted of them."""
    look = series(index.targets)[target]
    figures = [metric.of(found) if found is not None else Estimate(math.nan, math.nan, math.nan) for found in cells]
    if all(math.isnan(figure.value) for figure in figures):
        return
    predicted = [_predicted(index, found, metric) for found in cells]
    if sum(map(math.isfinite, predicted)) > 1:
        axis.plot(
            places,
            [value if math.isfinite(value) else math.nan for value in predicted],
            color=look.colour,
            linewidth=0.8,
        )
    seen = axis.dataLim.frozen()
    axis.fill_between(
        places,
        [figure.low for figure in figures],
        [figure.high for figure in figures],
        color=look.colour,
        alpha=0.2,
        linewidth=0,
    )
    # A p99 of few runs may have an interval of six powers of ten, beside which nothing else could be read: it leaves the picture.
    axis.dataLim.set(seen)
    for place, figure in zip(places, figures, strict=True):
        if math.isfinite(figure.low) and math.isfinite(figure.high):
            least, most = figure.value / _SHOWN_WITHIN, figure.value * _SHOWN_WITHIN
            axis.update_datalim([(place, max(figure.low, least)), (place, min(figure.high, most))])
    axis.plot(
        places,
        [figure.value for figure in figures],
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker if markers else "",
        linewidth=width,
    )


def _predicted(index: Index, found: CellResult | None, metric: Metric) -> float:
    predicted = index.prediction(found)
    if predicted is None:
        return math.nan
    named: dict[Any, float] = {Metric.P50: predicted.p50_ms, Metric.P95: predicted.p95_ms, Metric.P99: predicted.p99_ms}
    return named.get(metric, predicted.mean_ms)


def _ratio_name(ratio: float) -> str:
    return "max" if ratio == 1 else f"p{100 * ratio:g}"


def _distribution_rows(index: Index, setting: Setting) -> Iterator[tuple[str, ...]]:
    for found in index.cells_of(setting):
        if found.cdf_ms:
            yield (
                index.label(setting),
                found.cell.profile or "–",
                found.cell.target,
                f"{found.cell.load:g}",
                percent(found.availability.value),
                *(number(_at(found.cdf_ms, ratio)) for ratio in _TOLD),
            )


def _at(cdf_ms: Sequence[float], ratio: float) -> float:
    if ratio == 1:
        return cdf_ms[-1]
    return cdf_ms[-2] if ratio > 0.995 else cdf_ms[round(ratio * 200)]


def quantile_rows(index: Index, setting: Setting) -> Iterator[tuple[str, ...]]:
    """Rows of a table: every cell of a setting with its figures."""
    for found in index.cells_of(setting):
        cell = found.cell
        yield (
            index.label(setting),
            cell.profile or "–",
            cell.target,
            number(index.rtt_ms(cell.profile)) if cell.profile else "–",
            f"{cell.load:g}",
            *(interval(metric.of(found)) for metric in (Metric.MEAN, *QUANTILES)),
            f"{found.counts.get('ok', 0):,}",
        )
