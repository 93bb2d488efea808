"""A camera over a pet door at night, played from the example photographs: what it sees is asked of a model, as an app would.

    python examples/field/door_camera.py --nights 100               # ask the gateway; what it keeps of it is up to its rules
    python examples/field/door_camera.py --nights 3 --first 1001    # other nights, of the same visitors

The dog and one of the two cats of the house come by each night, and three others. Each time they are seen otherwise: cropped, turned, dark, in
infrared's grey, with a sensor's noise, out of focus or moved, and saved as small as such cameras do. These views are computed, not
photographed; a night is the same each time. Its name (`night-3`) goes along as the source of its views, so that a dataset keeps
the views of one night together.
"""

import argparse
import csv
import hashlib
import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from edgewise.client import Client, EdgewiseError

IMAGES = Path(__file__).parents[1] / "images"
DOG, CATS = "dog.jpg", ("cat.jpg", "kitten.jpg")
OTHERS = 3
"""So many of the others come by in a night."""
SIZE = (320, 240)
_FULL_WELL_ELECTRONS = 300.0


def visitors() -> list[tuple[Path, str]]:
    """The photographs and what is on them: dog, cat or other."""
    with (IMAGES / "labels.csv").open(newline="") as file:
        return [(IMAGES / row["file"], row["label"]) for row in csv.DictReader(file)]


def of_a_night(night: int) -> list[tuple[Path, str]]:
    """Who comes by."""
    known = {photograph.name: (photograph, truth) for photograph, truth in visitors()}
    draws = _draws(f"{night}")
    others = sorted(known.keys() - {DOG, *CATS})
    names = [DOG, CATS[draws.integers(len(CATS))], *draws.choice(others, OTHERS, replace=False)]
    return [known[name] for name in draws.permutation(names)]


def seen(photograph: Path, night: int) -> bytes:
    """A night's view of a photograph, as a JPEG file of 320 by 240 pixels."""
    draws = _draws(f"{night} {photograph.name}")
    with Image.open(photograph) as file:
        picture = file.convert("L")
    picture = _framed(picture, draws)
    if draws.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(draws.uniform(0.5, 2.5)))
    light = np.asarray(picture, np.float32) / 255.0
    if draws.random() < 0.5:
        light = _moved(light, int(draws.integers(2, 9)))
    light = light ** draws.uniform(1.2, 2.2) * _lamp(draws) * draws.uniform(0.12, 0.55)
    # Few photons, then an amplifier with noise of its own, then the camera's automatic gain.
    electrons = draws.poisson(light * _FULL_WELL_ELECTRONS) + draws.normal(0.0, 6.0, light.shape)
    gained = electrons / max(float(np.percentile(electrons, 99.0)), 1.0) * draws.uniform(0.5, 0.9)
    grey = Image.fromarray((np.clip(gained, 0.0, 1.0) * 255.0).astype(np.uint8))
    content = io.BytesIO()
    grey.convert("RGB").save(content, "JPEG", quality=int(draws.integers(30, 60)))
    return content.getvalue()


def _draws(what: str) -> np.random.Generator:
    """The same for the same words."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(what.encode()).digest()[:8]))


def _framed(picture: Image.Image, draws: np.random.Generator) -> Image.Image:
    """Turned a little, and a part of it."""
    picture = picture.rotate(draws.uniform(-12.0, 12.0), Image.Resampling.BILINEAR)
    share = draws.uniform(0.65, 0.95)
    width, height = (round(side * share) for side in picture.size)
    left, top = (
        int(draws.integers(0, side - part + 1)) for side, part in zip(picture.size, (width, height), strict=True)
    )
    picture = picture.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BILINEAR)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws.random() < 0.5 else picture


def _moved(light: np.ndarray, pixels: int) -> np.ndarray:
    return np.mean([np.roll(light, shift, axis=1) for shift in range(pixels)], axis=0)


def _lamp(draws: np.random.Generator) -> np.ndarray:
    """How much light falls where: one lamp, somewhere, and it fades."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    distance = np.hypot(x / SIZE[0] - draws.uniform(0.2, 0.8), y / SIZE[1] - draws.uniform(0.2, 0.8))
    return 1.0 / (1.0 + (distance / draws.uniform(0.3, 0.7)) ** 2)


def views(nights: range) -> Iterator[tuple[str, str, str, bytes]]:
    """(name, source, truth, JPEG file) of what is seen, one night after the other."""
    for night in nights:
        for photograph, truth in of_a_night(night):
            yield f"{night}-{photograph.stem}", f"night-{night}", truth, seen(photograph, night)


def ask(arguments: argparse.Namespace, nights: range) -> int:
    """Ask the model what each view shows, and count how often it is right."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    failed = 0
    with Client(arguments.url, timeout_s=10.0) as client:
        for name, source, truth, content in views(nights):
            try:
                answer = client.predict(arguments.model, content, source=source, route="edge-only")
            except EdgewiseError as error:
                failed += 1
                print(f"{name}: {error}", file=sys.stderr)
                continue
            asked[truth] += 1
            right[truth] += answer.outputs["verdict"][0].decode() == truth
            answered[f"{answer.site} version {answer.version}"] += 1
    for truth in sorted(asked):
        print(f"{truth:6} {right[truth]:4} of {asked[truth]:4} right ({right[truth] / asked[truth]:.0%})")
    print(
        f"answered by {', '.join(f'{name}: {count}' for name, count in sorted(answered.items())) or 'nobody'}; {failed} failed"
    )
    return 1 if failed else 0


def keep(directory: Path, nights: range) -> int:
    """Write the views to a directory, and what is on them beside them; nights that are there stay."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "labels.csv"
    kept: dict[str, tuple[str, str]] = {}
    if path.exists():
        with path.open(newline="") as file:
            kept = {row["file"]: (row["label"], row["source"]) for row in csv.DictReader(file)}
    for name, source, truth, content in views(nights):
        (directory / f"{name}.jpg").write_bytes(content)
        kept[f"{name}.jpg"] = truth, source
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "label", "source"))
        rows.writerows((name, *said) for name, said in kept.items())
    there = len({source for _, source in kept.values()})
    print(f"{len(nights)} {'night' if len(nights) == 1 else 'nights'} written; {there} in {directory}")
    return 0


def main() -> int:
    """Play the camera."""
    parser = argparse.ArgumentParser(
        description="Plays a camera over a pet door at night from the example photographs."
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the gateway (default: %(default)s)")
    parser.add_argument("--model", default="pets", help="default: %(default)s")
    parser.add_argument("--nights", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--first", type=int, default=1, help="number of the first night (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the views and labels.csv there, and ask nobody")
    arguments = parser.parse_args()
    if arguments.nights < 1:
        parser.error(f"found --nights {arguments.nights}, expected 1 or more")
    nights = range(arguments.first, arguments.first + arguments.nights)
    return keep(arguments.keep, nights) if arguments.keep else ask(arguments, nights)


if __name__ == "__main__":
    sys.exit(main())
