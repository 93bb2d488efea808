"""Sentences on where to run: who wins over RTT, over load, and on each network. Pure."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from edgewise.study.cells import CLOUD, EDGE
from edgewise.study.checking import Inversion
from edgewise.study.report.contests import Contest, Crossover, Metric, contests, crossovers
from edgewise.study.report.findings import Conclusion, Kind, Strength
from edgewise.study.report.index import Index, Setting
from edgewise.study.report.wording import listing, milliseconds, nominal, number, percent, rate, rates
from edgewise.study.results import Estimate

Points = list[tuple[float, Contest]]
"""Contests with their places on an axis, rising."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A sentence before its subject is put in front, so that settings of which the same holds can share it."""

    kind: Kind
    strength: Strength
    figure: str
    points: tuple[str, ...]
    headline: bool


def where_to_run(index: Index) -> Iterator[Conclusion]:
    """What the contests of the targets come to, by mean latency first; settings of which the same holds together."""
    subjects: dict[_Said, list[str]] = {}
    for pair in index.rivals():
        for setting in index.settings:
            if index.calm(setting):
                for metric in (Metric.MEAN, Metric.P99):
                    for said in _of_pair(index, setting, pair, metric):
                        subjects.setdefault(said, []).append(index.label(setting))
    for said, labels in subjects.items():
        lead = f"{listing(labels)}, {said.figure}"
        yield Conclusion(said.kind, said.strength, lead, said.headline, said.points)


def _of_pair(index: Index, setting: Setting, pair: tuple[str, str], metric: Metric) -> Iterator[_Said]:
    found = list(contests(index, setting, pair, metric))
    if not found:
        return
    figure = "mean latency" if metric is Metric.MEAN else f"{metric} latency"
    strength, first = _strength(found), metric is Metric.MEAN
    order = index.profiles_of(setting)
    ordered = sorted(found, key=lambda one: (order.index(one.profile), one.load))
    by_load = [
        (name, [(one.load, one) for one in some]) for name, some in groupby(ordered, key=lambda one: one.profile)
    ]
    by_rtt = [(load, along_rtt(index, list(some))) for load, some in groupby(found, key=lambda one: one.load)]
    places = {rtt_ms for _, points in by_rtt for rtt_ms, _ in points}
    loads_tell_more = 2 < len(by_rtt) > len(places)
    over_rtt, over_load = len(places) > 1, len(by_rtt) > 1 and (loads_tell_more or len(places) < 2)
    if over_load:
        said = tuple(_over_load(index, pair, profile, points, metric) for profile, points in by_load)
        yield _Said(Kind.WHERE, strength, figure, said, first)
    if over_rtt:
        yield _Said(Kind.WHERE, strength, figure, _over_rtt(index, pair, by_rtt), first and not over_load)
    if not (over_load and len(by_load) < 2):
        yield _Said(Kind.NETWORK, strength, figure, _by_network(by_load), first)


def along_rtt(index: Index, found: Sequence[Contest]) -> Points:
    """Contests at one load by the RTT of their network, without those whose RTT nobody knows."""
    placed = [(index.rtt_ms(one.profile), one) for one in found]
    return [(rtt_ms, one) for rtt_ms, one in placed if not math.isnan(rtt_ms)]


def _strength(found: Sequence[Contest]) -> Strength:
    shown = sum(bool(one.winner) for one in found)
    if not shown:
        return Strength.NOT_SHOWN
    return Strength.SHOWN if shown == len(found) else Strength.PARTLY


def _over_rtt(index: Index, pair: tuple[str, str], by_rtt: Sequence[tuple[float, Points]]) -> tuple[str, ...]:
    """What happens along the RTT, loads of which the same holds together."""
    alike: dict[str, list[float]] = {}
    for load, points in by_rtt:
        if points:
            alike.setdefault(_along_rtt(index, pair, points), []).append(load)
    return tuple(f"at {rates(loads)} {said}" for said, loads in alike.items())


