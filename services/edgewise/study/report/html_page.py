"""The page: what to do first, then what it rests on, then how it was measured."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from edgewise.study.report.conclusions import conclusions
from edgewise.study.report.drawings import Plot, Table
from edgewise.study.report.findings import Conclusion, Kind, Strength
from edgewise.study.report.html_document import document
from edgewise.study.report.html_parts import (
    definitions,
    figure,
    folded,
    folded_table,
    listed,
    paragraph,
    table,
)
from edgewise.study.report.index import Index, measured
from edgewise.study.report.plots_check import inversion_table
from edgewise.study.report.plots_latency import CELL_HEADER, quantile_rows
from edgewise.study.report.plots_outcome import agreement_table, ledger_table
from edgewise.study.report.wording import count, nominal, number, percent, plural
from edgewise.study.results import MlperfVerdict

CLASSES: Final = {
    Strength.SHOWN: "shown",
    Strength.PARTLY: "partly",
    Strength.NOT_SHOWN: "open",
    Strength.COMPUTED: "computed",
    Strength.MEASURED: "shown",
    Strength.CAUTION: "caution",
}

HEADINGS: Final = {
    "what": "What to do",
    "map": "Who wins",
    "latency": "Latency",
    "accuracy": "Accuracy and agreement",
    "availability": "Availability",
    "cost": "Cost and energy",
    "prediction": "Predicted against measured",
    "mlperf": "MLPerf",
    "method": "How it was measured",
}

_UNIT: Final = re.compile(r"(?<=\d) (?=%|ms\b|kWh\b|requests/s)")
_WINS: Final = re.compile(r"([\w.-]+) wins\b")

FORMULAS: Final = """node, per million     = price per hour of the nodes that have to run / (3600 × answers per s) × 10⁶
transfer, per million = bytes of question and answer / 10⁹ × price per GB × 10⁶ (what crosses the network)
node energy, kWh      = watts of those nodes / answers per s × 10⁶ / 3.6·10⁶
device energy, kWh    = watts of the device × mean latency in s × 10⁶ / 3.6·10⁶
busy node             = the node's price with as many answers per s as its calibrated capacity: the least it can be"""


def page(index: Index, plots: Mapping[str, Sequence[Plot]], scenario: str) -> str:
    """The whole document.

    Args:
        plots: by the part of the report, as `plots.all_drawings` has them.
        scenario: the scenario's file; "" when it is not there.
    """
    result = index.result
    parts = {
        "what": _what(conclusions(index)),
        "map": _shown(plots["map"], _no_map(index)),
        "latency": _latency(plots),
        "accuracy": _accuracy(index, plots["accuracy"]),
        "availability": _availability(index, plots["availability"]),
        "cost": _cost(index, plots["cost"]),
        "prediction": _prediction(index, plots["prediction"]),
        **({"mlperf": _mlperf(result.mlperf)} if result.mlperf else {}),
        "method": _method(index, plots["method"], scenario),
    }
    return document(
        result.title,
        _subtitle(index),
        {HEADINGS[name]: (name, inner) for name, inner in parts.items()},
        "Edgewise study. The plots are also in the folder plots beside this file, the figures in summary.csv and summary.json.",
    )


def _subtitle(index: Index) -> str:
    result = index.result
    runs = [run for found in result.cells for run in found.runs]
    known = sum(measured(found) for found in result.cells)
    planned = index.planned()
    requests = sum(found.requests for found in result.cells)
    words = [
        f"{count(known)} of {plural(planned, 'planned cell')} measured",
        f"{plural(len(runs), 'run')}, {count(sum(bool(run.void) for run in runs))} void",
    ]
    words += [f"{count(requests)} requests that count", f"seed {result.seed}"]
    return "; ".join([*([result.environment["date"]] if "date" in result.environment else []), *words]) + "."


def _what(found: Sequence[Conclusion]) -> Iterator[str]:
    first = [one for one in found if one.headline and one.kind is not Kind.CAUTION]
    also = [one for one in found if not one.headline]
    cautions = [one for one in found if one.kind is Kind.CAUTION]
    yield listed([_finding(one) for one in first], "findings") if first else ""
    if cautions:
        yield "<h3>What limits this</h3>"
        yield listed([_bound(one.text) for one in cautions])
    if also:
        yield folded(f"Also found ({len(also)})", listed([_finding(one) for one in also], "findings"))
    yield folded(
        "What the words mean",
        paragraph(
            "Shown: the 95 % intervals do not overlap, which is stricter than a test at 5 %. Partly shown: at some of the points named. No difference shown: "
            "they overlap, which does not prove that there is none. Computed: from figures and prices, not measured. A target wins by latency only "
            "where it answers at least 99 % of its requests. Where a number stands between two networks that differ in RTT only, it lies on the straight line "
            "between the measured differences, and the numbers in brackets are where the bounds of the difference reach zero."
        ),
    )


