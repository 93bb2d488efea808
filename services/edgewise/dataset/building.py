"""Builds a dataset: reads every picture once, keeps no more of it in memory than what it looks like, and writes all or nothing."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.dataset import augmenting, normalizing, parallel
from edgewise.dataset.doubles import MOST_NAMED, KeptPicture, without_doubles
from edgewise.dataset.draws import fraction
from edgewise.dataset.grouping import Group, group
from edgewise.dataset.keeping import kept_sources, kept_splits
from edgewise.dataset.likeness import near_pairs
from edgewise.dataset.normalizing import BadPictureError
from edgewise.dataset.settings import BuildSettings
from edgewise.dataset.sources import SourcePicture, find
from edgewise.dataset.splitting import Divided, divide
from edgewise.dataset.staging import check_free, staged
from edgewise.dataset.visits import Parting, kept_apart, named
from edgewise.protocols.dataset_manifest import (
    MANIFEST,
    SPLITS,
    TRAIN,
    Dataset,
    DatasetImage,
    encode_dataset,
    read_dataset,
)
from edgewise.protocols.documents import time_text

Tell = Callable[[str, int, int], None]
"""Takes what is being done, how many are done, and how many there are."""

_NAME_DIGITS: Final = 16
_INCOMING: Final = "incoming"
_MEAN_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Built:
    """What came out of a build.

    Attributes:
        dataset: as its manifest says.
        doubles: pictures that were there already, byte for byte as they are kept.
        groups: of pictures that stay together.
        joined: pictures that nearly equal another one.
        parted: visits in two splits, as an earlier dataset had them; cuts: of visits of more than a day, each in its longest pause.
        moved: groups that went elsewhere than drawn, so that each class is where it should be.
        bad: files that were passed over, and why.
        passed_over: how many entries were none to train on, by why.
        took_s: seconds.
    """

    dataset: Dataset
    doubles: int
    groups: int
    joined: int
    moved: int
    parted: tuple[Parting, ...]
    cuts: tuple[Parting, ...]
    bad: tuple[str, ...]
    passed_over: dict[str, int]
    took_s: float


def build(paths: Sequence[Path], out: Path, settings: BuildSettings, *, tell: Tell, created_s: float) -> Built:
    """Build a dataset.

    Args:
        paths: directories with a folder for each class, exports, lists.
        out: the dataset's directory, not there yet.
        tell: is told how far it is.
        created_s: seconds since the epoch.
    Raises:
        EdgewiseError: there is nothing to build of, a picture is bad or has two labels, the pictures cannot be split, or the disk
            is full. Nothing is left then.
    """
    began_s = time.monotonic()
    check_free(out)
    _check_apart(paths, out)
    earlier = read_dataset(settings.keep) if settings.keep else None
    found = find(paths, settings)
    if not found.pictures:
        passed = ", ".join(f"{count} {why}" for why, count in sorted(found.passed_over.items()))
        there = f" (passed over: {passed})" if passed else ""
        raise FailedPreconditionError(
            f"there are no labelled pictures in {', '.join(map(str, paths))}{there}; expected some of two classes or more"
        )
    with staged(out, "dataset") as stage, normalizing.guarded():
        kept, bad = _normalized(found.pictures, stage, settings, tell)
        unique = without_doubles(kept)
        unique = named(unique, kept_sources(earlier, unique) if earlier else {})
        classes = _classes(unique, settings)
        tell("comparing", 0, len(unique))
        joined: set[int] = set()
        groups = group(
            [each.sources for each in unique],
            [each.sha256 for each in unique],
            _noted(near_pairs(np.stack([each.bits for each in unique]), settings.near_bits), joined),
        )
        divided = _divided(unique, groups, settings, earlier)
        originals = _placed(unique, groups, divided, stage)
        copies = _augmented(originals, stage, settings, tell)
        dataset = Dataset(
            name=settings.name,
            classes=classes,
            seed=settings.seed,
            created=time_text(created_s),
            size=settings.size,
            mean=_mean(unique, originals),
            images=tuple(sorted((*originals, *copies), key=lambda image: image.file)),
            build={**settings.value(), "keep": earlier.digest if earlier else ""},
        )
        _write_lists(dataset, stage)
        (stage / MANIFEST).write_bytes(encode_dataset(dataset))
    parted, cuts = kept_apart(dataset)
    return Built(
        dataset,
        doubles=len(kept) - len(unique),
        groups=len(groups),
        joined=len(joined),
        moved=len(divided.moved),
        parted=tuple(parted),
        cuts=tuple(cuts),
        bad=tuple(bad),
        passed_over=found.passed_over,
        took_s=time.monotonic() - began_s,
    )


def list_name(split: str) -> str:
    """The file that lists a split's pictures."""
    return f"{split}.txt"


