"""Results with holes in them, made at random: sentences and plots come about, and every table is whole."""

import math
import random
from dataclasses import replace

import pytest

from edgewise.study.report.conclusions import conclude
from edgewise.study.report.html_page import page
from edgewise.study.report.index import Index
from edgewise.study.report.plots import all_drawings
from edgewise.study.results import Estimate
from support import study_results
from support.study_results import NAN

RATIOS = (0.5, 0.95, 0.99)


@pytest.fixture(scope="module")
def whole():
    return [study_results.quick(), study_results.outage(), study_results.hollow()]


def unanswered(found):
    counts = {**found.counts, "ok": 0, "lost": found.requests}
    none = {"mean_ms": NAN, "quantiles_ms": {}, "cdf_ms": (), "timeline": ()}
    return replace(found, counts=counts, availability=Estimate(0.0, 0.0, 0.01), **none)


def bare(found):
    quantiles = {ratio: Estimate(one.value, math.nan, math.nan) for ratio, one in found.quantiles_ms.items()}
    return replace(found, mean_ms=Estimate(found.mean_ms.value, math.nan, math.nan), quantiles_ms=quantiles)


def instant(found):
    nothing = Estimate(0.0, 0.0, 0.0)
    return replace(found, mean_ms=nothing, quantiles_ms=dict.fromkeys(RATIOS, nothing), cdf_ms=(0.0,) * 203)


HOLES = (
    unanswered,
    bare,
    instant,
    lambda found: replace(found, runs=tuple(replace(run, void="late") for run in found.runs)),
    lambda found: replace(found, runs=()),
    lambda found: replace(found, requests=0, counts={}),
    lambda found: replace(found, judgements=found.judgements[:1]),
    lambda found: replace(found, cell=replace(found.cell, profile="mystery" if found.cell.profile else "")),
    lambda found: replace(found, cell=replace(found.cell, target="edge-2")),
)


@pytest.mark.parametrize("seed", range(16))
def test_holes_are_told_and_nothing_fails(whole, seed):
    draw = random.Random(seed)

    def some(items):
        return tuple(one for one in items if draw.random() < 0.8)

    result = draw.choice(whole)
    cells = tuple(draw.choice(HOLES)(one) if draw.random() < 0.4 else one for one in some(result.cells))
    result = replace(
        result,
        cells=cells,
        profiles=draw.choice((result.profiles, {})),
        prices=dict(some(result.prices.items())),
        predictions=some(result.predictions),
        calibrations=some(result.calibrations),
    )
    index = Index(result)
    assert all(one.text for one in conclude(result))
    parts = all_drawings(index)
    found = [one for drawings in parts.values() for one in drawings]
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert {len(row) for row in one.table.rows} <= {len(one.table.header)}
    assert "nan" not in page(index, dict.fromkeys(parts, ()), "").lower()
