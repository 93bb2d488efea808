"""What a training's weights were trained on before: pictures that they have learned from must not be what the new network is judged by."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.protocols.dataset_manifest import TEST, TRAIN, VALIDATION, Dataset, DatasetImage, read_dataset
from edgewise.train.run_directory import RunDirectory
from edgewise.train.settings import FROM_SCRATCH, PUBLISHED, TrainSettings

_LEARNED: Final = {TEST: (TRAIN, VALIDATION), VALIDATION: (TRAIN,)}
"""By split, in which splits its pictures must not have been before. In validation they may stay: it chooses the epoch, then as now."""
_SAMPLE: Final = "sample:"


def begun_from(settings: TrainSettings, dataset: Dataset) -> dict[str, Any] | None:
    """What the weights are that a training begins from, and on what they were trained, as run.json has it.

    Returns: None where it begins from scratch, from published weights, or from a file that is not there:
        weights: the file.
        sha256: of it.
        trainings: by which it came to be, the last first: name, dataset (name, path, digest), and `unknown`: why their pictures could not be
            compared with the dataset's, "" where they were.
        unknown: why nothing, or no more, is known of what it was trained on; "" where all is.

    Raises: FailedPreconditionError: pictures that it learned from are in test or validation now.
    """
    path = Path(settings.weights)
    if settings.weights in {FROM_SCRATCH, PUBLISHED} or not path.is_file():
        return None
    trainings, unknown = _trainings(path)
    for training in trainings:
        training["unknown"] = _compared(path, training["dataset"], dataset)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"weights": str(path), "sha256": sha256, "trainings": trainings, "unknown": unknown}


def doubts(found: Mapping[str, Any]) -> list[str]:
    """Why nobody can say that a network is judged by what it has not learned from; none where that is so.

    Args:
        found: what run.json says of its training.
    """
    before = found.get("begun_from")
    if not before:
        return []
    reasons = [*(each["unknown"] for each in before["trainings"]), before["unknown"]]
    return [
        f"whether {before['weights']} has learned from pictures of validation and test cannot be told: {reason}; if it has, the accuracy "
        "looks better than it is"
        for reason in reasons
        if reason
    ]


def lineage(found: Mapping[str, Any]) -> dict[str, str]:
    """Of the weights, for a release.

    Args:
        found: as for `doubts`.
    """
    before = found.get("begun_from")
    if not before:
        return {}
    known = {"weights": before["sha256"]}
    if before["trainings"]:
        known["weights-dataset"] = before["trainings"][0]["dataset"]["digest"]
    return {**known, "weights-compared": "no" if doubts(found) else "yes"}


def _trainings(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Those by which weights came to be, the last first, and why no more is known; "" where all is."""
    trainings: list[dict[str, Any]] = []
    been: set[Path] = set()
    while path.parent not in been:
        been.add(path.parent)
        try:
            found = RunDirectory(path.parent).read()
        except NotFoundError:
            # What a library publishes has no run.json, and was trained on nothing of ours.
            return trainings, "" if path.suffix == ".h5" else f"no run.json lies beside {path}"
        except FailedPreconditionError as error:
            return trainings, error.message
        data = found["dataset"]
        trainings.append({"name": found["name"], "dataset": {key: data[key] for key in ("name", "path", "digest")}})
        if (before := found.get("begun_from")) is not None:
            earlier = ({"name": each["name"], "dataset": each["dataset"]} for each in before["trainings"])
            return [*trainings, *earlier], before["unknown"]
        if found["settings"]["weights"] in {FROM_SCRATCH, PUBLISHED}:
            return trainings, ""
        # Of a training that did not write down what it began from.
        path = Path(found["settings"]["weights"])
    return trainings, f"{path} was overwritten by a training that began from it"


def _compared(path: Path, told: Mapping[str, str], dataset: Dataset) -> str:
    """Hold a dataset against one that weights were trained on.

    Args:
        told: name, path and digest of the latter.
    Returns: why that cannot be done; "" where it was.
    Raises: FailedPreconditionError: pictures that were learned from are what is judged by.
    """
    if told["digest"] == dataset.digest:
        return ""
    directory = Path(told["path"])
    what = f"the dataset {told['name']!r} ({told['digest'][:12]}) that it was trained on"
    try:
        before = read_dataset(directory)
    except (NotFoundError, InvalidArgumentError):
        return f"{what} is not in {directory} any more"
    if before.digest != told["digest"]:
        return f"{what} is not in {directory} any more, another one is"
    seen = {split: _seen(before, dataset, split) for split in _LEARNED}
    if any(seen.values()):
        raise FailedPreconditionError(_seen_text(path, directory, dataset, seen))
    return ""


def _seen(before: Dataset, dataset: Dataset, split: str) -> list[tuple[DatasetImage, DatasetImage]]:
    """Pictures of a split, each with one of an earlier dataset that was learned from and is the same, or of the same source."""
    # Of one size, another digest is another picture, whatever its name.
    by_name = (before.size, before.build.get("fit")) != (dataset.size, dataset.build.get("fit"))
    learned = {
        mark: image
        for image in before.images
        if image.split in _LEARNED[split]
        for mark in _marks(image, by_name=by_name)
    }
    found = []
    for image in dataset.of_split(split):
        known = next((learned[mark] for mark in _marks(image, by_name=by_name) if mark in learned), None)
        if known is not None:
            found.append((image, known))
    return found


def _marks(image: DatasetImage, *, by_name: bool) -> Iterator[tuple[str, str]]:
    """By what a picture is known again."""
    yield "sha256", image.sha256
    if image.origin and (by_name or image.origin.startswith(_SAMPLE)):
        yield "origin", image.origin
    if image.source:
        yield "source", image.source


def _seen_text(
    path: Path,
    directory: Path,
    dataset: Dataset,
    seen: Mapping[str, Sequence[tuple[DatasetImage, DatasetImage]]],
) -> str:
    counts = " and ".join(
        f"{len(pairs)} of {len(dataset.of_split(split))} pictures of {split}" for split, pairs in seen.items() if pairs
    )
    image, known = next(pair for pairs in seen.values() for pair in pairs)
    same = "the same picture" if image.sha256 == known.sha256 else "of the same source or sample"
    return (
        f"{path} was trained on what it would be judged by: {counts} (such as {image.file}: {known.file} in {directory} is {same}), so the "
        f"accuracy would look better than it is; build the dataset so that they stay where they were: edgewise data build ... --keep {directory}"
    )
