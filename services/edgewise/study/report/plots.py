"""Every plot of the report, by the part of it that holds them."""

from edgewise.study.report.drawings import Drawing
from edgewise.study.report.index import Index
from edgewise.study.report.plots_check import lag, predictions
from edgewise.study.report.plots_cost import cost_drawings
from edgewise.study.report.plots_latency import against_load, against_rtt, distributions
from edgewise.study.report.plots_map import maps
from edgewise.study.report.plots_outage import outages
from edgewise.study.report.plots_outcome import accuracy, ledger


def all_drawings(index: Index) -> dict[str, list[Drawing]]:
    """In the order of the report."""
    return {
        "map": list(maps(index)),
        "distribution": list(distributions(index)),
        "rtt": list(against_rtt(index)),
        "load": list(against_load(index)),
        "accuracy": list(accuracy(index)),
        "availability": [*outages(index), *ledger(index)],
        "cost": list(cost_drawings(index)),
        "prediction": list(predictions(index)),
        "method": list(lag(index)),
    }
