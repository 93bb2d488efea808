"""Pictures are decoded as the model server decodes them, and what cannot be learned from is refused."""

import numpy as np
import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.model_server.images.transforms import decode_image
from edgewise.protocols.dataset_manifest import TRAIN
from edgewise.train.networks import NETWORKS
from edgewise.train.pictures import View, check, load, missing_classes, sample_weights, view
from edgewise.train.settings import ClassWeights, Stage, TrainSettings
from support.drawn_dataset import write_dataset

LITE = NETWORKS["efficientnet-lite0"]
SETTINGS = TrainSettings("efficientnet-lite0", (Stage(1),))
SMALL = View(36, 32, LITE.mean, LITE.scale)


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
    alexnet = NETWORKS["alexnet"]
    assert view(alexnet, TrainSettings("alexnet", (Stage(1),)), dataset).mean == dataset.mean
    assert view(alexnet, TrainSettings("alexnet", (Stage(1),), weights="a.keras"), dataset).mean == alexnet.mean
    assert view(LITE, TrainSettings(LITE.name, (Stage(1),), size=112), dataset) == View(128, 112, LITE.mean, LITE.scale)


def test_classes_without_pictures_in_a_split_are_told(tmp_path):
    dataset = write_dataset(tmp_path, counts={"train": 2, "validation": 0, "test": 1})
    assert missing_classes(dataset) == {"validation": ("cat", "dog", "other")}
