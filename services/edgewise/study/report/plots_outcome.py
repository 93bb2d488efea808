"""What became of the requests: accuracy, the ledger, and the seconds of an outage."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from edgewise.study.report import variants
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index, Setting, measured, spread
from edgewise.study.report.palette import HATCHES, INK, PAPER, SHADE, STATES, series
from edgewise.study.report.plots_style import key, logarithmic, panels
from edgewise.study.report.wording import count, listing, number, percent, share
from edgewise.study.results import CellResult, Second

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS: Final = 24
MOST_OUTAGES: Final = 3

_STEP: Final = re.compile(r"([\d.]+)\s*(ms|s|m)?\s*:\s*([\w-]+)")
_UNIT_S: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, None: 1.0}


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
    rows = []
    for found in index.result.cells:
        rows.append(
            (
                found.cell.name,
                count(found.requests),
                *(count(found.counts.get(state, 0)) for state in STATES),
                count(found.requests - sum(found.counts.values())),
                share(found.availability),
            )
        )
    return Table(("cell", "requests", *STATES, "residual", "availability"), rows)


def ledger(index: Index) -> Iterator[Drawing]:
    """Bars of what became of the requests, of cells with an outage or with requests that were not answered."""
    cells = [found for found in index.result.cells if measured(found)]
    with_outage = [found for found in cells if found.cell.outage]
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
        lambda: _draw_ledger(index, chosen),
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


def _draw_ledger(index: Index, chosen: Sequence[CellResult]) -> "Figure":
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


def outages(index: Index) -> Iterator[Drawing]:
    """The seconds of each outage: who answered, what was lost, and how long answers took."""
    for setting in spread_settings(index):
        for profile in index.profiles_of(setting)[:1]:
            load = index.loads(setting)[-1]
            cells = [index.cell(setting, target, profile, load) for target in index.targets]
            known = [found for found in cells if found is not None and len(found.timeline) > 1 and found.cell.outage]
            if known:
                yield _outage(index, setting, profile, load, known)


def spread_settings(index: Index) -> list[Setting]:
    """Settings with an outage that has a timeline, at most a few of each model."""
    found = [setting for setting in index.settings if setting.outage]
    names = spread([f"{place}" for place in range(len(found))], MOST_OUTAGES * 2)
    return [found[int(name)] for name in names]


def _outage(index: Index, setting: Setting, profile: str, load: float, known: list[CellResult]) -> Drawing:
    steps = index.result.outages.get(setting.outage, "")
    many = len([one for one in index.settings if one.outage]) > 1
    rows = [
        (
            found.cell.target,
            f"{second.second}",
            *(count(second.counts.get(state, 0)) for state in STATES),
            ", ".join(f"{site or 'unnamed'} {count(answers)}" for site, answers in second.sites.items()) or "–",
            number(second.p50_ms),
            number(second.p99_ms),
        )
        for found in known
        for second in found.timeline
    ]
    return Drawing(
        "outage" + (f"-{re.sub(r'[^a-z0-9]+', '-', index.label(setting).lower()).strip('-')}" if many else ""),
        f"Second by second: {index.label(setting)}",
        f"Requests by the second in which they were due, over all repeats ({profile or 'no network'}, {load:g} requests/s"
        + (f"; steps: {steps}" if steps else "")
        + "). Grey ground: the link was faulty. Below: p99 of what was answered.",
        f"Stacked bars by second for {listing(found.cell.target for found in known)}, "
        f"which answered {listing(percent(found.availability.value) for found in known)} of the requests.",
        lambda: _draw_outage(index, known, faulty(steps)),
        Table(("target", "second", *STATES, "answered by", "p50, ms", "p99, ms"), rows, 2),
    )


def faulty(steps: str) -> list[tuple[float, float]]:
    """From when to when the link is at fault, by the words of a schedule; to infinity where it never heals."""
    found = [(float(at) * _UNIT_S[unit or None], word) for at, unit, word in _STEP.findall(steps)]
    spans: list[tuple[float, float]] = []
    for (at_s, word), (until_s, _) in pairwise([*sorted(found), (math.inf, "")]):
        if word not in {"heal", "profile", "none"}:
            if spans and spans[-1][1] == at_s:
                spans[-1] = (spans[-1][0], until_s)
            else:
                spans.append((at_s, until_s))
    return spans


def _draw_outage(index: Index, known: list[CellResult], spans: list[tuple[float, float]]) -> "Figure":
    figure, axes = panels(len(known) + 1, 1, width_in=6.8, height_in=1.15, sharex=True, top_in=0.3)
    end = max(second.second for found in known for second in found.timeline) + 1
    sites = list(dict.fromkeys(site for found in known for second in found.timeline for site in second.sites))
    for found, (axis,) in zip(known, axes, strict=False):
        _draw_seconds(axis, index, found.timeline, sites)
        axis.set_title(f"{found.cell.target}: {percent(found.availability.value)} answered")
        axis.set_ylabel("requests")
    last = axes[-1][0]
    looks = series(index.targets)
    for found in known:
        look = looks[found.cell.target]
        places = [second.second + 0.5 for second in found.timeline]
        last.plot(
            places,
            [second.p99_ms for second in found.timeline],
            color=look.colour,
            linestyle=look.dashes,
            marker=look.marker,
            markersize=3,
        )
        finite = [
            (place, second.p99_ms)
            for place, second in zip(places, found.timeline, strict=True)
            if not math.isnan(second.p99_ms)
        ]
        if finite:
            last.annotate(
                f" {found.cell.target}", finite[-1], color=look.colour, va="center", fontsize=7.5, annotation_clip=False
            )
    logarithmic(last, "y")
    last.set_ylabel("p99, ms")
    last.set_xlabel("seconds of the run")
    for (axis,) in axes:
        for begin_s, until_s in spans:
            axis.axvspan(begin_s, min(until_s, end), color=SHADE.light, zorder=0, linewidth=0)
        axis.set_xlim(0, end)
    _outage_key(figure, index, known, sites)
    return figure


def _draw_seconds(axis: "Axes", index: Index, timeline: Sequence[Second], sites: Sequence[str]) -> None:
    looks = series([*dict.fromkeys([*index.targets, *sites])])
    places = [second.second + 0.5 for second in timeline]
    base = [0.0] * len(places)
    for heights, colour, hatch in _stacks(timeline, sites, lambda site: looks[site].colour):
        if any(heights):
            axis.bar(places, heights, 0.92, base, color=colour, hatch=hatch or None, edgecolor=PAPER.light, linewidth=0)
            base = [low + height for low, height in zip(base, heights, strict=True)]
    axis.grid(visible=False, axis="x")


def _stacks(
    timeline: Sequence[Second], sites: Sequence[str], colour_of: Callable[[str], str]
) -> Iterator[tuple[list[float], str, str]]:
    """Answers by site, answers of which the site is not known, then what was not answered."""
    for place, site in enumerate(sites):
        yield [float(second.sites.get(site, 0)) for second in timeline], colour_of(site), ("", "...", "xx")[place % 3]
    yield (
        [float(max(0, second.counts.get("ok", 0) - sum(second.sites.values()))) for second in timeline],
        STATES["ok"].light,
        "",
    )
    for state in STATES:
        if state != "ok":
            yield [float(second.counts.get(state, 0)) for second in timeline], STATES[state].light, HATCHES[state]


def _outage_key(figure: "Figure", index: Index, known: Sequence[CellResult], sites: Sequence[str]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - loaded only when something is drawn

    looks = series([*dict.fromkeys([*index.targets, *sites])])
    handles = [
        Patch(
            facecolor=looks[site].colour,
            hatch=("", "...", "xx")[place % 3] or None,
            edgecolor=PAPER.light,
            linewidth=0,
            label=f"answered by {site or 'a site without a name'}",
        )
        for place, site in enumerate(sites)
    ]
    for state in STATES:
        if state != "ok" and any(second.counts.get(state) for found in known for second in found.timeline):
            handles.append(
                Patch(
                    facecolor=STATES[state].light,
                    hatch=HATCHES[state] or None,
                    edgecolor=PAPER.light,
                    linewidth=0,
                    label=state,
                )
            )
    legend = figure.legend(
        handles=handles, loc="upper left", ncols=5, bbox_to_anchor=(0, 1), handlelength=1.4, columnspacing=1.2
    )
    for text in legend.get_texts():
        text.set_color(INK.light)