def list_text(dataset: Dataset, split: str) -> str:
    """A split's pictures, shuffled: a line each with the file and the index of its class."""
    indices = {label: index for index, label in enumerate(dataset.classes)}
    images = sorted(dataset.of_split(split), key=lambda image: fraction(dataset.seed, "list", image.file))
    return "".join(f"{image.file} {indices[image.label]}\n" for image in images)


def _check_apart(paths: Sequence[Path], out: Path) -> None:
    """The next build would take the dataset for pictures."""
    for path in paths:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise InvalidArgumentError(
                f"{out} lies in {path}, which is what it is built of; name a directory elsewhere"
            )


def _normalized(
    pictures: Sequence[SourcePicture], stage: Path, settings: BuildSettings, tell: Tell
) -> tuple[list[KeptPicture], list[str]]:
    """Write each picture as it will be kept.

    Returns: the pictures, and those that are none, with the reasons.
    Raises: InvalidArgumentError: there are such, and they were not to be passed over.
    """
    incoming = stage / _INCOMING
    incoming.mkdir()

    def work(given: SourcePicture) -> KeptPicture | str:
        try:
            made = normalizing.normalize(given.path, settings.size, settings.fit, settings.max_pixels)
        except BadPictureError as error:
            return f"{given.path} {error.message}"
        (incoming / f"{made.sha256}{made.suffix}").write_bytes(made.content)
        return KeptPicture(given, made.sha256, made.suffix, made.bits, made.mean)

    kept: list[KeptPicture] = []
    bad: list[str] = []
    for done, made in enumerate(parallel.in_order(work, pictures), 1):
        if isinstance(made, str):
            bad.append(made)
        else:
            kept.append(made)
        tell("reading", done, len(pictures))
    if bad and not settings.skip_bad:
        raise InvalidArgumentError(_bad_text(bad))
    if not kept:
        raise FailedPreconditionError(f"none of the {len(pictures)} files is a picture; the first: {bad[0]}")
    return kept, bad


def _bad_text(bad: Sequence[str]) -> str:
    some = "one file cannot" if len(bad) == 1 else f"{len(bad)} files cannot"
    more = [f"and {len(bad) - MOST_NAMED} more"] if len(bad) > MOST_NAMED else []
    lines = "".join(f"\n  {line}" for line in [*bad[:MOST_NAMED], *more])
    return f"{some} be trained on; mend or remove them, or pass them over with --skip-bad:{lines}"


def _noted(pairs: Iterator[tuple[int, int]], joined: set[int]) -> Iterator[tuple[int, int]]:
    """The pairs as they come, since a camera before which nothing moves has millions; who is in one goes to `joined`."""
    for pair in pairs:
        joined.update(pair)
        yield pair


def _classes(pictures: Sequence[KeptPicture], settings: BuildSettings) -> tuple[str, ...]:
    found = {picture.given.label for picture in pictures}
    for label in settings.classes:
        if label not in found:
            raise FailedPreconditionError(
                f"there is no picture of the class {label!r}; add some, or take it out of classes"
            )
    if len(found) < 2:
        raise FailedPreconditionError(
            f"all {len(pictures)} pictures are of the class {next(iter(found))!r}; expected two classes or more"
        )
    return settings.classes or tuple(sorted(found))


