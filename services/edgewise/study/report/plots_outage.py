"""The seconds of an outage: who answered, what was lost, and how long answers took."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.outage_steps import read_steps
from edgewise.study.report.drawings import Drawing, Table
from edgewise.study.report.index import Index, Setting, spread
from edgewise.study.report.palette import HATCHES, PAPER, SHADE, STATES, series
from edgewise.study.report.plots_panels import slug
from edgewise.study.report.plots_style import logarithmic, panels
from edgewise.study.report.wording import count, listing, number, percent
from edgewise.study.results import CellResult, Second

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_OUTAGES: Final = 6

_SITE_HATCHES: Final = ("", "...", "xx")


def outages(index: Index) -> Iterator[Drawing]:
    """The seconds of each outage: who answered, what was lost, and how long answers took."""
    for setting in _settings(index):
        for profile in index.profiles_of(setting)[:1]:
            load = index.loads(setting)[-1]
            cells = [index.cell(setting, target, profile, load) for target in index.targets]
            known = [found for found in cells if found is not None and len(found.timeline) > 1 and found.cell.outage]
            if known:
                yield _outage(index, setting, profile, load, known)


def _settings(index: Index) -> list[Setting]:
    """Settings with an outage that has a timeline, at most a few of each model."""
    found = [setting for setting in index.settings if not index.calm(setting)]
    names = spread([f"{place}" for place in range(len(found))], MOST_OUTAGES)
    return [found[int(name)] for name in names]


def _outage(index: Index, setting: Setting, profile: str, load: float, known: list[CellResult]) -> Drawing:
    steps = index.result.outages.get(setting.outage, "")
    many = len([one for one in index.settings if not index.calm(one)]) > 1
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
        "outage" + (f"-{slug(index.label(setting))}" if many else ""),
        f"Second by second: {index.label(setting)}",
        f"Requests by the second in which they were due, over all repeats ({profile or 'no network'}, {load:g} requests/s"
        + (f"; steps: {steps}" if steps else "")
        + "). Grey ground: the link was faulty. Below: p99 of what was answered.",
        f"Stacked bars by second for {listing(found.cell.target for found in known)}, "
        f"which answered {listing(percent(found.availability.value) for found in known)} of the requests.",
        lambda: _draw_outage(index, known, faulty(steps)),
        Table(("target", "second", *STATES, "answered by", "p50, ms", "p99, ms"), rows, 2),
    )


def faulty(text: str) -> list[tuple[float, float]]:
    """From when to when the link is at fault, by the words of a schedule; to infinity where it never heals.

    Returns: seconds; nothing where the words are not understood.
    """
    try:
        steps = read_steps(text)
    except InvalidArgumentError:
        return []
    spans: list[tuple[float, float]] = []
    faults = [step for step in steps if "fault" in step.said]
    for place, step in enumerate(faults):
        until_s = faults[place + 1].at_s if place + 1 < len(faults) else math.inf
        until_s = min(until_s, step.at_s + step.said.get("for_s", math.inf))
        if step.said["fault"] is None:
            continue
        if spans and spans[-1][1] == step.at_s:
            spans[-1] = (spans[-1][0], until_s)
        else:
            spans.append((step.at_s, until_s))
    return spans


def _draw_outage(index: Index, known: list[CellResult], spans: list[tuple[float, float]]) -> "Figure":
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - loaded only when something is drawn

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
            label=found.cell.target,
        )
    last.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7.5, handlelength=1.8, labelcolor="linecolor")
    logarithmic(last, "y")
    last.set_ylabel("p99, ms")
    last.set_xlabel("seconds of the run")
    last.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
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
        yield [float(second.sites.get(site, 0)) for second in timeline], colour_of(site), _SITE_HATCHES[place % 3]
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
    looks_of_sites = [
        (f"answered by {site or 'a site without a name'}", looks[site].colour, _SITE_HATCHES[place % 3])
        for place, site in enumerate(sites)
    ]
    states = [
        state
        for state in STATES
        if state != "ok" and any(second.counts.get(state) for found in known for second in found.timeline)
    ]
    looks_of_states = [(state, STATES[state].light, HATCHES[state]) for state in states]
    handles = [
        Patch(facecolor=colour, hatch=hatch or None, edgecolor=PAPER.light, linewidth=0, label=words)
        for words, colour, hatch in (*looks_of_sites, *looks_of_states)
    ]
    figure.legend(
        handles=handles, loc="upper left", ncols=5, bbox_to_anchor=(0, 1), handlelength=1.4, columnspacing=1.2
    )
