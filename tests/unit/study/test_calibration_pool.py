from dataclasses import replace

import pytest

from edgewise.study.calibration_pool import pooled
from edgewise.study.results import Calibration

ONE = Calibration(
    "edge", "pets", "rest-image", "", 10.0, (9.0, 11.0), (100.0,), 0.02, 1000, 300,
    capacity_error_ratio=0.02, base_error_ratio=0.01, pauses_ms=(6.0, 50.0), pause_costs_ms=(0.0, 1.0),
)  # fmt: skip


def test_one_stays_what_it_is():
    assert pooled([ONE]) == (ONE,)
    assert pooled([]) == ()


def test_the_mean_of_several_is_taken_of_each_thing_by_itself():
    cloud = replace(ONE, target="cloud", base_ms=30.0)
    slower = replace(
        ONE, base_ms=12.0, base_samples_ms=(12.0,), capacity_per_s=(80.0,), service_scv=0.04, pause_costs_ms=(0.0, 2.0)
    )
    edge, other = pooled([ONE, cloud, slower])
    assert other == cloud
    assert (edge.base_ms, edge.base_samples_ms) == (11.0, (9.0, 11.0, 12.0))
    assert edge.capacity_per_s == (90.0,)
    assert edge.service_scv == pytest.approx(0.03)
    assert (edge.pauses_ms, edge.pause_costs_ms) == ((6.0, 50.0), (0.0, 1.5))


def test_it_is_as_sure_as_its_parts_agree():
    alike = pooled([ONE, ONE])[0]
    assert alike.capacity_error_ratio == pytest.approx(0.02 / 2**0.5)
    drifted = pooled([ONE, replace(ONE, base_ms=12.0, capacity_per_s=(80.0,))])[0]
    # The standard error of the mean of two is half of what lies between them.
    assert drifted.base_error_ratio == pytest.approx(1.0 / 11.0)
    assert drifted.capacity_error_ratio == pytest.approx(10.0 / 90.0)


def test_where_they_do_not_agree_on_how_much_there_is_most_are_right():
    batches = replace(ONE, capacity_per_s=(100.0, 150.0), largest_batch=2, pauses_ms=(), pause_costs_ms=())
    found = pooled([ONE, batches, batches])[0]
    assert (found.capacity_per_s, found.largest_batch) == ((100.0, 150.0), 2)
    assert (found.pauses_ms, found.pause_costs_ms) == ((), ())
    assert found.capacity_error_ratio == pytest.approx(0.02 / 2**0.5)
