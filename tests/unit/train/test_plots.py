"""What is drawn of a training can be read."""

import pytest

from edgewise.train.curves import Epoch
from edgewise.train.plots import Shown, drawings

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    "rates",
    [(0.003,), (0.003, 0.0035), (0.0009, 0.0011), (0.01, 0.0001), (1.0, 1e-3, 1e-7), (0.002, 0.0), (0.0, 0.0)],
)
def test_learning_rates_have_three_numbers_beside_them(rates):
    epochs = tuple(Epoch(1, at, rate, 1.0, 0.5, 1.0, 0.5, 1.0, 9.0, 1) for at, rate in enumerate(rates, 1))
    drawing = drawings(Shown(epochs, 1, None, ("cat", "dog"), ((1, 0), (0, 1)), ()))[0]
    assert drawing.name == "learning-rate"
    (axes,) = drawing.draw().axes
    low, high = axes.get_ylim()
    assert all(low <= rate <= high for rate in rates if rate)
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert len(ticks) >= 3
    texts = axes.yaxis.get_major_formatter().format_ticks(ticks)
    assert len(set(texts)) == len(texts)
