"""Schedules whose rate is changed while they run."""

import numpy as np
import pytest
from swarm.live_schedule import LiveSchedule

SECOND_NS = 1_000_000_000


def stretches(schedule, rates, step_ns=SECOND_NS // 10):
    return [schedule.extend(schedule.fixed_until_ns + step_ns, rate) for rate in rates]


def test_the_same_seed_and_changes_give_the_same_schedule():
    rates = [10, 400, 0, 25.5] * 20
    one, other = (np.concatenate(stretches(LiveSchedule("poisson", (7, 0)), rates)) for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, np.concatenate(stretches(LiveSchedule("poisson", (7, 1)), rates))[: len(one)])


def test_how_it_is_cut_into_stretches_changes_nothing():
    fine = np.concatenate(stretches(LiveSchedule("poisson", (7,)), [200.0] * 100))
    whole = LiveSchedule("poisson", (7,)).extend(10 * SECOND_NS, 200.0)
    assert len(fine) == len(whole)
    assert np.max(np.abs(fine - whole)) <= 2


def test_due_times_rise_and_stay_within_their_stretch():
    schedule = LiveSchedule("poisson", (1,))
    begins_ns = 0
    last = 0
    for rate in (3, 5000, 0, 0, 40, 900):
        ends_ns = begins_ns + 70_000_000
        due_ns = schedule.extend(ends_ns, rate)
        assert np.all(np.diff(due_ns) >= 0)
        assert np.all((due_ns >= max(begins_ns, last)) & (due_ns <= ends_ns))
        begins_ns, last = ends_ns, int(due_ns[-1]) if len(due_ns) else last


@pytest.mark.parametrize("rate", [50.0, 2000.0])
def test_poisson_arrivals_have_their_rate_and_gaps(rate):
    due_ns = np.concatenate(stretches(LiveSchedule("poisson", (5,)), [rate] * int(20_000 * 10 / rate)))
    gaps = np.diff(due_ns)
    assert len(due_ns) == pytest.approx(20_000, rel=0.04)
    assert gaps.mean() * rate / 1e9 == pytest.approx(1.0, rel=0.04)
    assert (gaps.std() / gaps.mean()) == pytest.approx(1.0, rel=0.05)


def test_a_change_of_rate_counts_from_its_stretch_on():
    schedule = LiveSchedule("constant", ())
    first, second, third = (schedule.extend(end * SECOND_NS, rate) for end, rate in ((1, 100), (2, 0), (3, 1000)))
    assert (len(first), len(second), len(third)) == (100, 0, 1000)


def test_workers_take_turns_with_constant_arrivals():
    due_ns = [LiveSchedule("constant", (), phase).extend(SECOND_NS, 50) for phase in (0.0, 0.5)]
    merged = np.sort(np.concatenate(due_ns))
    assert np.all(np.diff(merged) == SECOND_NS // 100)


@pytest.mark.parametrize(("until_ns", "rate"), [(-1, 1.0), (10, -1.0), (10, float("nan")), (10, float("inf"))])
def test_what_cannot_be_is_refused(until_ns, rate):
    with pytest.raises(ValueError, match="no schedule"):
        LiveSchedule("poisson", (1,)).extend(until_ns, rate)
