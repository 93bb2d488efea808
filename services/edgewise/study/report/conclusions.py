"""What to do, in sentences computed from the numbers. Pure: a study's figures in, sentences out.

A sentence says "shown" only of what the intervals bear out (see `contests`), and what is missing is said as plainly as what was found.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from edgewise.study.cells import CLOUD, GATEWAY
from edgewise.study.report.conclusions_outcome import accuracy, availability, prediction, price
from edgewise.study.report.conclusions_where import where_to_run
from edgewise.study.report.contests import SERVES_RATIO, Contest, Metric, contest
from edgewise.study.report.costs import answered_by
from edgewise.study.report.findings import Conclusion, Kind, Strength
from edgewise.study.report.index import Index, Setting, measured
from edgewise.study.report.wording import count, listing, number, plural
from edgewise.study.results import CellResult, StudyResult

NEARLY_ALL_RATIO: Final = 0.95

P99_NEEDS: Final = 1000
"""Answers below which a p99 rests on fewer than ten of them."""


def conclude(result: StudyResult) -> list[Conclusion]:
    """All findings of a study, what to do first, what limits it last."""
    return conclusions(Index(result))


def conclusions(index: Index) -> list[Conclusion]:
    """As `conclude`."""
    # Where to run, of every model, before the same by network.
    where = sorted(where_to_run(index), key=lambda one: one.kind is Kind.NETWORK)
    found = [*where, *_gateway(index), *availability(index), *accuracy(index), *price(index)]
    found += [*prediction(index), *_mlperf(index), *_cautions(index)]
    if not any(measured(cell) for cell in index.result.cells) and not index.result.mlperf:
        nothing = "Nothing was measured that counts, so there is nothing to conclude."
        found.insert(0, Conclusion(Kind.WHERE, Strength.CAUTION, nothing))
    elif not index.rivals():
        only = f"Only {listing(index.targets)} was asked, so no two places can be compared."
        found.insert(0, Conclusion(Kind.WHERE, Strength.CAUTION, only))
    return found


def _gateway(index: Index) -> Iterator[Conclusion]:
    if GATEWAY not in index.targets or len(index.targets) < 2:
        return
    found = [
        _against_best(index, setting, profile, load)
        for setting in index.settings
        if index.calm(setting)
        for load in index.loads(setting)
        for profile in index.profiles_of(setting)
    ]
    known = [one for one in found if one is not None]
    if not known:
        return
    better = [one for one in known if one.winner == GATEWAY]
    worse = [one for one in known if one.winner not in {GATEWAY, ""}]
    level = len(known) - len(better) - len(worse)
    of = plural(len(known), "cell")
    said = [f"slower in {len(worse)} of {of}{_factors(worse)}"] if worse else []
    said += [f"faster in {len(better)} of {of}{_factors(better)}"] if better else []
    said += [f"no difference shown in {level} of {of}"] if level else []
    lead = "The gateway against the better of the sites alone, mean latency"
    strength = Strength.NOT_SHOWN if level == len(known) else Strength.PARTLY if level else Strength.SHOWN
    yield Conclusion(Kind.GATEWAY, strength, lead, points=tuple(said))
    yield from _added(index)


def _added(index: Index) -> Iterator[Conclusion]:
    """What the gateway adds to what the cloud takes, where the cloud gave nearly all of its answers."""
    added, factors = [], []
    for found in index.result.cells:
        setting = Setting.of(found)
        if found.cell.target != GATEWAY or not measured(found) or not index.calm(setting):
            continue
        direct = index.cell(setting, CLOUD, found.cell.profile, found.cell.load)
        keeps_up = direct is not None and min(found.availability.value, direct.availability.value) >= SERVES_RATIO
        if (
            direct is not None
            and direct.mean_ms.value > 0
            and keeps_up
            and answered_by(found, CLOUD) >= NEARLY_ALL_RATIO
        ):
            added.append(found.mean_ms.value - direct.mean_ms.value)
            factors.append(found.mean_ms.value / direct.mean_ms.value)
    if added:
        added.sort()
        factors.sort()
        text = (
            f"Where the cloud gave nearly all of the gateway's answers ({plural(len(added), 'cell')}), the mean through the gateway is "
            f"{number(added[len(added) // 2])} ms above that of the cloud asked directly in the median ({number(added[0])} to "
            f"{number(added[-1])} ms, {number(factors[len(factors) // 2])} times in the median)."
        )
        yield Conclusion(Kind.GATEWAY, Strength.COMPUTED, text, headline=False)


def _mlperf(index: Index) -> Iterator[Conclusion]:
    verdicts = index.result.mlperf
    if not verdicts:
        return
    said = []
    for one in verdicts:
        on = f" on {one.profile}" if one.profile else ""
        value = "" if math.isnan(one.value) else f", {number(one.value)} {one.unit} ({one.metric})"
        said.append(f"{one.scenario}, {one.model} at {one.target}{on}: {'valid' if one.valid else 'not valid'}{value}")
    valid = sum(one.valid for one in verdicts)
    lead = f"By the rules of MLPerf's load generator, {valid} of {plural(len(verdicts), 'result')} {'is' if valid == 1 else 'are'} valid"
    yield Conclusion(Kind.MLPERF, Strength.MEASURED, lead, points=tuple(said))


def _factors(found: Sequence[Contest]) -> str:
    factors = sorted(one.factor for one in found if not math.isnan(one.factor))
    if not factors:
        return ""
    if len(factors) == 1:
        return f" ({number(factors[0])} times)"
    median = f", {number(factors[len(factors) // 2])} in the median" if len(factors) > 4 else ""
    return f" ({number(factors[0])} to {number(factors[-1])} times{median})"


def _against_best(index: Index, setting: Setting, profile: str, load: float) -> Contest | None:
    """The gateway against the site that does best there, by the answers first and the mean then."""
    through = index.cell(setting, GATEWAY, profile, load)
    sites = [index.cell(setting, target, profile, load) for target in index.targets if target != GATEWAY]
    known = [site for site in sites if site is not None]
    if through is None or not known:
        return None
    best = min(known, key=lambda site: (site.availability.value < SERVES_RATIO, site.mean_ms.value))
    return contest(setting, profile, load, first=through, second=best, metric=Metric.MEAN)


def _cautions(index: Index) -> Iterator[Conclusion]:
    for text in _limits(index):
        yield Conclusion(Kind.CAUTION, Strength.CAUTION, text)


def _limits(index: Index) -> Iterator[str]:
    result = index.result
    known = [found for found in result.cells if measured(found)]
    planned = index.planned()
    hollow = [found for found in result.cells if not measured(found)]
    gone = len(set(result.missing) - {found.cell.name for found in result.cells})
    if gone:
        yield f"{plural(gone, 'cell')} of {count(planned)} planned {_were(gone)} not measured; why is in the last section."
    if hollow:
        yield f"Nothing counts of {plural(len(hollow), 'cell')} of {count(planned)}, every run of which is void or empty: {_some(hollow)}."
    runs = [run for found in result.cells for run in found.runs]
    void = [run for run in runs if run.void]
    if void:
        yield f"{plural(len(void), 'run')} of {count(len(runs))} {'is' if len(void) == 1 else 'are'} void and {'counts' if len(void) == 1 else 'count'} nowhere; why is in the last section."
    wrong = [found for found in result.cells if residual(found)]
    if wrong:
        yield f"The ledger of {plural(len(wrong), 'cell')} does not add up ({_some(wrong)}): a fault of the measurement; do not rely on those."
    single = [found for found in known if sum(not run.void for run in found.runs) == 1]
    if single:
        yield f"{plural(len(single), 'cell')} of {count(len(known))} rest on one run, so their intervals do not hold what changes between runs."
    few = [found for found in known if found.counts.get("ok", 0) < P99_NEEDS]
    if few:
        least = min(found.counts.get("ok", 0) for found in few)
        yield (
            f"The p99 of {plural(len(few), 'cell')} of {count(len(known))} rests on fewer than {count(P99_NEEDS)} answers (the fewest: "
            f"{count(least)}), so on fewer than ten that were slower."
        )
    bare = [found for found in known if found.counts.get("ok", 0) and math.isnan(found.mean_ms.low)]
    if bare:
        yield f"{plural(len(bare), 'cell')} have no interval, so nothing is shown of them: {_some(bare)}."
    loads = {found.cell.load for found in known}
    if known and len(loads) == 1 and len(index.profiles) < 2:
        yield "One load and one network were measured: nothing is known of others."


def _were(number_of: int) -> str:
    return "was" if number_of == 1 else "were"


def _some(cells: Sequence[CellResult]) -> str:
    names = [found.cell.name for found in cells]
    return listing(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def residual(found: CellResult) -> int:
    """Requests of the schedule that ended in no state; 0 in a sound ledger."""
    return found.requests - sum(found.counts.values())
