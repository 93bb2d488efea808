"""Latency: its distribution, and its quantiles against RTT and against load."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgewise.study.report.contests import Metric
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index, Setting, measured, spread, spread_loads
from edgewise.study.report.palette import series
from edgewise.study.report.plots_style import key, logarithmic, panels
from edgewise.study.report.wording import interval, listing, nominal, number, percent
from edgewise.study.results import CellResult, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTILES: Final = {Metric.P50: 0.5, Metric.P95: 0.95, Metric.P99: 0.99}
MOST_PANELS: Final = 12
MOST_COLUMNS: Final = 4
MOST_ROWS: Final = 3
MOST_SETTINGS: Final = 16

_TOLD: Final = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Quantiles in the table beneath a distribution."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes: a setting at one network and load; `profile` or `load` is None where that is the axis."""

    setting: Setting
    profile: str | None
    load: float | None


def slug(text: str) -> str:
    """For names of files."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "x"


def latency_drawings(index: Index) -> Iterator[Drawing]:
    """All of them."""
    yield from distributions(index)
    yield from against_rtt(index)
    yield from against_load(index)


def distributions(index: Index) -> Iterator[Drawing]:
    """The share of requests answered within a time, by target."""
    settings = [setting for setting in index.settings if any(found.cdf_ms for found in _cells(index, setting))]
    for name, title, chosen, grid in _figures(index, settings, _distribution_grid):
        rows = [row for setting in chosen for row in _distribution_rows(index, setting)]
        yield Drawing(
            f"cdf{name}",
            f"How long answers take{title}",
            "Share of all requests of the schedule that were answered within a time, counted from when each was due. A curve that "
            "ends below 1 belongs to a target that left requests unanswered." + _left_out(index, chosen, grid),
            f"Curves of the share of requests answered against latency for {listing(index.targets)}{title}, in {len(grid) * len(grid[0])} panels.",
            _drawer(index, grid, _draw_distribution, "latency, ms", "share of requests answered"),
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
    yield from _against(index, settings, "rtt", "RTT to the cloud", _rtt_grid, _draw_rtt)


def against_load(index: Index) -> Iterator[Drawing]:
    """Quantiles over loads, for settings that were measured at more than one."""
    settings = [one for one in index.settings if len(index.loads(one)) > 1]
    yield from _against(index, settings, "load", "load", _load_grid, _draw_load)


Grid = list[list[Panel | None]]
Draw = Callable[["Axes", Index, Panel, Metric], None]


def _against(
    index: Index, settings: list[Setting], axis: str, words: str, grid_of: Callable[[Index, Setting], Grid], draw: Draw
) -> Iterator[Drawing]:
    for name, title, chosen, grid in _figures(index, settings, grid_of):
        one_row = len(grid) == 1 and len(grid[0]) <= MOST_COLUMNS
        predicted = any(index.prediction(found) is not None for one in chosen for found in _cells(index, one))
        caption = (
            "Lines: measured, with 95 % confidence bands. "
            + ("Thin lines without marks: predicted before the sweep. " if predicted else "")
            + (
                "The edge does not cross the network, so it is the same on all of them."
                if axis == "rtt" and "edge" in index.targets
                else ""
            )
            + _left_out(index, chosen, grid)
        )
        rows = [row for setting in chosen for row in quantile_rows(index, setting)]
        table = Table(
            (
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
            ),
            rows,
            3,
        )
        label = "" if axis == "load" else _rtt_label(index, chosen)
        for metrics in [list(QUANTILES)] if one_row else [[metric] for metric in (Metric.P50, Metric.P99)]:
            quantiles = listing(metrics)
            yield Drawing(
                f"{axis}{name}" + ("" if one_row else f"-{metrics[0]}"),
                f"{quantiles} against {words}{title}",
                caption,
                f"{quantiles} latency of {listing(index.targets)} against {words}{title}; the table beneath has the figures.",
                _drawer_of_metrics(index, grid, draw, metrics, label or "requests/s of one place"),
                table,
            )


def _figures(
    index: Index, settings: list[Setting], grid_of: Callable[[Index, Setting], Grid]
) -> Iterator[tuple[str, str, list[Setting], Grid]]:
    """Which settings share a figure: all while they are few panels, one panel each while they are many, else none.

    Yields: the ends of its name and of its title, the settings, the panels by row and column.
    """
    if not settings:
        return
    grids = {setting: grid_of(index, setting) for setting in settings}
    count = sum(len(grid) * len(grid[0]) for grid in grids.values())
    if len(settings) == 1:
        yield "", "", settings, grids[settings[0]]
    elif len(settings) > MOST_ROWS:
        middles = [grid[len(grid) // 2][len(grid[0]) // 2] for grid in grids.values()]
        yield "", "", settings, wrapped([panel for panel in middles if panel is not None][:MOST_SETTINGS])
    elif count <= MOST_COLUMNS:
        yield "", "", settings, [[panel for grid in grids.values() for row in grid for panel in row]]
    elif all(len(grid) == 1 and len(grid[0]) == len(grids[settings[0]][0]) for grid in grids.values()):
        yield "", "", settings, [row for grid in grids.values() for row in grid]
    else:
        for setting, grid in grids.items():
            yield f"-{slug(index.label(setting))}", f": {index.label(setting)}", [setting], grid


def wrapped(items: Sequence[Panel]) -> Grid:
    """In rows of about as many as there are rows."""
    columns = min(MOST_COLUMNS, math.ceil(math.sqrt(len(items)))) if len(items) > MOST_COLUMNS else len(items)
    padded: list[Panel | None] = [*items, *([None] * (-len(items) % columns))]
    return [padded[start : start + columns] for start in range(0, len(padded), columns)]


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


def _left_out(index: Index, settings: Sequence[Setting], grid: Grid) -> str:
    """What of the sweep is in the table only."""
    drawn = [panel for row in grid for panel in row if panel is not None]
    said = []
    if {panel.profile for panel in drawn} != {None}:
        profiles = {profile for one in settings for profile in index.profiles_of(one)}
        missing = len(profiles - {panel.profile for panel in drawn})
        said += [f"{missing} of {len(profiles)} networks"] if missing else []
    if {panel.load for panel in drawn} != {None}:
        loads = {load for one in settings for load in index.loads(one)}
        missing = len(loads - {panel.load for panel in drawn})
        said += [f"{missing} of {len(loads)} loads"] if missing else []
    return f" {listing(said)} are in the table only.".replace(" 1 of", " One of") if said else ""


def _panel_title(index: Index, panel: Panel, grid: Grid) -> str:
    """What tells the panel from the others of its figure, and what it holds fixed."""
    drawn = [other for row in grid for other in row if other is not None]
    words = []
    if len({other.setting for other in drawn}) > 1:
        words.append(index.label(panel.setting))
    if panel.profile:
        rtt_ms = index.rtt_ms(panel.profile)
        said = math.isnan(rtt_ms) or rtt_ms == 0 or f"{rtt_ms:g}" in panel.profile
        words.append(panel.profile if said else f"{panel.profile} ({nominal(rtt_ms)})")
    if panel.load is not None:
        words.append(f"{panel.load:g}/s")
    return ", ".join(words)


def _drawer(index: Index, grid: Grid, draw: Draw, x_label: str, y_label: str) -> Callable[[], "Figure"]:
    def made() -> "Figure":
        figure, axes = panels(len(grid), len(grid[0]), sharex=True, sharey=True)
        _fill(index, grid, axes, draw, Metric.MEAN, x_label, y_label)
        key(figure, _targets(index, grid), markers=False)
        return figure

    return made


def _drawer_of_metrics(
    index: Index, grid: Grid, draw: Draw, metrics: Sequence[Metric], x_label: str
) -> Callable[[], "Figure"]:
    """Rows of quantiles for one row of panels; else one quantile for panels in rows."""

    def made() -> "Figure":
        if len(metrics) > 1:
            figure, axes = panels(len(metrics), len(grid[0]), height_in=1.75, sharex=True, sharey="row")
            for row, metric in enumerate(metrics):
                _fill(
                    index,
                    grid,
                    axes[row : row + 1],
                    draw,
                    metric,
                    x_label if metric is metrics[-1] else "",
                    f"{metric}, ms",
                    titled=row == 0,
                )
        else:
            figure, axes = panels(len(grid), len(grid[0]), sharex=True, sharey=True)
            _fill(index, grid, axes, draw, metrics[0], x_label, f"{metrics[0]}, ms")
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


def _fill(
    index: Index,
    grid: Grid,
    axes: Sequence[Sequence["Axes"]],
    draw: Draw,
    metric: Metric,
    x_label: str,
    y_label: str,
    *,
    titled: bool = True,
) -> None:
    for row, (panels_of_row, axes_of_row) in enumerate(zip(grid, axes, strict=True)):
        for column, (panel, axis) in enumerate(zip(panels_of_row, axes_of_row, strict=True)):
            if panel is None:
                axis.set_axis_off()
                continue
            draw(axis, index, panel, metric)
            if titled:
                axis.set_title(_panel_title(index, panel, grid))
            if column == 0:
                axis.set_ylabel(y_label)
            last = row == len(grid) - 1 or grid[row + 1][column] is None
            if last and x_label:
                axis.set_xlabel(x_label)
            axis.tick_params(labelbottom=last and bool(x_label))


def _draw_distribution(axis: "Axes", index: Index, panel: Panel, _metric: Metric) -> None:
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


def _rtt_label(index: Index, settings: Sequence[Setting]) -> str:
    return "RTT, ms" if _numeric(index, settings) else "network, RTT in ms"


def _draw_rtt(axis: "Axes", index: Index, panel: Panel, metric: Metric) -> None:
    placed = _placed(index, panel.setting)
    numeric = _numeric(index, index.settings)
    places = [rtt_ms for _, rtt_ms in placed] if numeric else [float(place) for place in range(len(placed))]
    for target in _targets_at(index, panel.setting):
        cells = [index.cell(panel.setting, target, profile, panel.load or 0.0) for profile, _ in placed]
        crosses = any(found is not None and found.cell.profile for found in cells)
        _line(axis, index, target, places, cells, metric, markers=crosses, width=1.5 if numeric or not crosses else 0.9)
    if not numeric:
        axis.set_xticks(places, [f"{profile} {rtt_ms:g}" for profile, rtt_ms in placed], rotation=90, fontsize=7)
        axis.set_xlim(-0.4, len(placed) - 0.6)
    else:
        if min(places) > 0 and max(places) / min(places) >= 8:
            logarithmic(axis, "x")
        axis.set_xticks(places, [f"{place:g}" for place in places])
    logarithmic(axis, "y")


def _draw_load(axis: "Axes", index: Index, panel: Panel, metric: Metric) -> None:
    loads = index.loads(panel.setting)
    for target in _targets_at(index, panel.setting):
        cells = [index.cell(panel.setting, target, panel.profile or "", load) for load in loads]
        _line(axis, index, target, loads, cells, metric, markers=True)
    logarithmic(axis, "y")


def _line(
    axis: "Axes",
    index: Index,
    target: str,
    places: Sequence[float],
    cells: Sequence[CellResult | None],
    metric: Metric,
    *,
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
    axis.fill_between(
        places,
        [figure.low for figure in figures],
        [figure.high for figure in figures],
        color=look.colour,
        alpha=0.2,
        linewidth=0,
    )
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


def _cells(index: Index, setting: Setting) -> Iterator[CellResult]:
    for found in index.result.cells:
        if Setting.of(found) == setting and measured(found):
            yield found


def _ratio_name(ratio: float) -> str:
    return "max" if ratio == 1 else f"p{100 * ratio:g}"


def _distribution_rows(index: Index, setting: Setting) -> Iterator[tuple[str, ...]]:
    for found in _cells(index, setting):
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
    for found in _cells(index, setting):
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
