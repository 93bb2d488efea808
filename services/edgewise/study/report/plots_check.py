"""Whether the numbers can be believed: predicted against measured, and how late the engine was."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgewise.study.checking import CheckRow
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index
from edgewise.study.report.palette import AXIS, SHADE, STATES, series
from edgewise.study.report.plots_style import key, logarithmic, panels
from edgewise.study.report.wording import interval, number, percent
from edgewise.study.results import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def predictions(index: Index) -> Iterator[Drawing]:
    """Every cell with a prediction: its mean, and how the miss depends on how busy the target is."""
    checked = index.checked
    found = [row for row in checked.rows if not math.isnan(row.mean_error)]
    if len(found) < 2:
        return
    counted = sum(row.counted for row in found)
    apart = (
        f"{percent(checked.mean_absolute_error, 1)} of the measured over the {counted} cells that are counted (filled)"
        if counted
        else "that of no cell counted"
    )
    hollow = (
        " Hollow: not counted, because there is no steady state or too little was answered."
        if counted < len(found)
        else ""
    )
    yield Drawing(
        "prediction",
        "Predicted against measured means",
        f"Mean latency of {len(found)} cells; the mean absolute error is {apart}.{hollow} On the line: as predicted; "
        "the grey band is ±5 %. Bars: 95 % intervals of the measurement. Right: the error by the utilisation of the busiest stage.",
        f"Scatter of predicted and measured means of {len(found)} cells; the mean absolute error is {apart}.",
        lambda: _draw_predictions(index, found),
        Table(
            (
                "cell",
                "bottleneck",
                "utilisation",
                "predicted, ms",
                "bounds, ms",
                "measured, ms",
                "error of mean",
                "error of p50",
                "error of p99",
                "counted",
                "why",
            ),
            [_row(row) for row in checked.rows],
            2,
        ),
    )


def _row(row: CheckRow) -> tuple[str, ...]:
    predicted = row.prediction
    return (
        row.cell.name,
        predicted.bottleneck,
        number(predicted.utilisation),
        number(predicted.mean_ms),
        f"{number(predicted.low_mean_ms)} to {number(predicted.high_mean_ms)}",
        interval(row.mean_ms),
        *(percent(error, 1) for error in (row.mean_error, row.p50_error, row.p99_error)),
        "yes" if row.counted else "no",
        row.reason or "–",
    )


def inversion_table(index: Index) -> Table | None:
    """Where cloud and edge change places with load, measured and predicted; None where nothing can be said of it."""
    rows = [
        (
            f"{one.model}{f', {one.protocol}' if len({other.protocol for other in index.checked.inversions}) > 1 else ''}",
            one.profile,
            one.said or "–",
            number(one.way_over_service),
            number(one.pooled),
            interval(one.measured_load),
            interval(one.measured),
            interval(one.predicted),
            number(one.predicted_here),
            number(one.difference, 2),
        )
        for one in index.checked.inversions
    ]
    header = (
        "model",
        "network",
        "remark",
        "RTT / service time",
        "places pooled",
        "measured load, 1/s",
        "measured utilisation",
        "predicted",
        "predicted for these runs",
        "difference",
    )
    return Table(header, rows, 3) if rows else None


def _draw_predictions(index: Index, found: Sequence[CheckRow]) -> "Figure":
    figure, axes = panels(1, 2, width_in=3.5, height_in=2.9)
    left, right = axes[0]
    looks = series(index.targets)
    targets = [target for target in index.targets if any(row.cell.target == target for row in found)]
    values = [value for row in found for value in (row.prediction.mean_ms, row.mean_ms.value)]
    ends = [min(values) * 0.8, max(values) * 1.25]
    left.fill_between(
        ends, [end * 0.95 for end in ends], [end * 1.05 for end in ends], color=SHADE.light, linewidth=0, zorder=0
    )
    left.plot(ends, ends, color=AXIS.light, linewidth=0.8)
    for row in found:
        look = looks[row.cell.target]
        style: dict[str, Any] = {
            "marker": look.marker,
            "color": look.colour,
            "markersize": 3.8,
            "markerfacecolor": look.colour if row.counted else "none",
        }
        place, measured = row.prediction.mean_ms, row.mean_ms
        left.plot([place] * 2, [measured.low, measured.high], color=look.colour, linewidth=0.8)
        left.plot([place], [measured.value], linestyle="", **style)
        right.plot([row.prediction.utilisation], [100 * row.mean_error], linestyle="", clip_on=False, **style)
    left.set_xlim(*ends)
    left.set_ylim(*ends)
    logarithmic(left, "x")
    logarithmic(left, "y")
    left.set_xlabel("predicted mean, ms")
    left.set_ylabel("measured mean, ms")
    right.axhspan(-5, 5, color=SHADE.light, zorder=0, linewidth=0)
    right.axhline(0, color=AXIS.light, linewidth=0.8)
    if max(abs(row.mean_error) for row in found) > 0.4:
        # Equal steps near 0, where it matters; far away a decade is a step.
        right.set_yscale("symlog", linthresh=10)
        right.set_yticks(
            [-100, -30, -10, -5, 0, 5, 10, 30, 100], [f"{tick:g}" for tick in (-100, -30, -10, -5, 0, 5, 10, 30, 100)]
        )
        furthest = 100 * max(abs(row.mean_error) for row in found) * 1.2
        right.set_ylim(max(-110, -furthest), furthest)
    right.set_xlabel("utilisation of the busiest stage")
    right.set_ylabel("predicted over measured mean, %")
    key(figure, targets)
    return figure


def lag(index: Index) -> Iterator[Drawing]:
    """How late the engine was, of every run, against its rate."""
    runs = [run for found in index.result.cells for run in found.runs if not math.isnan(run.lag_p99_ms)]
    if not runs:
        return
    void = sum(bool(run.void) for run in runs)
    late = sorted(run.lag_p99_ms for run in runs if not run.void)
    reach = f"; of those that count the latest is {number(late[-1])} ms" if late else ""
    yield Drawing(
        "lag",
        "How late the engine was",
        f"p99 of the time from when a request was due to when it was sent, of each of {len(runs)} runs ({void} void){reach}. Latency counts from the "
        "due time, so this lag is in every figure, never left out. Right: the share of one core that the engine used.",
        f"Dots: lag and use of its core by the engine, of {len(runs)} runs, {void} of them void.",
        lambda: _draw_lag(runs),
        Table(
            ("run", "rate, 1/s", "requests", "lag p99, ms", "engine's core", "scv of the gaps", "void because"),
            [
                (
                    run.run.name,
                    f"{run.run.cell.rate:g}",
                    f"{run.requests:,}",
                    number(run.lag_p99_ms),
                    percent(run.engine_share, 0),
                    number(run.arrival_scv),
                    run.void or "–",
                )
                for run in runs
            ],
        ),
    )


def _draw_lag(runs: Sequence[RunResult]) -> "Figure":
    figure, axes = panels(1, 2, width_in=3.3, height_in=1.9, top_in=0.05)
    for axis, label, values in (
        (axes[0][0], "lag at p99, ms", [run.lag_p99_ms for run in runs]),
        (axes[0][1], "engine's share of a core, %", [100 * run.engine_share for run in runs]),
    ):
        for void, marker, colour in (
            (False, "o", series(["cloud"])["cloud"].colour),
            (True, "x", STATES["error"].light),
        ):
            places = [
                (run.run.cell.rate, value) for run, value in zip(runs, values, strict=True) if bool(run.void) is void
            ]
            if places:
                axis.plot(
                    *zip(*places, strict=True),
                    marker,
                    color=colour,
                    markersize=3 if not void else 6,
                    alpha=0.7 if not void else 1,
                )
                if void:
                    axis.annotate(
                        " void", max(places, key=lambda place: place[1]), color=colour, fontsize=7.5, va="center"
                    )
        axis.set_xlabel("requests/s sent")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    return figure
