import json
from dataclasses import replace

import pytest

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.protocols.dataset_manifest import Dataset, DatasetImage, decode_dataset, encode_dataset, read_dataset

ORIGINAL = DatasetImage(
    "train/cat/60303ae22b998861.jpg", "6" * 64, "cat", "train", "north/door 2026-11-20", "file:a.jpg"
)
COPY = replace(
    ORIGINAL,
    file="train/cat/1111111111111111.jpg",
    sha256="1" * 64,
    augmented_from=ORIGINAL.file,
    augmentation={"rotate": -7.25, "flip": True},
)
DOG = DatasetImage("test/dog/2222222222222222.png", "2" * 64, "dog", "test", synthetic=True)
DATASET = Dataset(
    "pets", ("cat", "dog"), 1, "2026-11-23T10:00:00Z", (256, 320), (1.5, 2.0, 3.25), (COPY, ORIGINAL, DOG)
)


def changed(**values):
    return json.dumps({**json.loads(encode_dataset(DATASET)), **values}).encode()


def test_what_is_written_is_read():
    assert decode_dataset(encode_dataset(DATASET)) == DATASET


def test_splits_count_every_class():
    value = json.loads(encode_dataset(DATASET))
    assert value["splits"]["train"] == {"images": 2, "counts": {"cat": 2, "dog": 0}}
    assert value["splits"]["validation"] == {"images": 0, "counts": {"cat": 0, "dog": 0}}
    assert DATASET.of_split("train", augmented=False) == (ORIGINAL,)


def test_the_digest_does_not_depend_on_the_hour():
    assert replace(DATASET, created="2030-01-01T00:00:00Z").digest == DATASET.digest
    assert replace(DATASET, seed=2).digest != DATASET.digest
    assert json.loads(encode_dataset(DATASET))["digest"] == DATASET.digest


def test_a_manifest_that_was_changed_is_refused():
    with pytest.raises(InvalidArgumentError, match="digest: does not fit the rest: the manifest was changed"):
        decode_dataset(changed(name="other"))
    value = json.loads(encode_dataset(DATASET))
    value["splits"]["train"]["images"] = 3
    with pytest.raises(InvalidArgumentError, match="digest: does not fit"):
        decode_dataset(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "edgewise-dataset/2"}, "format: found 'edgewise-dataset/2', expected edgewise-dataset/1"),
        ({"classes": []}, "classes: found 0 classes"),
        ({"classes": ["cat", "../dog"]}, "classes[1]: found '../dog', expected 1 to 64 letters"),
        ({"classes": ["cat", "cat"]}, "classes: two have the same name"),
        ({"classes": ["cat", "dig"]}, "images[2].class: 'dog' is none of the classes (did you mean 'dig'?)"),
        ({"size": [0, 5]}, "size: found [0, 5], expected [height, width] in 1..8192, or null"),
        ({"mean": [1, 2]}, "mean: found [1, 2], expected three numbers in 0..255"),
        ({"build": 3}, "build: found 3, expected a table [build]"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(InvalidArgumentError) as caught:
        decode_dataset(changed(**values))
    assert message in caught.value.message


@pytest.mark.parametrize(
    "file", ["../x.jpg", "train/dog/1.jpg", "train/cat/../1.jpg", "train/cat/.1.jpg", "/train/cat/1.jpg"]
)
def test_no_file_lies_elsewhere(file):
    images = json.loads(encode_dataset(DATASET))["images"]
    images[1]["file"] = file
    with pytest.raises(InvalidArgumentError, match=r"images\[1\]\.file: found "):
        decode_dataset(changed(images=images))


def test_an_augmented_picture_has_an_original():
    images = json.loads(encode_dataset(DATASET))["images"]
    images[0]["augmented_from"] = "train/cat/none.jpg"
    with pytest.raises(InvalidArgumentError, match="is made of 'train/cat/none.jpg', which is none of the originals"):
        decode_dataset(changed(images=images))


def test_reading_a_directory(tmp_path):
    with pytest.raises(
        NotFoundError, match="holds no dataset.json; expected a dataset that `edgewise data build` made"
    ):
        read_dataset(tmp_path)
    with pytest.raises(NotFoundError, match="is no directory"):
        read_dataset(tmp_path / "none")
    (tmp_path / "dataset.json").write_bytes(encode_dataset(DATASET))
    assert read_dataset(tmp_path) == DATASET
