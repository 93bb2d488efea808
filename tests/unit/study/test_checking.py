import math
from dataclasses import replace

import numpy as np
import pytest

from edgewise.study import checking
from edgewise.study.cells import CLOUD, EDGE, Cell, Run
from edgewise.study.prediction import crossover, predict
from edgewise.study.results import Calibration, CellResult, Estimate, NetworkProfile, Prediction, RunResult, StudyResult

SAMPLES = tuple(np.linspace(11.5, 12.5, 51))
EDGE_FOUND = Calibration(EDGE, "pets", "rest-image", "", 12.0, SAMPLES, (100.0,), 0.02, 20_000, 800)
CLOUD_FOUND = replace(EDGE_FOUND, target=CLOUD, capacity_per_s=(100.0, 200.0))
NETWORK = NetworkProfile("near", 10.0)
LOADS = (20.0, 40.0, 60.0, 75.0, 90.0)
UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def measured(cell, mean_ms, *, spread=0.02, availability=1.0, p50_ms=None, p99_ms=None):
    run = RunResult(Run(cell, 0, 1), 500, {"ok": 500}, mean_ms, {}, mean_ms, 5.0, 0.1, 0.1)

    def around(value):
        return Estimate(value, value * (1 - spread), value * (1 + spread))

    return CellResult(
        cell,
        (run,),
        500,
        {"ok": 500},
        around(mean_ms),
        {0.5: around(p50_ms or mean_ms), 0.99: around(p99_ms or mean_ms)},
        Estimate(availability, availability, availability),
        UNKNOWN,
    )


def edge_cell(load, **changes):
    return Cell(EDGE, "", "pets", "rest-image", load, load, **changes)


def cloud_cell(load, pooled=2):
    return Cell(CLOUD, "near", "pets", "rest-image", load, pooled * load)


def study(cells, predictions, **changes):
    words = {"calibrations": (EDGE_FOUND, CLOUD_FOUND), "profiles": {"near": NETWORK}}
    return StudyResult("a study", 1, tuple(cells), predictions=tuple(predictions), **{**words, **changes})


def as_predicted(slower=1.0, edge_slower=1.0):
    """A study whose measurements are its predictions, or slower."""
    cells, predictions = [], []
    for load in LOADS:
        for cell, found, profile, factor in (
            (edge_cell(load), EDGE_FOUND, None, edge_slower),
            (cloud_cell(load), CLOUD_FOUND, NETWORK, 1.0),
        ):
            expected = predict(cell, found, profile)
            predictions.append(expected)
            values = [factor * slower * value for value in (expected.mean_ms, expected.p50_ms, expected.p99_ms)]
            cells.append(measured(cell, values[0], p50_ms=values[1], p99_ms=values[2]))
    return study(cells, predictions)


def test_what_was_predicted_exactly_has_no_error():
    found = checking.check(as_predicted())
    assert len(found.rows) == 2 * len(LOADS)
    assert all(row.counted and not row.reason for row in found.rows)
    assert found.mean_absolute_error == pytest.approx(0.0, abs=1e-12)
    assert (found.p50_absolute_error, found.p99_absolute_error) == (pytest.approx(0, abs=1e-12),) * 2


def test_errors_are_predicted_over_measured():
    found = checking.check(as_predicted(slower=1.25))
    assert (found.mean_absolute_error, found.p99_absolute_error) == (pytest.approx(0.2), pytest.approx(0.2))
    assert all(row.mean_error == pytest.approx(-0.2) for row in found.rows)
    assert len(found.worst) == 5
    assert all("outside both intervals" in row.reason for row in found.worst)


def test_a_busy_server_is_given_as_a_reason():
    found = checking.check(as_predicted(slower=1.1))
    (busiest,) = (row for row in found.rows if row.cell == edge_cell(90.0))
    assert "the server is used to 90%, so that 1 % less speed is" in busiest.reason


def test_a_miss_within_the_interval_is_called_scatter():
    cell = edge_cell(40.0)
    wide = replace(predict(cell, EDGE_FOUND, None), low_mean_ms=10.0, high_mean_ms=25.0)
    (row,) = checking.check(study([measured(cell, 22.0)], [wide])).rows
    assert "within what runs of this length scatter (10.0 to 25.0 ms)" in row.reason


@pytest.mark.parametrize(
    ("cell", "result", "said"),
    [
        (edge_cell(96.0), {"mean_ms": 90.0}, "the server is used to 96%"),
        (edge_cell(120.0), {"mean_ms": 900.0}, "the server is used to 120%"),
        (edge_cell(50.0), {"mean_ms": 20.0, "availability": 0.9}, "10.0% of the requests were not answered"),
        (edge_cell(50.0), {"mean_ms": math.nan}, "nothing was answered"),
    ],
)
def test_what_cannot_be_compared_is_not_counted(cell, result, said):
    found = checking.check(study([measured(cell, **result)], [predict(cell, EDGE_FOUND, None)]))
    (row,) = found.rows
    assert not row.counted
    assert said in row.reason
    assert math.isnan(found.mean_absolute_error)
    assert f"not counted: {cell.name}: " in checking.render(found)
    assert "none of the 1 cells can be counted" in checking.render(found)


