"""Confusion, precision, recall and the worst mistakes, counted by hand."""

import numpy as np
import pytest

from edgewise.train.evaluation import evaluate

CLASSES = ("cat", "dog", "other")
SAID = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.6, 0.4, 0.0]], np.float32)
ACTUAL = np.array([0, 0, 1, 1])


def test_confusion_accuracy_and_loss():
    found = evaluate(SAID, ACTUAL, CLASSES)
    assert found.confusion == ((1, 1, 0), (1, 1, 0), (0, 0, 0))
    assert (found.images, found.accuracy) == (4, 0.5)
    assert found.loss == pytest.approx(-np.log([0.8, 0.2, 0.9, 0.4]).mean(), rel=1e-6)


def test_class_without_pictures_has_no_recall_and_without_calls_no_precision():
    cat, dog, other = evaluate(SAID, ACTUAL, CLASSES).scores
    assert (cat.precision, cat.recall, cat.support) == (0.5, 0.5, 2)
    assert (dog.precision, dog.recall) == (0.5, 0.5)
    assert (other.precision, other.recall, other.support) == (None, None, 0)


def test_mistakes_are_the_surest_first():
    mistakes = evaluate(SAID, ACTUAL, CLASSES).mistakes
    assert [(one.row, one.actual, one.called) for one in mistakes] == [(1, "cat", "dog"), (3, "dog", "cat")]
    assert mistakes[0].sure == pytest.approx(0.7)


def test_right_class_of_probability_nothing_costs_much_and_not_everything():
    found = evaluate(np.array([[0.0, 1.0]], np.float32), np.array([0]), ("a", "b"))
    assert np.isfinite(found.loss)