def _divided(
    pictures: Sequence[KeptPicture], groups: Sequence[Group], settings: BuildSettings, earlier: Dataset | None
) -> Divided:
    return divide(
        [each.key for each in groups],
        [Counter(pictures[index].given.label for index in each.members) for each in groups],
        settings.shares,
        settings.seed,
        titles=[
            f"the source {each.sources[0]!r}" if each.sources else str(pictures[each.members[0]].given.path)
            for each in groups
        ],
        kept=kept_splits(earlier, groups, pictures) if earlier else {},
        allow_missing=settings.allow_missing,
    )


def _placed(
    pictures: Sequence[KeptPicture], groups: Sequence[Group], divided: Divided, stage: Path
) -> list[DatasetImage]:
    """Move each picture to its split and class.

    Returns: the originals in the order of the pictures.
    """
    split_of = {
        index: SPLITS[split] for each, split in zip(groups, divided.splits, strict=True) for index in each.members
    }
    placed = []
    for index, picture in enumerate(pictures):
        image = DatasetImage(
            file=_file(split_of[index], picture.given.label, picture.sha256, picture.suffix),
            sha256=picture.sha256,
            label=picture.given.label,
            split=split_of[index],
            source=picture.given.source,
            origin=picture.given.origin,
            synthetic=picture.given.synthetic,
            taken=picture.taken,
        )
        (stage / image.file).parent.mkdir(parents=True, exist_ok=True)
        (stage / _INCOMING / f"{picture.sha256}{picture.suffix}").rename(stage / image.file)
        placed.append(image)
    (stage / _INCOMING).rmdir()
    return placed


def _file(split: str, label: str, sha256: str, suffix: str) -> str:
    return f"{split}/{label}/{sha256[:_NAME_DIGITS]}{suffix}"


def _augmented(
    originals: Sequence[DatasetImage], stage: Path, settings: BuildSettings, tell: Tell
) -> list[DatasetImage]:
    """Make the copies for train. One that equals a picture that is there is left out."""
    augmentation = settings.augmentation
    if not augmentation.changes:
        return []

    def work(original: DatasetImage) -> list[tuple[DatasetImage, bytes]]:
        return list(_copies(original, (stage / original.file).read_bytes(), settings))

    train = [image for image in originals if image.split == TRAIN]
    there = {image.sha256 for image in originals}
    copies = []
    for done, made in enumerate(parallel.in_order(work, train), 1):
        for image, content in made:
            if image.sha256 not in there:
                there.add(image.sha256)
                (stage / image.file).write_bytes(content)
                copies.append(image)
        tell("augmenting", done, len(train))
    return copies


def _copies(original: DatasetImage, content: bytes, settings: BuildSettings) -> Iterator[tuple[DatasetImage, bytes]]:
    picture = normalizing.open_kept(content)
    suffix = Path(original.file).suffix
    for copy in range(1, settings.augmentation.copies + 1):
        drawn = augmenting.draw(settings.augmentation, settings.seed, original.sha256, copy)
        made = normalizing.encode(augmenting.apply(picture, drawn), suffix)
        sha256 = normalizing.sha256_of(made)
        yield (
            replace(
                original,
                file=_file(original.split, original.label, sha256, suffix),
                sha256=sha256,
                augmented_from=original.file,
                augmentation=drawn,
                taken=(),
            ),
            made,
        )


def _mean(pictures: Sequence[KeptPicture], originals: Sequence[DatasetImage]) -> tuple[float, float, float]:
    """Over the originals of train, each of which counts the same whatever its size."""
    means = [picture.mean for picture, image in zip(pictures, originals, strict=True) if image.split == TRAIN]
    # An exact sum does not depend on the order.
    red, green, blue = (round(math.fsum(each) / len(means), _MEAN_DIGITS) for each in zip(*means, strict=True))
    return red, green, blue


def _write_lists(dataset: Dataset, stage: Path) -> None:
    for split in SPLITS:
        (stage / list_name(split)).write_text(list_text(dataset, split), encoding="utf-8")
