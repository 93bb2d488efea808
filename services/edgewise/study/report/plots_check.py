"""Whether the numbers can be believed: predicted against measured, and how late the engine was."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index
from edgewise.study.report.misses import Miss, mape, misses
from edgewise.study.report.palette import AXIS, SHADE, STATES, series
from edgewise.study.report.plots_style import key, logarithmic, panels
from edgewise.study.report.wording import interval, number, percent
from edgewise.study.results import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def predictions(index: Index) -> Iterator[Drawing]:
    """Every cell with a prediction: its mean, and how the miss depends on how busy the target is."""
    found = misses(index.result)
    if len(found) < 2:
        return
    yield Drawing(
        "prediction",
        "Predicted against measured",
        f"Mean latency of {len(found)} cells; the mean absolute error is {percent(mape(found), 1)} of the measured. On the line: as predicted; "
        "the grey band is ±5 %. Bars: 95 % intervals of the measurement. Right: the error by the utilisation of the busiest stage.",
        f"Scatter of predicted and measured means of {len(found)} cells, {percent(mape(found), 1)} apart on average.",
        lambda: _draw_predictions(index, found),
        Table(
            (
                "cell",
                "utilisation",
                "bottleneck",
                "predicted, ms",
                "bounds, ms",
                "measured, ms",
                "error",
                "within bounds",
            ),
            [_row(one) for one in found],
        ),
    )


def _row(one: Miss) -> tuple[str, ...]:
    predicted = one.prediction
    return (
        one.cell.cell.name,
        number(predicted.utilisation),
        predicted.bottleneck,
        number(predicted.mean_ms),
        f"{number(predicted.low_mean_ms)} to {number(predicted.high_mean_ms)}",
        interval(one.cell.mean_ms),
        percent(one.error_ratio, 1),
        "yes" if one.inside else "no",
    )


def _draw_predictions(index: Index, found: Sequence[Miss]) -> "Figure":
    figure, axes = panels(1, 2, width_in=3.5, height_in=2.9)
    left, right = axes[0]
    looks = series(index.targets)
    targets = [target for target in index.targets if any(one.cell.cell.target == target for one in found)]
    values = [value for one in found for value in (one.prediction.mean_ms, one.cell.mean_ms.value)]
    ends = [min(values) * 0.8, max(values) * 1.25]
    left.fill_between(
        ends, [end * 0.95 for end in ends], [end * 1.05 for end in ends], color=SHADE.light, linewidth=0, zorder=0
    )
    left.plot(ends, ends, color=AXIS.light, linewidth=0.8)
    for target in targets:
        some, look = [one for one in found if one.cell.cell.target == target], looks[target]
        measured = [one.cell.mean_ms for one in some]
        for one, estimate in zip(some, measured, strict=True):
            left.plot([one.prediction.mean_ms] * 2, [estimate.low, estimate.high], color=look.colour, linewidth=0.8)
        places = [one.prediction.mean_ms for one in some]
        left.plot(
            places,
            [estimate.value for estimate in measured],
            look.marker,
            color=look.colour,
            markersize=3.5,
            alpha=0.85,
        )
        right.plot(
            [one.prediction.utilisation for one in some],
            [100 * one.error_ratio for one in some],
            look.marker,
            color=look.colour,
            markersize=3.5,
            alpha=0.85,
        )
    left.set_xlim(*ends)
    left.set_ylim(*ends)
    logarithmic(left, "x")
    logarithmic(left, "y")
    left.set_xlabel("predicted mean, ms")
    left.set_ylabel("measured mean, ms")
    right.axhspan(-5, 5, color=SHADE.light, zorder=0, linewidth=0)
    right.axhline(0, color=AXIS.light, linewidth=0.8)
    right.set_xlabel("utilisation of the busiest stage")
    right.set_ylabel("predicted over measured, %")
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
