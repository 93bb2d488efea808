"""Which pictures are nearly the same: one shot saved twice, at another quality or size, or the next frame of a camera that saw nothing move.

A picture's difference hash has a bit for each step between neighbours of a tiny grey copy: brighter or not, 64 to the right and
64 downward. What it looks like decides, not how it was saved. Source: N. Krawetz, "Kind of Like That" (2013), dHash.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS: Final = 128
_SIDE: Final = 8
_BLOCK_PAIRS: Final = 1 << 21
"""So many pairs are looked at at once: some tens of megabytes."""


def picture_bits(picture: Image.Image) -> NDArray[np.uint64]:
    """The difference hash: uint64[2]."""
    grey = picture.convert("L")
    across = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0))
    down = np.asarray(grey.resize((_SIDE, _SIDE + 1), Image.Resampling.LANCZOS, reducing_gap=3.0))
    bits = np.concatenate([(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()])
    return np.packbits(bits).view(np.uint64)


def near_pairs(bits: NDArray[np.uint64], most: int) -> Iterator[tuple[int, int]]:
    """Pairs that connect all pictures that are nearly the same, each with each or through others.

    Args:
        bits: uint64[pictures, 2].
        most: bits in which two may differ.
    Yields: indices of two different pictures. Those with the same bits come with the first of them only. Every pair of different bits is
        looked at: 10,000 pictures take a second, 100,000 two minutes.
    """
    if not len(bits):
        return
    different, first, place = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    for index, same in enumerate(first[place.ravel()].tolist()):
        if same != index:
            yield same, index
    begin = 0
    while begin < len(different):
        rows = max(1, _BLOCK_PAIRS // (len(different) - begin))
        block, rest = different[begin : begin + rows], different[begin:]
        differing = np.bitwise_count(block[:, None, 0] ^ rest[None, :, 0])
        differing += np.bitwise_count(block[:, None, 1] ^ rest[None, :, 1])
        here, there = np.nonzero(np.triu(differing <= most, 1))
        for one, other in zip(first[begin + here], first[begin + there], strict=True):
            yield int(one), int(other)
        begin += rows