def _finding(one: Conclusion) -> str:
    points = [_bound(point) for point in one.points]
    lead = _bound(one.lead) + (":" if points else "")
    said = f"<p>{lead} {points[0]}</p>" if len(points) == 1 else f"<p>{lead}</p>{listed(points) if points else ''}"
    return (
        f'<span class="what {CLASSES[one.strength]}">{escape(one.kind[0].upper() + one.kind[1:])}<span class="tag">{escape(one.strength)}</span></span>'
        f"<div>{said}</div>"
    )


def _bound(text: str) -> str:
    """Escaped, with numbers kept beside their units, and who wins in bold."""
    kept = _UNIT.sub("&nbsp;", escape(text))
    return _WINS.sub(r"<strong>\1 wins</strong>", kept)


def _shown(plots: Sequence[Plot], otherwise: str) -> Iterator[str]:
    if not plots:
        yield paragraph(otherwise)
    for plot in plots:
        yield figure(plot)


def _no_map(index: Index) -> str:
    if not index.rivals():
        return "There is no map: fewer than two targets were measured."
    return "There is no map: both targets were measured at fewer than two points without an outage."


def _latency(plots: Mapping[str, Sequence[Plot]]) -> Iterator[str]:
    yield from _shown(plots["distribution"], "There are no distributions: nothing was answered.")
    yield from _shown(
        plots["rtt"], "Nothing is drawn against RTT: no model was measured on more than one network of known RTT."
    )
    yield from _shown(plots["load"], "Nothing is drawn against load: no model was measured at more than one load.")


def _accuracy(index: Index, plots: Sequence[Plot]) -> Iterator[str]:
    yield from _shown(plots, "Nothing is known of accuracy: no input had a label.")
    found = agreement_table(index)
    if found is not None:
        yield "<h3>Agreement, input by input</h3>"
        yield paragraph(
            "The same inputs, asked of two targets. McNemar's exact test asks whether two equally accurate targets would differ so much by chance: "
            "below 0.05 the difference is shown."
        )
        yield table(found, "Agreement of targets on the same inputs")
    else:
        yield paragraph(
            "Agreement is not known: what each target said of each input was not kept, or only one was asked."
        )


def _availability(index: Index, plots: Sequence[Plot]) -> Iterator[str]:
    yield from _shown(
        plots,
        "Nothing is drawn: there was no outage, and every request was answered."
        if index.result.cells
        else "Nothing was measured.",
    )
    if any(not index.calm(setting) for setting in index.settings) and not any(
        found.timeline for found in index.result.cells
    ):
        yield paragraph("The seconds of the outages are not drawn: they are not in these results.")
    yield paragraph(
        "The ledger of every cell: requests = ok + rejected + expired + error + lost + unsent, so the residual is 0; anything else is a fault of the measurement."
    )
    yield folded_table(ledger_table(index), "Ledger")


def _cost(index: Index, plots: Sequence[Plot]) -> Iterator[str]:
    prices = index.result.prices
    why = "the scenario has no prices" if not prices else "the prices do not name what was measured"
    yield from _shown(plots, f"Nothing was computed: {why}.")
    if prices:
        yield f'<pre class="formulas" tabindex="0">{escape(FORMULAS)}</pre>'
        yield paragraph(
            "One node a site, which costs and uses as much while it waits. Through the gateway the nodes of both tiers run."
        )
        yield definitions((name.replace("_", " "), f"{value:,g}") for name, value in prices.items())


def _no_prediction(index: Index) -> str:
    if not index.result.predictions:
        return "Nothing was predicted: the study was not calibrated."
    return "Fewer than two cells were both predicted, with a steady state, and measured."


def _prediction(index: Index, plots: Sequence[Plot]) -> Iterator[str]:
    yield from _shown(plots, _no_prediction(index))
    found = inversion_table(index)
    if found is not None:
        yield "<h3>Where the cloud begins to win, with load</h3>"
        yield paragraph(
            "In utilisation of the edge by the requests of its place. Measured: where straight lines between the loads cross, with what 95 % of redraws of the "
            "means give. Predicted: of the steady state, from the calibrations; for these runs: from the predictions of the same cells, which know how long they were."
        )
        yield table(found, "Crossover with load, measured and predicted")


