"""Cost and energy of a million predictions."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from edgewise.study.report.costs import Cost, costs
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index, Setting
from edgewise.study.report.palette import PAPER, series
from edgewise.study.report.plots_panels import slug
from edgewise.study.report.plots_style import key, logarithmic, panels
from edgewise.study.report.wording import listing, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SETTINGS: Final = 4


def cost_drawings(index: Index) -> Iterator[Drawing]:
    """Against load where several were measured, else bars."""
    settings = [setting for setting in index.settings if index.calm(setting)]
    found = {setting: [one for one in costs(index, setting) if _known(one)] for setting in settings}
    found = {setting: some for setting, some in found.items() if some}
    if not found:
        return
    if len(found) > MOST_SETTINGS or all(len({one.cell.cell.load for one in some}) < 2 for some in found.values()):
        groups = [("", found)]
    else:
        groups = [
            ("" if len(found) == 1 else f"-{slug(index.label(setting))}", {setting: some})
            for setting, some in found.items()
        ]
    for name, chosen in groups:
        title = "" if len(found) == len(chosen) else f": {index.label(next(iter(chosen)))}"
        over_load = len(chosen) == 1 and len({one.cell.cell.load for one in next(iter(chosen.values()))}) > 1
        yield Drawing(
            f"cost{name}",
            f"Cost and energy of a million predictions{title}",
            "Computed, not measured: from the scenario's prices, one node a site, that runs whether it is asked or not. "
            + (
                "Middle of the networks; the band reaches over all of them."
                if over_load
                else "Plain: the nodes; hatched: what is transferred, and the waiting device. Middle of the networks at the highest load."
            ),
            f"Cost and energy of a million predictions by target{title}: {_in_words(index, chosen)}.",
            _drawer(index, chosen, over_load=over_load),
            Table(
                (
                    "model",
                    "network",
                    "target",
                    "load, 1/s",
                    "node",
                    "transfer",
                    "cost",
                    "cost of a busy node",
                    "node, kWh",
                    "device, kWh",
                    "energy, kWh",
                ),
                [_row(index, setting, one) for setting, some in chosen.items() for one in some],
                3,
            ),
        )


def _known(one: Cost) -> bool:
    return not (math.isnan(one.total) and math.isnan(one.total_kwh))


def _row(index: Index, setting: Setting, one: Cost) -> tuple[str, ...]:
    cell = one.cell.cell
    figures = (one.node, one.transfer, one.total, one.busy_node, one.node_kwh, one.device_kwh, one.total_kwh)
    return (
        index.label(setting),
        cell.profile or "–",
        cell.target,
        f"{cell.load:g}",
        *(number(value) for value in figures),
    )


def _in_words(index: Index, chosen: dict[Setting, list[Cost]]) -> str:
    said = []
    for target in index.targets:
        totals = [
            one.total
            for some in chosen.values()
            for one in some
            if one.cell.cell.target == target and not math.isnan(one.total)
        ]
        if totals:
            said.append(f"{target} {number(min(totals))} to {number(max(totals))}")
    return listing(said)


def _drawer(index: Index, chosen: dict[Setting, list[Cost]], *, over_load: bool) -> Callable[[], "Figure"]:
    def made() -> "Figure":
        if over_load:
            figure, axes = panels(1, 2, width_in=3.3, height_in=2.2)
            found = next(iter(chosen.values()))
            for axis, label, value in _sides(axes[0]):
                _draw_over_load(axis, index, found, value)
                axis.set_title(label, pad=6)
                axis.set_xlabel("requests/s of one place")
                axis.set_ylabel(label.split(", ", maxsplit=1)[1] if ", " in label else "in the currency of the prices")
            key(figure, index.targets)
            return figure
        figure, axes = panels(
            1,
            2,
            width_in=3.6,
            height_in=0.6 + 0.24 * sum(_middles(index, some) != [] for some in chosen.values()) * len(index.targets),
            sharey=True,
        )
        for axis, label, _ in _sides(axes[0]):
            _draw_bars(axis, index, chosen, energy="kWh" in label)
            axis.set_xlabel(label)
        key(figure, index.targets, areas=True)
        return figure

    return made


def _sides(axes: Sequence["Axes"]) -> Iterator[tuple["Axes", str, Callable[[Cost], float]]]:
    yield axes[0], "cost per million", lambda one: one.total
    yield axes[1], "energy per million, kWh", lambda one: one.total_kwh


def _draw_over_load(axis: "Axes", index: Index, found: Sequence[Cost], value: Callable[[Cost], float]) -> None:
    looks = series(index.targets)
    loads = sorted({one.cell.cell.load for one in found})
    for target in index.targets:
        by_load = {
            load: sorted(
                value(one)
                for one in found
                if one.cell.cell.target == target and one.cell.cell.load == load and not math.isnan(value(one))
            )
            for load in loads
        }
        places = [load for load in loads if by_load[load]]
        if not places:
            continue
        look, some = looks[target], [by_load[load] for load in places]
        axis.fill_between(
            places,
            [values[0] for values in some],
            [values[-1] for values in some],
            color=look.colour,
            alpha=0.18,
            linewidth=0,
        )
        axis.plot(
            places,
            [values[len(values) // 2] for values in some],
            color=look.colour,
            linestyle=look.dashes,
            marker=look.marker,
        )
    if axis.lines:
        logarithmic(axis, "y")


def _middles(index: Index, found: Sequence[Cost]) -> list[Cost]:
    """One a target: at the highest load, the middle of the networks."""
    made = []
    for target in index.targets:
        some = [one for one in found if one.cell.cell.target == target]
        load = max((one.cell.cell.load for one in some), default=0.0)
        ordered = sorted((one for one in some if one.cell.cell.load == load), key=lambda one: one.total)
        if ordered:
            made.append(ordered[len(ordered) // 2])
    return made


def _draw_bars(axis: "Axes", index: Index, chosen: dict[Setting, list[Cost]], *, energy: bool) -> None:
    """Two parts a bar: node, then transfer or device, which is hatched."""
    looks = series(index.targets)
    names = []
    row = 0
    for setting, some in reversed(chosen.items()):
        for one in reversed(_middles(index, some)):
            target = one.cell.cell.target
            first, second = (one.node_kwh, one.device_kwh) if energy else (one.node, one.transfer)
            first, second = (0.0 if math.isnan(value) else value for value in (first, second))
            axis.barh(row, first, 0.7, color=looks[target].colour, edgecolor=PAPER.light, linewidth=0)
            axis.barh(
                row, second, 0.7, first, color=looks[target].colour, hatch="////", edgecolor=PAPER.light, linewidth=0
            )
            axis.text(first + second, row, f" {number(first + second)}", va="center", fontsize=7)
            names.append(f"{index.label(setting)}, {target}" if len(chosen) > 1 else target)
            row += 1
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.margins(x=0.18)
    axis.grid(visible=False, axis="y")