def test_cells_without_a_prediction_are_no_rows():
    found = checking.check(study([measured(edge_cell(50.0), 20.0), measured(edge_cell(60.0), 20.0)], []))
    assert found.rows == ()
    assert "nothing to check" in checking.render(found)


def test_the_measured_inversion_is_the_predicted_one_where_all_is_as_predicted():
    (found,) = checking.check(as_predicted()).inversions
    expected = crossover(EDGE_FOUND, CLOUD_FOUND, NETWORK, pooled=2)
    assert expected is not None
    assert (found.profile, found.pooled, found.said) == ("near", 2, "")
    assert found.way_over_service == pytest.approx(1.0)
    assert found.predicted.value == pytest.approx(expected.utilisation)
    assert found.measured.value == pytest.approx(expected.utilisation, abs=0.02)
    assert found.predicted_here == pytest.approx(found.measured.value)
    assert found.measured.low < found.measured.value < found.measured.high
    assert found.measured_load.value == pytest.approx(100 * found.measured.value)
    assert abs(found.difference) < 0.02


def test_an_edge_that_is_slower_than_predicted_inverts_earlier():
    (found,) = checking.check(as_predicted(edge_slower=1.2)).inversions
    assert found.measured.value < found.predicted.value - 0.03
    assert found.difference > 0.03


def test_where_the_edge_always_wins_that_is_said():
    (found,) = checking.check(as_predicted(edge_slower=0.2)).inversions
    assert math.isnan(found.measured.value)
    assert found.said == "the edge wins at every load up to 90/s"
    assert "; measured never; the edge wins" in checking.render(checking.check(as_predicted(edge_slower=0.2)))


def test_where_the_cloud_always_wins_that_is_said():
    (found,) = checking.check(as_predicted(edge_slower=9.0)).inversions
    assert found.said == "the cloud wins from the least load on, 20/s"


def test_an_uncertain_measurement_makes_an_uncertain_inversion():
    sure = as_predicted()
    unsure = replace(sure, cells=tuple(measured(cell.cell, cell.mean_ms.value, spread=0.3) for cell in sure.cells))
    (narrow,), (wide,) = (checking.check(one).inversions for one in (sure, unsure))
    assert wide.measured.high - wide.measured.low > 2 * (narrow.measured.high - narrow.measured.low)


def test_cells_in_an_outage_are_no_part_of_an_inversion():
    usual = as_predicted()
    cut = measured(edge_cell(30.0, outage="cut"), 5000.0)
    (found,) = checking.check(replace(usual, cells=(*usual.cells, cut))).inversions
    assert found.measured == checking.check(usual).inversions[0].measured


def test_one_load_makes_no_inversion():
    usual = as_predicted()
    few = tuple(cell for cell in usual.cells if cell.cell.load == LOADS[0])
    assert checking.check(replace(usual, cells=few)).inversions == ()


def test_without_a_calibration_of_the_cloud_the_measured_inversion_is_still_told():
    (found,) = checking.check(replace(as_predicted(), calibrations=(EDGE_FOUND,))).inversions
    assert math.isnan(found.predicted.value)
    assert 0.5 < found.measured.value < 0.9


def test_the_table_is_for_people():
    text = checking.render(checking.check(as_predicted(slower=1.02)))
    lines = text.splitlines()
    assert lines[0].split() == [
        "util", "predicted", "mean", "measured", "mean", "error", "p50", "p99", "bottleneck",
    ]  # fmt: skip
    assert lines[1].startswith("edge_pets_rest-image_20")
    assert "-2.0%" in lines[1]
    assert "mean absolute error over 10 of 10 cells: mean 2.0%, p50 2.0%, p99 2.0%" in text
    assert "where the cloud begins to win (utilisation of the edge)" in text
    assert "] in the steady state, 0.79 in these runs; measured 0.79 [" in text
    assert "near pets rest-image, 2 places pooled, round trip 1.00 service times: predicted 0.79 [" in text
    assert text.endswith("\n")
    assert max(map(len, lines[: len(LOADS) * 2])) < 150


def test_an_overloaded_prediction_is_shown_as_such():
    cell = edge_cell(120.0)
    infinite = Prediction(cell, 1.2, "server", *(math.inf,) * 6, note="the server is overloaded")
    assert "overloaded" in checking.render(checking.check(study([measured(cell, 900.0)], [infinite])))
