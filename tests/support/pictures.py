"""Pictures for tests: made up, each unlike the others unless it is to be like one."""

import io

import numpy as np
from PIL import Image


def picture(number, size=(32, 24)):
    """An RGB picture of large grains, drawn from its number."""
    grains = np.random.default_rng(number).integers(30, 226, (9, 9, 3), np.uint8)
    return Image.fromarray(grains).resize(size, Image.Resampling.BICUBIC)


def content(image, kind="PNG", **words):
    """The file of a picture."""
    out = io.BytesIO()
    image.save(out, kind, **words)
    return out.getvalue()


def nearly(image, by=3):
    """The same picture, a shade brighter: another file, the same look."""
    return Image.fromarray((np.asarray(image).astype(int) + by).clip(0, 255).astype(np.uint8))


def folder(root, counts, size=(32, 24), first=0):
    """A folder for each class with so many pictures, all unlike each other; returns root."""
    number = first
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            (root / label / f"{place:03d}.png").write_bytes(content(picture(number, size)))
            number += 1
    return root