def _along_rtt(index: Index, pair: tuple[str, str], points: Points) -> str:
    changes = crossovers(points)
    reach = f"{points[0][0]:,g} to {nominal(points[-1][0])}"
    if len(changes) > 1:
        why = "" if index.only_rtt(one.profile for _, one in points) else ", as the networks differ in more than RTT"
        return f"the winner changes {len(changes)} times between RTTs of {reach}{why}"
    if changes:
        change = changes[0]
        return f"{change.above} wins above {_crossing(index, change, points)} of RTT, {change.below} below"
    return _without_change(pair, points, _Axis("RTT", reach, nominal, "nearer", "further", "networks"))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The words for an axis and its two directions."""

    name: str
    reach: str
    place: Callable[[float], str]
    below: str
    above: str
    points: str


def _without_change(pair: tuple[str, str], points: Points, axis: _Axis) -> str:
    """What is shown along an axis on which at most one target ever wins."""
    shown = [place for place, (_, one) in enumerate(points) if one.winner]
    if not shown:
        return f"no difference between {listing(pair)} is shown at any {axis.name} measured ({axis.reach})"
    winner, ends = points[shown[0]][1].winner, (points[shown[0]][0], points[shown[-1]][0])
    if len(points) == 1:
        return f"{winner} wins at {axis.place(ends[0])}"
    if len(shown) == len(points):
        return f"{winner} wins at every {axis.name} measured ({axis.reach})"
    if shown == list(range(shown[0], len(points))):
        return f"{winner} wins from {axis.place(ends[0])} up, {axis.below} no difference is shown"
    if shown == list(range(len(shown))):
        return f"{winner} wins up to {axis.place(ends[1])}, {axis.above} no difference is shown"
    return f"{winner} wins on {len(shown)} of {len(points)} {axis.points}, on the others no difference is shown"


def _crossing(index: Index, change: Crossover, points: Points) -> str:
    """`about 34 ms (31 to 38 ms)` where the networks differ in RTT only, else the two networks it lies between."""
    if index.only_rtt(one.profile for _, one in points) and not math.isnan(change.at):
        return f"about {milliseconds(change.at)} ({number(change.low)} to {milliseconds(change.high)})"
    if change.last_below == change.first_above:
        return nominal(change.last_below)
    below = [one.profile for place, one in points if place == change.last_below and one.winner == change.below]
    above = [one.profile for place, one in points if place == change.first_above and one.winner == change.above]
    return (
        f"some point between {nominal(change.last_below)} ({listing(below)}) "
        f"and {nominal(change.first_above)} ({listing(above)})"
    )


def _over_load(index: Index, pair: tuple[str, str], profile: str, points: Points, metric: Metric) -> str:
    """Who wins over the loads of one network."""
    on, reach = network(index, profile), f"{points[0][0]:g} to {rate(points[-1][0])}"
    changes = crossovers(points)
    if len(changes) > 1:
        return f"{on} the winner changes {len(changes)} times between {reach}"
    if changes:
        change = changes[0]
        found = _inversion(index, profile, points, change) if metric is Metric.MEAN and pair == (EDGE, CLOUD) else None
        place = found.measured_load if found is not None else Estimate(change.at, change.low, change.high)
        if math.isnan(place.value):
            return (
                f"{on} {change.below} wins up to {change.last_below:g}, {change.above} from {rate(change.first_above)}"
            )
        bounds = (
            f"{number(place.low)} to {number(place.high)}"
            if math.isfinite(place.high)
            else f"{number(place.low)} or more"
        )
        where = f"{rate(float(f'{place.value:.3g}'))} ({bounds}){_busy(index, points, place.value, found)}"
        return f"{on} {change.below} wins up to about {where}, {change.above} above"
    return f"{on} " + _without_change(pair, points, _Axis("load", reach, rate, "below", "above", "loads"))


def _inversion(index: Index, profile: str, points: Points, change: Crossover) -> Inversion | None:
    """The same crossover as `checking` has it, so that one study tells one figure."""
    kind = points[0][1].setting.kind
    for one in index.checked.inversions:
        if (one.profile, (one.model, one.protocol, one.batching)) == (profile, kind):
            inside = change.last_below <= one.measured_load.value <= change.first_above
            return one if inside else None
    return None


def _busy(index: Index, points: Points, load: float, found: Inversion | None) -> str:
    """The utilisation of the nearer site at a load, as far as a calibration or a prediction tells it."""
    if found is not None and not math.isnan(found.measured.value):
        expected = "" if math.isnan(found.predicted.value) else f" (predicted: {percent(found.predicted.value, 0)})"
        return f", where {EDGE} is {percent(found.measured.value, 0)} busy{expected}"
    known = []
    for place, one in points:
        predicted = index.prediction(one.first)
        if predicted is not None and predicted.bottleneck == "server" and place > 0:
            known.append((abs(place - load), predicted.utilisation / place, one.first.cell.target))
    if not known:
        return ""
    _, per_load, target = min(known)
    return f", where {target} is {percent(per_load * load, 0)} busy"


def network(index: Index, profile: str) -> str:
    """`on 4g (40 ms of RTT)`."""
    rtt_ms = index.rtt_ms(profile)
    if not profile:
        return "without a network between"
    return f"on {profile}" if math.isnan(rtt_ms) else f"on {profile} ({nominal(rtt_ms)} of RTT)"


def _by_network(by_load: Sequence[tuple[str, Points]]) -> tuple[str, ...]:
    """Networks with the same winners over the loads, together."""
    every = sorted({load for _, points in by_load for load, _ in points})
    alike: dict[str, list[str]] = {}
    for profile, points in by_load:
        winners = [(load, one.winner) for load, one in points]
        runs = [(winner, [load for load, _ in some]) for winner, some in groupby(winners, key=itemgetter(1))]
        said = [f"{winner or 'no difference shown'} {_loads(loads, len(every))}" for winner, loads in runs]
        alike.setdefault(", ".join(said), []).append(profile or "no network")
    at = rate(every[0]) if len(every) == 1 else ""
    return tuple(f"{listing(names)}: {said.strip()}{f' at {at}' if at else ''}" for said, names in alike.items())


def _loads(loads: Sequence[float], of: int) -> str:
    """Of neighbouring loads, `of` being how many the setting has."""
    if of == 1:
        return ""
    if len(loads) == of:
        return "at every load"
    return f"at {rate(loads[0])}" if len(loads) == 1 else f"at {loads[0]:,g} to {rate(loads[-1])}"