def _mlperf(verdicts: Sequence[MlperfVerdict]) -> Iterator[str]:
    yield paragraph(
        "What MLPerf's own load generator found under its rules. These are not submissions to MLPerf; nobody has reviewed them."
    )
    rows: list[tuple[str, ...]] = [
        (
            one.scenario,
            one.model,
            one.target,
            one.profile or "–",
            "valid" if one.valid else "INVALID",
            one.metric,
            f"{number(one.value)} {one.unit}",
            number(one.latencies_ms.get(0.9, math.nan)),
            number(one.latencies_ms.get(0.99, math.nan)),
            count(one.queries),
            count(one.failed),
            percent(one.accuracy),
            "; ".join(one.reasons) or "–",
        )
        for one in verdicts
    ]
    header = (
        "scenario",
        "model",
        "target",
        "network",
        "verdict",
        "metric",
        "value",
        "p90, ms",
        "p99, ms",
        "queries",
        "failed",
        "accuracy",
        "reasons",
    )
    yield table(Table(header, rows, 6), "MLPerf verdicts")
    for one in verdicts:
        if one.lines:
            text = "\n".join(one.lines)
            name = ", ".join(word for word in (one.scenario, one.model, one.target, one.profile) if word)
            yield folded(f"In its own words: {name}", f'<pre tabindex="0">{escape(text)}</pre>')


def _method(index: Index, plots: Sequence[Plot], scenario: str) -> Iterator[str]:
    result = index.result
    yield definitions([*result.environment.items(), ("seed", str(result.seed))])
    yield from _shown(plots, "Nothing is known of the engine's lag: there was no run.")
    runs = [run for found in result.cells for run in found.runs]
    void = [(run.run.name, run.void, f"{run.run.cell.rate:g}", number(run.lag_p99_ms)) for run in runs if run.void]
    if void:
        yield "<h3>Void runs</h3>"
        yield table(Table(("run", "why it does not count", "rate, 1/s", "lag p99, ms"), void, 2), "Void runs")
    elif runs:
        yield paragraph(f"No run of {count(len(runs))} is void.")
    if result.missing:
        yield "<h3>Missing cells</h3>"
        yield table(Table(("cell", "why it was not measured"), list(result.missing.items()), 2), "Missing cells")
    errors: Counter[str] = Counter()
    for run in runs:
        errors.update(run.errors)
    if errors:
        wrong = [(text, count(times)) for text, times in errors.most_common(40)]
        yield folded_table(Table(("what was answered or happened instead", "times"), wrong), "Errors")
    if result.profiles:
        yield folded_table(_networks(index), "Networks")
    if result.calibrations:
        yield folded_table(_calibrations(index), "Calibrations")
    if index.settings:
        rows = [row for setting in index.settings for row in quantile_rows(index, setting)]
        yield folded_table(Table(CELL_HEADER, rows, 3), "Every cell")
    if scenario:
        yield folded("The scenario", f'<pre tabindex="0">{escape(scenario)}</pre>')


def _networks(index: Index) -> Table:
    rows = [
        (
            one.name,
            nominal(one.rtt_ms),
            *(f"{value:,g}" if value else "no limit" for value in (one.up_kbit_s, one.down_kbit_s)),
            f"{one.jitter_ms:g}",
            percent(one.loss_ratio),
        )
        for one in index.result.profiles.values()
    ]
    return Table(("network", "RTT", "up, kbit/s", "down, kbit/s", "jitter each way, ms", "loss each way"), rows)


def _calibrations(index: Index) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            one.model,
            one.target,
            one.protocol,
            one.batching or "–",
            number(one.base_ms),
            number(one.capacity_per_s[-1] if one.capacity_per_s else math.nan),
            str(len(one.capacity_per_s)),
            number(one.service_scv),
            count(one.request_bytes),
            count(one.response_bytes),
        )
        for one in index.result.calibrations
    ]
    header = (
        "model",
        "target",
        "protocol",
        "batching",
        "lone request, ms",
        "capacity, 1/s",
        "at once",
        "scv of service",
        "request, bytes",
        "answer, bytes",
    )
    return Table(header, rows, 4)
