"""What to do, in sentences computed from the numbers. Pure: a study's figures in, sentences out.

A sentence says "shown" only of what the intervals bear out (see `contests`), and what is missing is said as plainly as what was found.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from edgewise.study.cells import GATEWAY
from edgewise.study.report import variants
from edgewise.study.report.conclusions_where import network, where_to_run
from edgewise.study.report.contests import SERVES_RATIO, Contest, Metric, contest
from edgewise.study.report.costs import Cost, costs
from edgewise.study.report.findings import Conclusion, Kind, Strength
from edgewise.study.report.index import Index, Setting, measured
from edgewise.study.report.misses import mape, misses
from edgewise.study.report.wording import count, listing, number, percent, plural, rate, share
from edgewise.study.results import CellResult, StudyResult

P99_NEEDS: Final = 1000
"""Answers below which a p99 rests on fewer than ten of them."""


def conclude(result: StudyResult) -> list[Conclusion]:
    """All findings of a study, what to do first, what limits it last."""
    index = Index(result)
    found = [*where_to_run(index), *_gateway(index), *_availability(index), *_accuracy(index), *_price(index)]
    found += [*_prediction(result), *_cautions(index)]
    if not any(measured(cell) for cell in result.cells):
        nothing = "Nothing was measured that counts, so there is nothing to conclude."
        found.insert(0, Conclusion(Kind.WHERE, Strength.CAUTION, nothing))
    elif not index.rivals():
        only = f"Only {listing(index.targets)} was asked, so no two places can be compared."
        found.insert(0, Conclusion(Kind.WHERE, Strength.CAUTION, only))
    return found


def _gateway(index: Index) -> Iterator[Conclusion]:
    if GATEWAY not in index.targets or len(index.targets) < 2:
        return
    better, worse, level = [], [], 0
    for setting in index.settings:
        if setting.outage:
            continue
        for load in index.loads(setting):
            for profile in index.profiles_of(setting):
                one = _against_best(index, setting, profile, load)
                if one is None:
                    continue
                better += [one] if one.winner == GATEWAY else []
                worse += [one] if one.winner not in {GATEWAY, ""} else []
                level += not one.winner
    total = len(better) + len(worse) + level
    if not total:
        return
    said = []
    if worse:
        factors = sorted(one.factor for one in worse if not math.isnan(one.factor))
        times = (
            f" ({number(factors[len(factors) // 2])} times in the median, {number(factors[-1])} at most)"
            if factors
            else ""
        )
        said.append(f"slower in {len(worse)}{times}")
    if better:
        said.append(f"faster in {len(better)}")
    if level:
        said.append(f"in {level} no difference is shown")
    text = f"Against the better of the sites alone, by mean latency in {plural(total, 'cell')}, the gateway is {listing(said)}."
    yield Conclusion(Kind.GATEWAY, Strength.NOT_SHOWN if level == total else Strength.SHOWN, text)


def _against_best(index: Index, setting: Setting, profile: str, load: float) -> Contest | None:
    """The gateway against the site that does best there, by the answers first and the mean then."""
    through = index.cell(setting, GATEWAY, profile, load)
    sites = [index.cell(setting, target, profile, load) for target in index.targets if target != GATEWAY]
    known = [site for site in sites if site is not None]
    if through is None or not known:
        return None
    best = min(known, key=lambda site: (site.availability.value < SERVES_RATIO, site.mean_ms.value))
    return contest(setting, profile, load, through, best, Metric.MEAN)


def _availability(index: Index) -> Iterator[Conclusion]:
    for setting in index.settings:
        if setting.outage:
            for load in index.loads(setting):
                for profile in index.profiles_of(setting):
                    yield from _through_outage(index, setting, profile, load)
    calm = [found for found in index.result.cells if not found.cell.outage and measured(found)]
    short = sorted(
        (found for found in calm if found.availability.value < SERVES_RATIO), key=lambda one: one.availability.value
    )
    if short:
        worst = short[0]
        text = (
            f"Without an outage, {plural(len(short), 'cell')} of {count(len(calm))} answered less than {percent(SERVES_RATIO)} of "
            f"the requests, so latency does not decide there; the worst is {worst.cell.name} with {percent(worst.availability.value)}."
        )
        yield Conclusion(Kind.AVAILABILITY, Strength.SHOWN, text)
    elif calm:
        requests, ok = sum(found.requests for found in calm), sum(found.counts.get("ok", 0) for found in calm)
        text = f"Without an outage, {_of(ok, requests)} requests were answered; no cell answered less than {percent(SERVES_RATIO)}."
        yield Conclusion(Kind.AVAILABILITY, Strength.SHOWN, text, headline=False)


def _of(part: int, whole: int) -> str:
    return f"all {count(whole)}" if part == whole else f"{count(part)} of {count(whole)}"


def _through_outage(index: Index, setting: Setting, profile: str, load: float) -> Iterator[Conclusion]:
    cells = [index.cell(setting, target, profile, load) for target in index.targets]
    known = [found for found in cells if found is not None]
    if not known:
        return
    steps = index.result.outages.get(setting.outage, "")
    known.sort(key=lambda found: -found.availability.value)
    said = []
    for found in known:
        unanswered = {state: n for state, n in found.counts.items() if state != "ok" and n}
        rest = (
            f" ({', '.join(f'{count(n)} {state}' for state, n in unanswered.items())} of {count(found.requests)})"
            if unanswered
            else ""
        )
        outside = "" if found.cell.outage else ", measured without the outage"
        said.append(f"{found.cell.target} answered {share(found.availability)}{rest}{outside}")
    named = f"{setting.outage!r}" + (f" ({steps})" if steps else "")
    text = f"{index.label(setting).split(',')[0]} through the outage {named} {network(index, profile)} at {rate(load)}: {'; '.join(said)}."
    apart = [a for a, b in zip(known, known[1:], strict=False) if a.availability.low > b.availability.high]
    strength = Strength.SHOWN if apart and len(known) > 1 else Strength.NOT_SHOWN
    yield Conclusion(Kind.AVAILABILITY, strength, text)


def _accuracy(index: Index) -> Iterator[Conclusion]:
    for model in variants.models(index):
        by_target = {one.target: one for one in variants.accuracies(index, model)}
        for near, far in index.rivals():
            if GATEWAY in {near, far} or near not in by_target or far not in by_target:
                continue
            yield _accuracy_of(index, model, by_target[near], by_target[far])


def _accuracy_of(index: Index, model: str, near: variants.Accuracy, far: variants.Accuracy) -> Conclusion:
    cost_points = 100 * (far.estimate.value - near.estimate.value)
    kind = "costs" if cost_points > 0 else "gains"
    amount = f"{number(abs(cost_points), 2)} points of accuracy" if cost_points else "no accuracy"
    verb = kind if cost_points else "costs"
    unit = "inputs" if near.by_input else "answers"
    text = (
        f"{model}: {near.target} instead of {far.target} {verb} {amount} ({near.right} against {far.right} right, of "
        f"{count(near.inputs)} labelled {unit}"
        + (f" and {count(far.inputs)}" if far.inputs != near.inputs else "")
        + ")"
    )
    pairwise = variants.agreement(index, model, near.target, far.target)
    if pairwise is not None:
        text += f"; they say the same of {count(pairwise.same)} of {count(pairwise.inputs)} inputs"
    if pairwise is not None and pairwise.labelled:
        shown = pairwise.p_value < 0.05
        text += f"; {pairwise.only_first} only {near.target} gets right, {pairwise.only_second} only {far.target} (McNemar's exact test: p = {number(pairwise.p_value, 2)})"
    else:
        shown = False
        text += "; answers repeat inputs, so whether that is more than chance is not shown"
    ending = "." if shown else ". At 95 % this is no difference shown."
    return Conclusion(Kind.ACCURACY, Strength.SHOWN if shown else Strength.NOT_SHOWN, text + ending)


def _price(index: Index) -> Iterator[Conclusion]:
    if not index.result.prices:
        return
    for setting in index.settings:
        if setting.outage:
            continue
        found = [one for one in costs(index, setting) if not math.isnan(one.total)]
        by_load: dict[float, list[Cost]] = {}
        for one in found:
            if one.cell.availability.value >= SERVES_RATIO:
                by_load.setdefault(one.cell.cell.load, []).append(one)
        loads = [load for load, some in by_load.items() if len({one.cell.cell.target for one in some}) > 1]
        if not loads:
            continue
        load = max(loads)
        said = []
        for target in index.targets:
            some = [one for one in by_load[load] if one.cell.cell.target == target]
            if some:
                totals, kwh = [one.total for one in some], [one.total_kwh for one in some]
                said.append(f"{target} {_range(totals)}" + ("" if math.isnan(max(kwh)) else f" and {_range(kwh)} kWh"))
        text = f"{index.label(setting)}: a million predictions at {rate(load)} cost {listing(said)} (node and transfer, one node a site)."
        yield Conclusion(Kind.PRICE, Strength.COMPUTED, text)


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _prediction(result: StudyResult) -> Iterator[Conclusion]:
    found = misses(result)
    if not found:
        return
    worst = max(found, key=lambda one: abs(one.error_ratio))
    inside = sum(one.inside for one in found)
    text = (
        f"Predictions made before the sweep miss the measured means by {percent(mape(found), 1)} on average over {plural(len(found), 'cell')} "
        f"(worst: {worst.cell.cell.name}, by {percent(abs(worst.error_ratio), 0)}); {count(inside)} of them lie within the predicted bounds."
    )
    yield Conclusion(Kind.PREDICTION, Strength.COMPUTED, text)


def _cautions(index: Index) -> Iterator[Conclusion]:
    for text in _limits(index):
        yield Conclusion(Kind.CAUTION, Strength.CAUTION, text)


def _limits(index: Index) -> Iterator[str]:
    result = index.result
    known = [found for found in result.cells if measured(found)]
    planned = len(result.cells) + len(result.missing)
    if result.missing:
        yield f"{plural(len(result.missing), 'cell')} of {count(planned)} planned were not measured; the reasons are in the last section."
    hollow = [found for found in result.cells if not measured(found)]
    if hollow:
        yield f"Nothing counts of {plural(len(hollow), 'cell')}, every run of which is void or empty: {_some(hollow)}."
    runs = [run for found in result.cells for run in found.runs]
    void = [run for run in runs if run.void]
    if void:
        yield f"{plural(len(void), 'run')} of {count(len(runs))} are void and count nowhere; why is in the last section."
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


def _some(cells: Sequence[CellResult]) -> str:
    names = [found.cell.name for found in cells]
    return listing(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def residual(found: CellResult) -> int:
    """Requests of the schedule that ended in no state; 0 in a sound ledger."""
    return found.requests - sum(found.counts.values())
