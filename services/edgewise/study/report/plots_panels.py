"""Which settings, networks and loads share a figure, so that it can be read; and its axes."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgewise.study.report.index import Index, Setting
from edgewise.study.report.wording import listing, nominal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 12
MOST_COLUMNS: Final = 4
MOST_ROWS: Final = 3
MOST_SETTINGS: Final = 16


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes: a setting at one network and load; `profile` or `load` is None where that is the axis."""

    setting: Setting
    profile: str | None
    load: float | None


Grid = list[list[Panel | None]]
"""Panels by row and column; None where there is none."""


def slug(text: str) -> str:
    """For names of files."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "x"


def figures(
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


def left_out(index: Index, settings: Sequence[Setting], grid: Grid) -> str:
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


def panel_title(index: Index, panel: Panel, grid: Grid) -> str:
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


def fill(
    index: Index,
    grid: Grid,
    axes: Sequence[Sequence["Axes"]],
    draw: Callable[["Axes", Index, Panel], None],
    *,
    x_label: str,
    y_label: str,
    titled: bool = True,
) -> None:
    """Draw each panel on its axes, with labels on the outer ones.

    Args:
        x_label: "" where a further row follows below.
    """
    for row, (panels_of_row, axes_of_row) in enumerate(zip(grid, axes, strict=True)):
        for column, (panel, axis) in enumerate(zip(panels_of_row, axes_of_row, strict=True)):
            if panel is None:
                axis.set_axis_off()
                continue
            draw(axis, index, panel)
            if titled:
                axis.set_title(panel_title(index, panel, grid))
            if column == 0:
                axis.set_ylabel(y_label)
            last = row == len(grid) - 1 or grid[row + 1][column] is None
            if last and x_label:
                axis.set_xlabel(x_label)
            axis.tick_params(labelbottom=last and bool(x_label))
