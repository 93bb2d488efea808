"""A small dataset of drawn pictures: discs, squares and stripes, which a network tells apart after seconds."""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from edgewise.protocols.dataset_manifest import MANIFEST, Dataset, DatasetImage, encode_dataset

SPLITS = {"train": 6, "validation": 2, "test": 3}


def drawn(kind: str, generator: np.random.Generator, side: int = 256) -> Image.Image:
    """One picture: "cat" is a disc, "dog" a square, "other" stripes."""
    ground, ink = (tuple(int(value) for value in generator.integers(low, low + 100, 3)) for low in (20, 150))
    picture = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(picture)
    size = int(generator.integers(side // 3, side // 2))
    left, top = (int(value) for value in generator.integers(10, side - size - 10, 2))
    if kind == "cat":
        pen.ellipse((left, top, left + size, top + size), fill=ink)
    elif kind == "dog":
        pen.rectangle((left, top, left + size, top + size), fill=ink)
    else:
        for line in range(0, side, 24):
            pen.line((0, line, side, line + left // 3), fill=ink, width=8)
    return picture


def write_dataset(
    directory: Path, *, seed: int = 1, counts: dict[str, int] = SPLITS, classes=("cat", "dog", "other")
) -> Dataset:
    """Write a dataset, as `edgewise data build` would."""
    generator = np.random.default_rng(seed)
    images = []
    for split, count in counts.items():
        for label in classes:
            for _ in range(count):
                target = BytesIO()
                drawn(label, generator).save(target, format="JPEG", quality=92)
                content = target.getvalue()
                digest = hashlib.sha256(content).hexdigest()
                file = f"{split}/{label}/{digest[:16]}.jpg"
                (directory / file).parent.mkdir(parents=True, exist_ok=True)
                (directory / file).write_bytes(content)
                images.append(
                    DatasetImage(file, digest, label, split, source=split, origin=f"file:{file}", synthetic=True)
                )
    dataset = Dataset(
        name="drawn",
        classes=tuple(classes),
        seed=seed,
        created="2026-11-23T10:00:00Z",
        size=(256, 256),
        mean=(100.0, 100.0, 100.0),
        images=tuple(sorted(images, key=lambda image: image.file)),
    )
    (directory / MANIFEST).write_bytes(encode_dataset(dataset))
    return dataset
