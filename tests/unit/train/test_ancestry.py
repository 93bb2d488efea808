"""A network is not judged by pictures that its weights have learned from, whichever training before did."""

import hashlib
import shutil
from dataclasses import replace

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.protocols.dataset_manifest import encode_dataset
from edgewise.train.ancestry import begun_from, doubts, lineage
from edgewise.train.describing import begun
from edgewise.train.pictures import View
from edgewise.train.run_directory import RunDirectory
from edgewise.train.settings import FROM_SCRATCH, PUBLISHED, Stage, TrainSettings
from edgewise.train.training import train
from support.drawn_dataset import write_dataset

SHOWN = View(36, 32, (127.0,) * 3, (128.0,) * 3)
COUNTS = {"train": 2, "validation": 2, "test": 2}


def settings(weights):
    return TrainSettings("alexnet", (Stage(1),), weights=str(weights), name="second")


def dataset(directory, seed=1, **changes):
    """A dataset of pictures without sources."""
    found = write_dataset(directory, seed=seed, counts=COUNTS, classes=("cat", "dog"))
    images = tuple(replace(image, source="") for image in found.images)
    return rewritten(directory, replace(found, images=images, **changes))


def rewritten(directory, found):
    directory.mkdir(exist_ok=True)
    found = replace(found, images=tuple(sorted(found.images, key=lambda image: image.file)))
    (directory / "dataset.json").write_bytes(encode_dataset(found))
    return found


def moved(found, where, **changes):
    """The dataset with all pictures of one split in another."""
    images = [
        replace(
            image,
            split=where.get(image.split, image.split),
            file=where.get(image.split, image.split) + image.file[len(image.split) :],
            **changes,
        )
        for image in found.images
    ]
    return replace(found, images=tuple(images), seed=7)


def trained(directory, found, source, weights=FROM_SCRATCH, *, written_down=True):
    """The directory of a training, as far as others look at it."""
    run = RunDirectory(directory)
    directory.mkdir()
    run.model.write_bytes(directory.name.encode())
    before = begun_from(settings(weights), found) if written_down else None
    run.write(begun(settings(weights), found, source, SHOWN, before))
    return run.model


@pytest.fixture
def first(tmp_path):
    return dataset(tmp_path / "A")


@pytest.fixture
def weights(tmp_path, first):
    return trained(tmp_path / "run-a", first, tmp_path / "A")


def refused(weights, found):
    with pytest.raises(FailedPreconditionError) as raised:
        begun_from(settings(weights), found)
    return raised.value.message


def test_what_begins_from_nothing_of_ours_comes_of_no_training(tmp_path, first):
    for word in (FROM_SCRATCH, PUBLISHED, tmp_path / "gone.keras"):
        assert begun_from(settings(word), first) is None
    published = tmp_path / "resnet50_notop.h5"
    published.write_bytes(b"x")
    found = {"begun_from": begun_from(settings(published), first)}
    assert doubts(found) == []
    assert lineage(found) == {"weights": hashlib.sha256(b"x").hexdigest(), "weights-compared": "yes"}
    assert lineage({}) == {}


def test_the_same_dataset_and_one_that_keeps_its_splits_are_good(tmp_path, first, weights):
    other = dataset(tmp_path / "B", seed=2)
    for found in (first, other, replace(first, seed=9, images=(*first.images, *other.images))):
        before = begun_from(settings(weights), found)
        assert [each["unknown"] for each in before["trainings"]] == [""]
        assert doubts({"begun_from": before}) == []
    assert lineage({"begun_from": before}) == {
        "weights": hashlib.sha256(b"run-a").hexdigest(),
        "weights-dataset": first.digest,
        "weights-compared": "yes",
    }


def test_pictures_that_were_learned_from_are_refused_where_they_judge(tmp_path, first, weights):
    message = refused(weights, moved(first, {"train": "test", "test": "train"}))
    assert message.startswith(
        f"{weights} was trained on what it would be judged by: 4 of 4 pictures of test (such as test/cat/"
    )
    assert message.endswith(
        f"in {tmp_path / 'A'} is the same picture), so the accuracy would look better than it is; build the dataset so that they stay where they "
        f"were: edgewise data build ... --keep {tmp_path / 'A'}"
    )


@pytest.mark.parametrize(
    ("where", "counts"),
    [
        ({"validation": "test", "test": "train"}, "4 of 4 pictures of test ("),
        ({"train": "validation", "validation": "train"}, "4 of 4 pictures of validation ("),
        ({"train": "test", "test": "validation", "validation": "train"}, "4 of 4 pictures of test ("),
    ],
)
def test_what_was_learned_from_by_split(first, weights, where, counts):
    assert counts in refused(weights, moved(first, where))


