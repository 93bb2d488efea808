"""An epoch is made of steps whose order the seed decides; a loss that is no number ends the training."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.train.settings import Stage
from edgewise.train.stage_model import Examples, StageModel
from edgewise.train.steps import Lesson, train_epoch


class Model:
    """As far as an epoch needs one."""

    def __init__(self, losses):
        self.losses = iter(losses)
        self.optimizer = SimpleNamespace(learning_rate=0.0)
        self.seen = []
        self.rates = []

    def train_on_batch(self, x, y, *, sample_weight, return_dict):
        self.seen.append((x[:, 0].astype(int).tolist(), y.tolist(), sample_weight))
        self.rates.append(self.optimizer.learning_rate)
        return {"loss": next(self.losses), "accuracy": 1.0}


def lesson(weights=None, seed=1):
    rows = np.arange(5, dtype=np.float32)[:, None]
    return Lesson(Examples(rows, lambda picked: picked), np.arange(5) % 2, weights, 2, seed)


def run(model, made, *, overall=1, stage=None):
    what = StageModel(model, None, None)
    return train_epoch(what, made, stage or Stage(2, 0.5, warmup=1), epoch=0, overall=overall, on_step=lambda *_: None)


def test_every_row_is_seen_once_with_its_label_and_weight():
    model = Model([1.0, 2.0, 4.0])
    steps = run(model, lesson(np.arange(5, dtype=np.float32)))
    assert sorted(row for rows, _, _ in model.seen for row in rows) == [0, 1, 2, 3, 4]
    for rows, labels, weights in model.seen:
        assert labels == [row % 2 for row in rows]
        assert weights.tolist() == rows
    assert model.rates == pytest.approx([0.5 / 3, 1 / 3, 0.5])
    # The last step has one row, and counts as one.
    assert steps.loss == pytest.approx((1 * 2 + 2 * 2 + 4 * 1) / 5)
    assert (steps.images, steps.rate) == (5, pytest.approx(1 / 3))


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, overall):
        model = Model([1.0] * 3)
        run(model, lesson(seed=seed), overall=overall)
        return [rows for rows, _, _ in model.seen]

    assert order(1, 1) == order(1, 1)
    assert len({str(order(seed, overall)) for seed in (1, 2, 3) for overall in (1, 2, 3)}) > 4


def test_first_step_tells_nothing_of_the_others(monkeypatch):
    now_s, told = [0.0], []

    class Slow(Model):
        def train_on_batch(self, x, y, *, sample_weight, return_dict):
            # The first makes the network's code.
            now_s[0] += 1.0 if self.seen else 600.0
            return super().train_on_batch(x, y, sample_weight=sample_weight, return_dict=return_dict)

    monkeypatch.setattr("edgewise.train.steps.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    made = Lesson(Examples(np.zeros((5, 1), np.float32), lambda picked: picked), np.zeros(5, np.int64), None, 1, 1)
    what = StageModel(Slow([1.0] * 5), None, None)
    train_epoch(what, made, Stage(1), epoch=0, overall=1, on_step=lambda share, whole_s, _: told.append(whole_s))
    assert told == [None, None, None, 5.0, 5.0]


def test_loss_that_is_no_number_ends_the_training():
    with pytest.raises(
        FailedPreconditionError, match=r"in epoch 7: a learning rate of 0\.5 is too high for this network"
    ):
        run(Model([1.0, float("nan")]), lesson(), overall=7, stage=Stage(2, 0.5))
