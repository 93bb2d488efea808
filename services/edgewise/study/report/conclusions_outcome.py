"""Sentences on what the targets gave and what they cost: availability, accuracy, price, and how far predictions were off. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from edgewise.study.cells import GATEWAY
from edgewise.study.report import variants
from edgewise.study.report.conclusions_where import network
from edgewise.study.report.contests import SERVES_RATIO
from edgewise.study.report.costs import Cost, costs
from edgewise.study.report.findings import Conclusion, Kind, Strength
from edgewise.study.report.index import Index, Setting, measured
from edgewise.study.report.wording import count, listing, number, percent, plural, rate, rates, share

MOST_ALIKE: Final = 3
"""Sentences of one kind that are read first; of more, one for all of them is."""

SIGNIFICANT: Final = 0.05


def availability(index: Index) -> Iterator[Conclusion]:
    """What was answered: through each outage, and without one."""
    for setting in index.settings:
        if not index.calm(setting):
            for load in index.loads(setting):
                for profile in index.profiles_of(setting):
                    yield from _through_outage(index, setting, profile, load)
    calm = [found for found in index.result.cells if index.calm(Setting.of(found)) and measured(found)]
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
    best = known[0]
    less = [found.cell.target for found in known[1:] if best.availability.low > found.availability.high]
    if len(known) > 1:
        said.append(
            f"shown to answer less than {best.cell.target}: {listing(less)}" if less else "no difference is shown"
        )
    plain = index.label(Setting(*setting.kind))
    lead = f"{plain} through the outage {named}, {network(index, profile)} at {rate(load)}"
    yield Conclusion(Kind.AVAILABILITY, Strength.SHOWN if less else Strength.NOT_SHOWN, lead, points=tuple(said))


def accuracy(index: Index) -> Iterator[Conclusion]:
    """What a nearer variant costs; one sentence a model, and one for all of them where they are many."""
    found: list[tuple[float, Conclusion, str]] = []
    strange = []
    for model in variants.models(index):
        by_target = {one.target: one for one in variants.accuracies(index, model)}
        if by_target and not any(one.right for one in by_target.values()):
            strange.append(model)
            continue
        for near, far in index.rivals():
            if GATEWAY not in {near, far} and near in by_target and far in by_target:
                differs = 100 * (by_target[near].estimate.value - by_target[far].estimate.value)
                found.append((differs, _accuracy_of(index, model, by_target[near], by_target[far]), model))
    if len(found) > MOST_ALIKE:
        points = sorted(value for value, _, _ in found)
        shown = [model for _, one, model in found if one.strength is Strength.SHOWN]
        text = (
            f"Over {plural(len(found), 'comparison')} of variants the nearer one's accuracy differs by {number(points[0], 2)} to "
            f"{number(points[-1], 2)} points. That is shown for {listing(shown) if shown else 'none of them'}."
        )
        yield Conclusion(Kind.ACCURACY, Strength.PARTLY if shown else Strength.NOT_SHOWN, text)
    for _, one, _ in found:
        yield replace(one, headline=len(found) <= MOST_ALIKE)
    if strange:
        text = (
            f"Nothing is said of the accuracy of {listing(strange)}: none of the answers of {listing(strange) if len(strange) == 1 else 'these'} "
            "is right, so they are not in the words of the labels."
        )
        yield Conclusion(Kind.ACCURACY, Strength.CAUTION, text, headline=not found)


def _accuracy_of(index: Index, model: str, near: variants.Accuracy, far: variants.Accuracy) -> Conclusion:
    points = 100 * (far.estimate.value - near.estimate.value)
    amount = f"{number(abs(points), 2)} points of accuracy" if points else "no accuracy"
    unit = "inputs" if near.by_input else "answers"
    of = f"{count(near.right)} of {count(near.inputs)} labelled {unit} right against {count(far.right)} of {count(far.inputs)}"
    text = f"{model}: {near.target} instead of {far.target} {'gains' if points < 0 else 'costs'} {amount} ({of})"
    pairwise = variants.agreement(index, model, near.target, far.target)
    shown = False
    if pairwise is not None:
        text += f"; they say the same of {count(pairwise.same)} of {count(pairwise.inputs)} inputs"
    if pairwise is not None and pairwise.only_first + pairwise.only_second:
        shown = pairwise.p_value < SIGNIFICANT
        text += (
            f"; only {near.target} is right on {pairwise.only_first}, only {far.target} on {pairwise.only_second} "
            f"(McNemar's exact test: p = {number(pairwise.p_value, 2)})"
        )
    elif not near.by_input:
        text += "; answers repeat inputs, so whether that is more than chance is not shown"
    return Conclusion(Kind.ACCURACY, Strength.SHOWN if shown else Strength.NOT_SHOWN, f"{text}.")


def price(index: Index) -> Iterator[Conclusion]:
    """What a million predictions cost at the highest load at which targets can be compared; models together where they are many."""
    found = []
    for setting in index.settings:
        by_target = _at_highest_load(index, setting) if index.result.prices and index.calm(setting) else {}
        if by_target:
            found.append((index.label(setting), by_target))
    if len(found) > MOST_ALIKE:
        together: dict[str, list[Cost]] = {}
        for _, by_target in found:
            for target, some in by_target.items():
                together.setdefault(target, []).extend(some)
        yield _priced(f"Over {len(found)} models", together, headline=True)
    for label, by_target in found:
        yield _priced(label, by_target, headline=len(found) <= MOST_ALIKE)


def _at_highest_load(index: Index, setting: Setting) -> dict[str, list[Cost]]:
    """Costs by target at the highest load at which two targets answer enough; empty where there is none."""
    by_load: dict[float, dict[str, list[Cost]]] = {}
    for one in costs(index, setting):
        if not math.isnan(one.total) and one.cell.availability.value >= SERVES_RATIO:
            by_load.setdefault(one.cell.cell.load, {}).setdefault(one.cell.cell.target, []).append(one)
    loads = [load for load, by_target in by_load.items() if len(by_target) > 1]
    return by_load[max(loads)] if loads else {}


def _priced(subject: str, by_target: Mapping[str, Sequence[Cost]], *, headline: bool) -> Conclusion:
    said = []
    for target, some in by_target.items():
        kwh = [one.total_kwh for one in some if not math.isnan(one.total_kwh)]
        said.append(
            f"{target} costs {_range([one.total for one in some])}" + (f" and uses {_range(kwh)} kWh" if kwh else "")
        )
    loads = sorted({one.cell.cell.load for some in by_target.values() for one in some})
    lead = f"{subject}, a million predictions at {rates(loads)}, one node a site, in the currency of the prices"
    return Conclusion(Kind.PRICE, Strength.COMPUTED, lead, headline, tuple(said))


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def prediction(index: Index) -> Iterator[Conclusion]:
    """How far off the predictions were."""
    checked = index.checked
    counted = [row for row in checked.rows if row.counted and not math.isnan(row.mean_error)]
    left_out = len(checked.rows) - len(counted)
    without = (
        f" {plural(left_out, 'cell')} of {count(len(checked.rows))} {'is' if left_out == 1 else 'are'} left out: no steady state, or too little answered."
        if left_out
        else ""
    )
    if counted:
        worst = max(counted, key=lambda row: abs(row.mean_error))
        text = (
            f"Predictions from the calibration miss the measured means by {percent(checked.mean_absolute_error, 1)} on average over "
            f"{plural(len(counted), 'cell')}, medians by {percent(checked.p50_absolute_error, 1)}, p99 by "
            f"{percent(checked.p99_absolute_error, 1)} (worst mean: {worst.cell.name}, by {percent(abs(worst.mean_error), 1)}).{without}"
        )
        yield Conclusion(Kind.PREDICTION, Strength.COMPUTED, text)
    elif checked.rows:
        yield Conclusion(Kind.PREDICTION, Strength.CAUTION, f"No prediction can be checked.{without}")
    known = [one for one in checked.inversions if not math.isnan(one.difference)]
    if known:
        largest = max(known, key=lambda one: abs(one.difference))
        text = (
            f"The utilisation of the edge at which the cloud begins to win was predicted within {number(abs(largest.difference), 2)} of the measured "
            f"one at {plural(len(known), 'crossover')}"
        )
        said = tuple(
            f"{one.model} on {one.profile}: {number(one.measured.value, 2)} measured, {number(one.predicted.value, 2)} predicted"
            for one in known
        )
        yield Conclusion(Kind.PREDICTION, Strength.COMPUTED, text, points=said)
