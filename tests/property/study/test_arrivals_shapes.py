"""Whatever the shape, the schedule is the exact inverse of the cumulative rate."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgewise.study.arrivals import Shape, schedule

factors = st.floats(0, 100).map(lambda factor: 0.0 if factor < 1e-3 else factor)


@st.composite
def shapes(draw):
    at = sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=8)))
    factor = draw(st.lists(factors, min_size=len(at), max_size=len(at)).filter(any))
    return Shape("drawn", tuple(at), tuple(factor))


def expected_until(shape, times_s, rate, duration_s):
    """The cumulative rate by its definition: areas of trapezoids on a grid that has every point of the shape."""
    grid = np.unique(np.concatenate(([0.0, duration_s], np.array(shape.at) * duration_s, times_s)))
    middles = (grid[1:] + grid[:-1]) / 2
    # Between points it is linear, so the middle is the mean.
    areas = np.array([shape.factor_at(middle, duration_s) for middle in middles]) * np.diff(grid) * rate
    cumulative = np.concatenate(([0.0], np.cumsum(areas)))
    return cumulative[np.searchsorted(grid, times_s)]


@settings(deadline=None, max_examples=100)
@given(shape=shapes(), rate=st.floats(0.1, 50), duration_s=st.floats(0.5, 20))
def test_times_are_where_the_expected_arrivals_are(shape, rate, duration_s):
    assume(shape.mean_factor(duration_s) > 1e-6)
    wanted = np.arange(60) * (rate * duration_s * shape.mean_factor(duration_s) / 50)
    times_s = shape.times_s(wanted, rate, duration_s)
    assert 49 <= len(times_s) <= 51
    assert np.all(np.diff(times_s) >= 0)
    assert np.all((times_s >= 0) & (times_s <= duration_s))
    found = expected_until(shape, times_s, rate, duration_s)
    np.testing.assert_allclose(found, wanted[: len(found)], rtol=1e-6, atol=1e-6 * (1 + wanted[-1]))


@settings(deadline=None, max_examples=60)
@given(
    shape=shapes(),
    rate=st.floats(0.1, 20),
    duration_s=st.floats(0.5, 5),
    seed=st.integers(0, 2**63),
    process=st.sampled_from(["poisson", "constant", "trace"]),
)
def test_due_times_rise_within_the_run(shape, rate, duration_s, seed, process):
    trace = np.array([0.0, 0.1, 0.4]) if process == "trace" else None
    due_ns = schedule(process, rate, duration_s, shape, seed, trace)
    assert due_ns.dtype == np.int64
    assert np.all(np.diff(due_ns) >= 0)
    assert len(due_ns) == 0 or (due_ns[0] >= 0 and due_ns[-1] < duration_s * 1e9)
    assert due_ns.tobytes() == schedule(process, rate, duration_s, shape, seed, trace).tobytes()
