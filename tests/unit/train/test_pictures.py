"""Pictures are decoded as the model server decodes them, and what cannot be learned from is refused."""

import errno
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.model_server.images.transforms import decode_image
from edgewise.protocols.dataset_manifest import TRAIN
from edgewise.train.describing import begun
from edgewise.train.mapped_arrays import new_array
from edgewise.train.networks import NETWORKS
from edgewise.train.pictures import Pictures, View, check, load, missing_classes, sample_weights, unlike_served, view
from edgewise.train.run_directory import RunDirectory
from edgewise.train.settings import ClassWeights, Stage, TrainSettings
from edgewise.train.stage_model import StageModel
from support.drawn_dataset import write_dataset

LITE = NETWORKS["efficientnet-lite0"]
SETTINGS = TrainSettings("efficientnet-lite0", (Stage(1),))
SMALL = View(36, 32, LITE.mean, LITE.scale)


def no_room(*_arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def loaded(directory, dataset, cache, said):
    return load(directory, dataset, TRAIN, shown=SMALL, cache=cache, tell=said.append)


def test_network_is_fed_what_the_server_would_feed_it(tmp_path):
    dataset = write_dataset(tmp_path / "d", counts={"train": 2, "validation": 1, "test": 1})
    pictures = loaded(tmp_path / "d", dataset, tmp_path / "cache", [])
    assert pictures.pixels.shape == (6, 32, 32, 3)
    assert [dataset.classes[at] for at in pictures.labels] == [image.label for image in pictures.images]
    served = decode_image((tmp_path / "d" / pictures.images[4].file).read_bytes(), SMALL.spec())
    assert SMALL.tensor(pictures.pixels[4:5])[0] == pytest.approx(served, abs=1e-6)


def test_decoded_pictures_are_taken_from_the_cache(tmp_path):
    dataset = write_dataset(tmp_path / "d", counts={"train": 2, "validation": 1, "test": 1})
    said = []
    first = loaded(tmp_path / "d", dataset, tmp_path / "cache", said)
    again = loaded(tmp_path / "gone", dataset, tmp_path / "cache", said)
    assert said == ["decoding 6 pictures of train"]
    assert np.array_equal(first.pixels, again.pixels)


def test_picture_that_was_changed_or_is_gone_is_named(tmp_path):
    dataset = write_dataset(tmp_path / "d", counts={"train": 2, "validation": 1, "test": 1})
    path = tmp_path / "d" / dataset.of_split(TRAIN)[0].file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(FailedPreconditionError, match="was changed since the dataset was built"):
        loaded(tmp_path / "d", dataset, tmp_path / "cache", [])
    path.unlink()
    with pytest.raises(NotFoundError, match="the dataset is not whole"):
        loaded(tmp_path / "d", dataset, tmp_path / "cache", [])
    assert not list((tmp_path / "cache").glob("*.npy"))


@pytest.mark.parametrize(
    ("counts", "classes", "message"),
    [
        (
            {"train": 1, "validation": 1, "test": 1},
            ("cat", "dog"),
            "class 'cat' has 1 picture in train, expected at least 2",
        ),
        ({"train": 2, "validation": 0, "test": 1}, ("cat", "dog"), "the dataset has no pictures in validation"),
        ({"train": 2, "validation": 1, "test": 1}, ("cat",), "the class cat only; expected at least two"),
    ],
)
def test_dataset_that_nothing_can_be_learned_from_is_refused(tmp_path, counts, classes, message):
    dataset = write_dataset(tmp_path, counts=counts, classes=classes)
    with pytest.raises(InvalidArgumentError) as raised:
        check(dataset, SETTINGS)
    assert message in raised.value.message


def test_weights_have_to_be_of_the_datasets_classes(tmp_path):
    dataset = write_dataset(tmp_path, counts={"train": 2, "validation": 1, "test": 1}, classes=("cat", "dog"))
    for weights, message in (
        ({"cat": 1.0}, "'dog' is missing"),
        ({"cat": 1.0, "dog": 1.0, "hen": 1.0}, "'hen' is no class of the dataset"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            check(dataset, TrainSettings("alexnet", (Stage(1),), class_weights=weights))


def test_balanced_classes_count_the_same_in_all(tmp_path):
    dataset = write_dataset(tmp_path, counts={"train": 2, "validation": 1, "test": 1}, classes=("cat", "dog"))
    labels = np.array([0, 0, 0, 1])
    assert sample_weights(dataset, SETTINGS, labels) is None
    balanced = TrainSettings("alexnet", (Stage(1),), class_weights=ClassWeights.BALANCED)
    weights = sample_weights(dataset, balanced, labels)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    assert weights.mean() == pytest.approx(1.0)
    stated = TrainSettings("alexnet", (Stage(1),), class_weights={"cat": 1.0, "dog": 3.0})
    assert sample_weights(dataset, stated, labels).tolist() == [1, 1, 1, 3]


def test_alexnet_from_scratch_is_fed_the_datasets_mean_and_others_their_own(tmp_path):
    dataset = write_dataset(tmp_path, counts={"train": 2, "validation": 1, "test": 1})
    assert view(NETWORKS["alexnet"], TrainSettings("alexnet", (Stage(1),)), dataset).mean == dataset.mean
    assert view(LITE, TrainSettings(LITE.name, (Stage(1),), size=112), dataset) == View(128, 112, LITE.mean, LITE.scale)


def test_alexnet_that_is_trained_on_is_fed_the_mean_it_was_trained_with(tmp_path):
    dataset = write_dataset(tmp_path / "d", counts={"train": 2, "validation": 1, "test": 1})
    alexnet = NETWORKS["alexnet"]
    mean = (10.0, 20.0, 30.0)
    before = RunDirectory(tmp_path / "run")
    before.root.mkdir()
    settings = TrainSettings("alexnet", (Stage(1),), weights=str(before.model))
    assert view(alexnet, settings, dataset).mean == dataset.mean
    shown = View(256, 227, mean, alexnet.scale)
    before.write(begun(TrainSettings("alexnet", (Stage(1),)), dataset, tmp_path / "d", shown))
    assert view(alexnet, settings, dataset) == shown
    before.write(begun(SETTINGS, dataset, tmp_path / "d", shown))
    assert view(alexnet, settings, dataset).mean == dataset.mean


def test_full_disk_is_said_before_a_picture_is_decoded(tmp_path, monkeypatch):
    dataset = write_dataset(tmp_path / "d", counts={"train": 2, "validation": 1, "test": 1})
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match=r"No space left on device: .*train-.*\.part") as raised:
        loaded(tmp_path / "d", dataset, tmp_path / "cache", [])
    assert raised.value.errno == errno.ENOSPC
    assert not list((tmp_path / "cache").iterdir())


def test_full_disk_is_said_before_the_frozen_layers_are_asked(tmp_path, monkeypatch):
    pictures = Pictures((), np.zeros((3, 32, 32, 3), np.uint8), np.zeros(3, np.int64))
    below = SimpleNamespace(output=np.zeros((1, 7)), predict_on_batch=lambda rows: rows[:, 0, 0, :1].repeat(7, axis=1))
    made = StageModel(None, below, SMALL).examples(pictures, tmp_path / "frozen.npy")
    assert made.rows.shape == (3, 7)
    assert (tmp_path / "frozen.npy").stat().st_blocks > 0
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space left on device: .*frozen.npy"):
        StageModel(None, below, SMALL).examples(pictures, tmp_path / "frozen.npy")
    assert not (tmp_path / "frozen.npy").exists()


def test_array_has_its_whole_length_on_the_disk(tmp_path):
    new_array(tmp_path / "a.npy", np.uint8, (1 << 10, 1 << 10))
    found = (tmp_path / "a.npy").stat()
    assert found.st_blocks * 512 >= found.st_size > 1 << 20


@pytest.mark.parametrize(
    ("size", "fit", "said"),
    [
        ((256, 256), "crop", ""),
        (None, "", ""),
        ((256, 300), "pad", "have black bars (--fit pad); what apps send is not"),
        ((300, 200), "stretch", "are stretched (--fit stretch) and are 200 × 300 pixels and enlarged to 256;"),
        ((64, 64), "crop", "with --fit crop and --size 256x256 or more makes what the model server shows"),
    ],
)
def test_pictures_that_no_app_sends_are_told(tmp_path, size, fit, said):
    dataset = write_dataset(tmp_path, counts={"train": 2, "validation": 1, "test": 1})
    dataset = replace(dataset, size=size, build={"fit": fit})
    found = unlike_served(dataset, view(LITE, SETTINGS, dataset))
    assert said in found
    assert bool(found) == bool(said)


def test_classes_without_pictures_in_a_split_are_told(tmp_path):
    dataset = write_dataset(tmp_path, counts={"train": 2, "validation": 0, "test": 1})
    assert missing_classes(dataset) == {"validation": ("cat", "dog", "other")}
