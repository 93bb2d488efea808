"""What became of the requests: accuracy and the ledger."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from edgewise.study.report import variants
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index, measured
from edgewise.study.report.palette import HATCHES, PAPER, STATES, series
from edgewise.study.report.plots_style import key, panels
from edgewise.study.report.wording import count, listing, number, percent, share
from edgewise.study.results import CellResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS: Final = 24


def accuracy(index: Index) -> Iterator[Drawing]:
    """Share of right answers by model and target."""
    found = {model: variants.accuracies(index, model) for model in variants.models(index)}
    found = {model: some for model, some in found.items() if some}
    if not found:
        return
    by_input = all(one.by_input for some in found.values() for one in some)
    unit = "labelled inputs" if by_input else "answers to labelled inputs"
    yield Drawing(
        "accuracy",
        "How often the answer is right",
        f"Share of {unit} with the right answer, with Wilson's 95 % interval"
        + ("." if by_input else "; answers repeat inputs, so the intervals are too narrow."),
        f"Dots with intervals: accuracy of {listing(index.targets)} for {listing(found)}.",
        lambda: _draw_accuracy(found),
        Table(
            ("model", "target", "right", "of", "accuracy"),
            [
                (model, one.target, count(one.right), count(one.inputs), share(one.estimate))
                for model, some in found.items()
                for one in some
            ],
            2,
        ),
    )


def _draw_accuracy(found: dict[str, list[variants.Accuracy]]) -> "Figure":
    targets = list(dict.fromkeys(one.target for some in found.values() for one in some))
    looks = series(targets)
    figure, axes = panels(1, 1, width_in=5.6, height_in=0.5 + 0.34 * len(found) + 0.12 * len(targets))
    axis = axes[0][0]
    for row, some in enumerate(reversed(found.values())):
        for place, one in enumerate(some):
            at = row + 0.22 * ((len(some) - 1) / 2 - place)
            look, estimate = looks[one.target], one.estimate
            axis.plot([100 * estimate.low, 100 * estimate.high], [at, at], color=look.colour, linewidth=1.4)
            axis.plot([100 * estimate.value], [at], color=look.colour, marker=look.marker, markersize=5)
    axis.set_yticks(range(len(found)), list(reversed(found)))
    axis.set_ylim(-0.6, len(found) - 0.4)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("right answers, %")
    key(figure, targets)
    return figure


def agreement_table(index: Index) -> Table | None:
    """Input by input; None where it is not known what was said of which input."""
    rows = []
    for model in variants.models(index):
        for near, far in index.rivals():
            found = variants.agreement(index, model, near, far)
            if found is not None:
                rows.append(
                    (
                        model,
                        f"{near} and {far}",
                        count(found.inputs),
                        count(found.same),
                        percent(found.same / found.inputs),
                        count(found.only_first),
                        count(found.only_second),
                        number(found.p_value, 2) if found.labelled else "–",
                    )
                )
    header = (
        "model",
        "targets",
        "inputs",
        "same answer",
        "agreement",
        "only the first is right",
        "only the second",
        "McNemar's p",
    )
    return Table(header, rows, 2) if rows else None


def ledger_table(index: Index) -> Table:
    """Every cell: where its requests went, and that none is left over."""
    rows = [
        (
            found.cell.name,
            count(found.requests),
            *(count(found.counts.get(state, 0)) for state in STATES),
            count(found.requests - sum(found.counts.values())),
            share(found.availability),
        )
        for found in index.result.cells
    ]
    return Table(("cell", "requests", *STATES, "residual", "availability"), rows)


def ledger(index: Index) -> Iterator[Drawing]:
    """Bars of what became of the requests, of every cell of a study with outages, else of those with requests that were not answered."""
    cells = [found for found in index.result.cells if measured(found)]
    with_outage = cells if any(found.cell.outage for found in cells) else []
    short = sorted(
        (found for found in cells if found.counts.get("ok", 0) < found.requests), key=lambda one: one.availability.value
    )
    chosen = (with_outage or short)[:MOST_BARS]
    if not chosen:
        return
    every = with_outage or short
    kept = (
        f" The {len(chosen)} of {len(every)} with the fewest answers are drawn."
        if len(every) > len(chosen) and not with_outage
        else ""
    )
    yield Drawing(
        "ledger",
        "What became of the requests",
        "Every request of the schedule is in one state; the number is the share answered." + kept,
        f"Bars of the states of the requests of {len(chosen)} cells: {listing(_said(found) for found in chosen[:6])}"
        + (" and more." if len(chosen) > 6 else "."),
        lambda: _draw_ledger(chosen),
        Table(
            ("cell", "requests", *STATES, "availability"),
            [
                (
                    found.cell.name,
                    count(found.requests),
                    *(count(found.counts.get(state, 0)) for state in STATES),
                    share(found.availability),
                )
                for found in chosen
            ],
        ),
    )


def _said(found: CellResult) -> str:
    return f"{found.cell.name} {percent(found.availability.value)}"


def _draw_ledger(chosen: Sequence[CellResult]) -> "Figure":
    from matplotlib.patches import Patch  # noqa: PLC0415 - loaded only when something is drawn

    figure, axes = panels(1, 1, width_in=6.6, height_in=0.45 + 0.26 * len(chosen))
    axis = axes[0][0]
    rows = list(reversed(chosen))
    used = [state for state in STATES if any(found.counts.get(state) for found in rows)]
    left = [0.0] * len(rows)
    for state in used:
        widths = [100 * found.counts.get(state, 0) / found.requests for found in rows]
        axis.barh(
            range(len(rows)),
            widths,
            0.72,
            left,
            color=STATES[state].light,
            hatch=HATCHES[state] or None,
            edgecolor=PAPER.light,
            linewidth=0,
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    several = {
        field: len({getattr(found.cell, field) for found in rows}) > 1
        for field in ("outage", "model", "protocol", "batching", "profile", "load")
    }
    axis.set_yticks(range(len(rows)), [_bar_name(found, several) for found in rows])
    for row, found in enumerate(rows):
        axis.text(101, row, percent(found.availability.value), va="center", fontsize=7.5)
    axis.set_xlim(0, 112)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xticks([0, 25, 50, 75, 100])
    axis.set_xlabel("requests, %")
    axis.grid(visible=False, axis="y")
    handles = [
        Patch(
            facecolor=STATES[state].light, hatch=HATCHES[state] or None, edgecolor=PAPER.light, linewidth=0, label=state
        )
        for state in used
    ]
    figure.legend(
        handles=handles, loc="upper left", ncols=6, bbox_to_anchor=(0, 1), handlelength=1.4, columnspacing=1.2
    )
    return figure


def _bar_name(found: CellResult, several: dict[str, bool]) -> str:
    cell = found.cell
    words = [cell.target]
    words += [
        getattr(cell, field)
        for field in ("outage", "model", "protocol", "batching", "profile")
        if several[field] and getattr(cell, field)
    ]
    return ", ".join(words) + (f", {cell.load:g}/s" if several["load"] else "")
