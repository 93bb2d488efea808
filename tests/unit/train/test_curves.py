"""What is made of the epochs: when to stop, where the curves part, what metrics.csv says."""

from dataclasses import asdict

import pytest

from edgewise.train.curves import COLUMNS, Epoch, Pace, Watch, csv_text, duration, epoch_of, parted
from edgewise.train.settings import EarlyStopping


def epochs(*losses: tuple[float, float]) -> list[Epoch]:
    return [
        Epoch(1, at, 1e-4, loss, 0.5, validation, 0.5, 1.0, 100.0, 1 << 20)
        for at, (loss, validation) in enumerate(losses, 1)
    ]


def test_patience_runs_out_after_so_many_epochs_without_a_lower_loss():
    watch = Watch(EarlyStopping(patience=2))
    assert watch.improves(1, 1.0)
    assert not watch.improves(2, 1.0)
    assert not watch.over
    assert not watch.improves(3, 1.1)
    assert watch.over
    assert (watch.best_epoch, watch.best_loss) == (1, 1.0)


def test_new_stage_has_the_whole_patience_and_keeps_the_best():
    watch = Watch(EarlyStopping(patience=1))
    watch.improves(1, 1.0)
    watch.improves(2, 2.0)
    assert watch.over
    watch.begin_stage()
    assert not watch.over
    assert not watch.improves(3, 1.5)
    assert watch.best_epoch == 1


def test_gain_below_the_least_does_not_count_but_the_first_epoch_does():
    watch = Watch(EarlyStopping(patience=5, min_delta=0.1))
    assert watch.improves(1, 1.0)
    assert not watch.improves(2, 0.95)
    assert watch.improves(3, 0.85)


def test_patience_of_nothing_never_stops():
    watch = Watch(EarlyStopping(patience=0))
    for epoch in range(1, 50):
        watch.improves(epoch, float(epoch))
    assert not watch.over


def test_loss_that_is_no_number_is_no_best():
    watch = Watch(EarlyStopping())
    assert not watch.improves(1, float("nan"))
    assert watch.best_epoch == 0


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(3, 3), (2, 2), (1, 2.5), (0.5, 3)], 2),
        ([(3, 3), (2, 2), (1, 1)], None),
        ([(3, 3), (2, 2), (2.5, 2.5)], None),
        ([], None),
    ],
    ids=["part", "both fall", "both rise", "nothing"],
)
def test_curves_part_where_one_falls_on_and_the_other_rises(losses, expected):
    assert parted(epochs(*losses)) == expected


def test_metrics_have_a_line_each_epoch_and_are_read_back():
    made = epochs((1.0, 2.0), (0.5, 1.5))
    lines = csv_text(made).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[1] == "1,1,0.0001,1,0.5,2,0.5,1,100,1048576"
    assert len(lines) == 3
    assert epoch_of(asdict(made[1])) == made[1]


def test_time_left_is_told_by_what_is_like_what_is_left():
    # The first epoch of a stage makes the network's code: a minute, where those after it take a tenth of a second.
    assert Pace().left_s(60.0, None) is None
    assert Pace([60.0]).left_s(59.0, None) is None
    assert Pace([60.0]).left_s(59.0, 0.1) == pytest.approx(5.9)
    assert Pace([60.0, 0.1, 0.2, 0.1]).left_s(10.0, 50.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.44, "4.4 s"), (45.2, "45 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
