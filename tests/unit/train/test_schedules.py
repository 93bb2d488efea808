"""Learning rates go the way that a stage says."""

import pytest

from edgewise.train.schedules import learning_rate, step_rate
from edgewise.train.settings import Schedule, Stage


def rates(stage: Stage) -> list[float]:
    return [learning_rate(stage, epoch) for epoch in range(stage.epochs)]


def test_constant_stays():
    assert rates(Stage(3, 0.5)) == [0.5, 0.5, 0.5]


def test_step_falls_every_so_many_epochs():
    assert rates(Stage(5, 1.0, Schedule.STEP, decay=0.1, every=2)) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_exponential_falls_each_epoch():
    assert rates(Stage(3, 1.0, Schedule.EXPONENTIAL, decay=0.5)) == [1.0, 0.5, 0.25]


def test_cosine_goes_from_the_rate_to_its_share_of_it():
    stage = Stage(10, 2.0, Schedule.COSINE, decay=0.1)
    assert learning_rate(stage, 0) == 2.0
    assert learning_rate(stage, 5) == pytest.approx(1.1)
    assert learning_rate(stage, 10) == pytest.approx(0.2)
    assert rates(stage) == sorted(rates(stage), reverse=True)


def test_warmup_rises_in_a_line_to_where_the_schedule_begins():
    stage = Stage(10, 1.0, Schedule.COSINE, warmup=2.0, decay=0.0)
    assert [learning_rate(stage, at) for at in (0.5, 1.0, 2.0)] == pytest.approx([0.25, 0.5, 1.0])
    assert learning_rate(stage, 6) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize("warmup", [0.3, 1.0, 3.0])
def test_every_schedule_begins_at_the_rate_when_the_warmup_is_over(schedule, warmup):
    stage = Stage(9, 0.5, schedule, decay=0.1, every=2, warmup=warmup)
    plain = Stage(9, 0.5, schedule, decay=0.1, every=2)
    assert learning_rate(stage, warmup) == 0.5
    assert max(step_rate(stage, epoch, batch, 10) for epoch in range(9) for batch in range(10)) == pytest.approx(0.5)
    if schedule is not Schedule.COSINE:
        # A cosine has less time for its way down.
        for passed in (1.0, 2.0, 2.5, 4.0):
            assert learning_rate(stage, warmup + passed) == pytest.approx(learning_rate(plain, passed))


def test_no_step_has_a_rate_of_nothing_while_it_is_warmed_up():
    stage = Stage(4, 1.0, warmup=1.0)
    assert [step_rate(stage, 0, batch, 4) for batch in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert step_rate(stage, 1, 0, 4) == 1.0
