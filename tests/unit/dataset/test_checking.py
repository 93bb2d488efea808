import shutil
from dataclasses import replace

import pytest

from edgewise.dataset.building import build, list_name, list_text
from edgewise.dataset.checking import check
from edgewise.dataset.normalizing import open_kept, sha256_of
from edgewise.dataset.settings import Augmentation, BuildSettings, Change
from edgewise.dataset.telling import checked_text
from edgewise.protocols.dataset_manifest import SPLITS, DatasetImage, encode_dataset, read_dataset
from support.pictures import content, folder, nearly


def quiet(step, done, total):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    settings = BuildSettings("pets", augmentation=Augmentation((Change.ROTATE,)))
    build([folder(root / "pictures", {"cat": 8, "dog": 8})], root / "out", settings, tell=quiet, created_s=0.0)
    return root / "out"


@pytest.fixture
def dataset(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def rewritten(directory, images):
    """The dataset with other pictures in its manifest, which is right in itself."""
    made = replace(read_dataset(directory), images=tuple(sorted(images, key=lambda image: image.file)))
    (directory / "dataset.json").write_bytes(encode_dataset(made))
    for split in SPLITS:
        (directory / list_name(split)).write_text(list_text(made, split))
    return check(directory, tell=quiet)


def first(directory, split, *, augmented=False):
    return next(image for image in read_dataset(directory).of_split(split) if bool(image.augmented_from) is augmented)


def added(directory, image, split, data):
    file = f"{split}/{image.label}/{sha256_of(data)[:16]}.png"
    (directory / file).write_bytes(data)
    return DatasetImage(file, sha256_of(data), image.label, split)


def test_files_that_are_not_what_they_were(dataset):
    one, two = first(dataset, "train"), first(dataset, "test")
    (dataset / one.file).unlink()
    (dataset / two.file).write_bytes(b"other")
    (dataset / "train" / "cat" / "mine.png").write_bytes(b"x")
    (dataset / "test.txt").write_text("")
    checked = check(dataset, tell=quiet)
    assert sorted(checked.damages) == sorted(
        [
            f"{one.file} is missing",
            f"{two.file} was changed: its digest is another one",
            "train/cat/mine.png is not in the manifest",
            "test.txt does not list what the manifest has of test",
        ]
    )
    assert f"{dataset} is damaged: 4 files are not what the manifest says" in checked_text(checked, dataset)


def test_the_same_file_in_two_splits(dataset):
    image = first(dataset, "train")
    other = added(dataset, image, "test", (dataset / image.file).read_bytes())
    leaks = rewritten(dataset, [*read_dataset(dataset).images, other]).leaks
    assert f"{other.file} and {image.file} are the same file" in leaks


def test_a_source_in_two_splits(dataset):
    images = read_dataset(dataset).images
    one, two = first(dataset, "train"), first(dataset, "test")
    marked = [
        replace(image, source="door 2026-11-20") if image.file in {one.file, two.file} else image for image in images
    ]
    leaks = rewritten(dataset, marked).leaks
    assert leaks == (f"the source 'door 2026-11-20' is in test and train: {two.file} and {one.file}",)


def test_nearly_the_same_picture_in_two_splits(dataset):
    image = first(dataset, "train")
    data = content(nearly(open_kept((dataset / image.file).read_bytes())))
    other = added(dataset, image, "validation", data)
    checked = rewritten(dataset, [*read_dataset(dataset).images, other])
    assert checked.damages == ()
    assert len(checked.leaks) == 1
    assert set(checked.leaks[0].split(" ")) >= {image.file, other.file, "nearly"}
    assert "leaks: 1 thing is in two splits" in checked_text(checked, dataset)


def test_a_copy_outside_of_train(dataset):
    copy = first(dataset, "train", augmented=True)
    moved = replace(copy, split="test", file=copy.file.replace("train/", "test/"))
    (dataset / copy.file).rename(dataset / moved.file)
    leaks = rewritten(dataset, [moved if image == copy else image for image in read_dataset(dataset).images]).leaks
    assert leaks == (f"{moved.file} was made of {copy.augmented_from}",)