def test_what_was_not_learned_from_may_go_anywhere(first, weights):
    begun_from(settings(weights), moved(first, {"test": "validation", "validation": "train"}))


def test_other_pictures_of_the_same_source_are_refused(tmp_path, first, weights):
    day = replace(first, images=tuple(replace(image, source=f"door {image.split}") for image in first.images))
    weights = trained(tmp_path / "run-b", rewritten(tmp_path / "days", day), tmp_path / "days")
    other = dataset(tmp_path / "B", seed=2)
    begun_from(
        settings(weights), replace(other, images=tuple(replace(one, source="door test") for one in other.images))
    )
    seen = replace(other, images=tuple(replace(one, source="door train") for one in other.images))
    assert "is of the same source or sample" in refused(weights, seen)


@pytest.mark.parametrize(
    ("kind", "size", "leaks"),
    [("sample", (256, 256), True), ("file", (256, 256), False), ("file", (64, 64), True)],
)
def test_a_sample_is_known_by_its_id_and_a_file_by_its_name_where_the_size_is_another(
    tmp_path, first, kind, size, leaks
):
    def of(found):
        images = tuple(replace(image, origin=f"{kind}:{place}") for place, image in enumerate(found.images))
        return replace(found, images=images, size=size if found is not first else first.size)

    weights = trained(tmp_path / "run-b", rewritten(tmp_path / "A", of(first)), tmp_path / "A")
    again = of(moved(dataset(tmp_path / "B", seed=2), {"train": "test", "test": "train"}))
    if leaks:
        refused(weights, again)
    else:
        begun_from(settings(weights), again)


@pytest.mark.parametrize("written_down", [True, False], ids=["told by run.json", "looked for beside its weights"])
def test_every_training_of_a_chain_counts(tmp_path, first, weights, written_down):
    second = dataset(tmp_path / "B", seed=2)
    after = trained(tmp_path / "run-b", second, tmp_path / "B", weights, written_down=written_down)
    third = dataset(tmp_path / "C", seed=3)
    before = begun_from(settings(after), third)
    assert [(each["name"], each["dataset"]["digest"]) for each in before["trainings"]] == [
        ("second", second.digest),
        ("second", first.digest),
    ]
    assert lineage({"begun_from": before})["weights-dataset"] == second.digest
    assert f"--keep {tmp_path / 'A'}" in refused(after, moved(first, {"train": "test", "test": "train"}))


def test_what_cannot_be_compared_is_told_and_written_down(tmp_path, first, weights):
    other = dataset(tmp_path / "B", seed=2)
    rewritten(tmp_path / "A", replace(first, seed=5))
    (doubt,) = doubts({"begun_from": begun_from(settings(weights), other)})
    assert (
        f"is not in {tmp_path / 'A'} any more, another one is; if it has, the accuracy looks better than it is" in doubt
    )
    shutil.rmtree(tmp_path / "A")
    before = begun_from(settings(weights), other)
    assert before["trainings"][0]["unknown"].startswith(
        f"the dataset 'drawn' ({first.digest[:12]}) that it was trained on"
    )
    assert lineage({"begun_from": before})["weights-compared"] == "no"
    alone = tmp_path / "alone.keras"
    shutil.copy(weights, alone)
    (doubt,) = doubts({"begun_from": begun_from(settings(alone), other)})
    assert f"no run.json lies beside {alone}" in doubt
    (weights.parent / "run.json").write_text("{")
    assert "run.json cannot be read" in doubts({"begun_from": begun_from(settings(weights), other)})[0]


def test_weights_that_lie_where_what_came_of_them_was_written_end_the_chain(tmp_path, first, weights):
    run = RunDirectory(weights.parent)
    run.write(begun(settings(weights), first, tmp_path / "A", SHOWN))
    before = begun_from(settings(weights), first)
    assert len(before["trainings"]) == 1
    assert "was overwritten" in before["unknown"]


def test_a_training_is_refused_before_anything_is_written(tmp_path, first, weights):
    leaky = moved(first, {"train": "test", "test": "train"})
    rewritten(tmp_path / "B", leaky)
    with pytest.raises(FailedPreconditionError, match="was trained on what it would be judged by"):
        train(settings(weights), tmp_path / "B", tmp_path / "run-b", lambda _text: None)
    assert not (tmp_path / "run-b").exists()
