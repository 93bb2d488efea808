"""Pictures of three patterns, drawn from a seed: something that a small network learns in seconds. Runs on Python 3.6 as well, which CNTK needs."""

import numpy as np

CLASSES = ("horizontal", "vertical", "chequered")
SIDE = 32


def draw(count, seed):
    """Draw pictures.

    Returns: float32[count, 3, 32, 32] in 0..1, and the class of each, int64[count].
    """
    generator = np.random.RandomState(seed)
    classes = np.arange(count) % len(CLASSES)
    row, column = np.mgrid[0:SIDE, 0:SIDE]
    pictures = np.empty((count, 3, SIDE, SIDE), np.float32)
    for number, kind in enumerate(classes):
        width, shift = generator.randint(3, 7), generator.randint(0, 8)
        across, along = (row + shift) // width % 2, (column + shift) // width % 2
        pattern = (across, along, (across + along) % 2)[kind]
        colours = generator.rand(2, 3, 1, 1)
        pictures[number] = np.where(pattern, colours[0], colours[1]) + generator.randn(3, SIDE, SIDE) * 0.08
    return np.clip(pictures, 0, 1).astype(np.float32), classes.astype(np.int64)
