"""The Keras networks are those that are served, and weights go only where they belong."""

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.model_server.building import pets, photographs
from edgewise.model_server.building.quantization import run_network
from edgewise.model_server.config.model_config import ImageInput, Layout
from edgewise.train import networks, weights
from edgewise.train.keras_runtime import keras
from edgewise.train.pictures import View
from edgewise.train.settings import ALL_GROUPS, Stage, TrainSettings
from edgewise.train.stage_model import stage_model
from support.small_network import small_network
from support.training_marks import TRAINING

pytestmark = TRAINING


@pytest.mark.parametrize(("name", "variant"), [("efficientnet-lite0", "edge-float32")])
def test_network_with_published_weights_says_of_photographs_what_pets_says(name, variant):
    architecture = pets.VARIANTS[variant].architecture
    spec = ImageInput(
        "input",
        architecture.resize_px,
        architecture.input_px,
        architecture.input_px,
        (127.0,) * 3,
        (128.0,) * 3,
        Layout.NCHW,
    )
    inputs = np.stack(
        [photographs.served_view(photographs.example_images() / file, spec) for file in ("cat.jpg", "dog.jpg")]
    )
    served = run_network(pets.load_network(pets.VARIANTS[variant]).SerializeToString(), inputs)
    network = networks.build(name, 1000, weights="imagenet")
    said = network.model.predict_on_batch(inputs.transpose(0, 2, 3, 1))
    assert np.abs(served - said).max() < 1e-5
    assert served.max() > 0.4


@pytest.mark.parametrize("name", tuple(networks.NETWORKS))
def test_groups_are_as_many_as_are_told_and_the_least_size_can_be_built(name):
    kind = networks.NETWORKS[name]
    network = networks.build(name, 3, kind.least_px)
    assert len(network.groups) == kind.groups
    assert network.model.output_shape == (None, 3)
    names = [layer for group in network.groups for layer in group]
    assert len(names) == len(set(names))
    assert {"head_dropout", "logits", "probabilities"}.isdisjoint(names)


def test_stage_trains_the_groups_from_the_top_and_asks_the_rest_once():
    kind = networks.NETWORKS["efficientnet-lite0"]
    network = networks.build(kind.name, 3, 32, "imagenet")
    shown = View(36, 32, kind.mean, kind.scale)

    def trained(unfreeze, begun_with="imagenet"):
        settings = TrainSettings(kind.name, (Stage(1),), begun_with)
        made = stage_model(network, settings, Stage(1, unfreeze=unfreeze), shown, 10)
        return made, {one.path.split("/")[0] for one in made.model.trainable_variables}

    head, names = trained(0)
    assert names == {"logits"}
    assert head.model.input_shape == (None, 1280)
    two, names = trained(2)
    assert names == {"logits", "top", "block_15_expand", "block_15_depthwise", "block_15_project"}
    assert two.below.output.name == network.model.get_layer("block_14_add").output.name
    whole, names = trained(ALL_GROUPS)
    assert whole.below is None
    assert "stem" in names
    # The statistics of normalisations stay where weights were published, and are learned from scratch.
    assert not any("norm" in name for name in names)
    assert any("norm" in name for name in trained(ALL_GROUPS, "none")[1])


def test_trained_weights_go_on_with_another_head_and_not_into_another_network(tmp_path):
    path = tmp_path / "model.keras"
    pixels = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    with small_network() as name:
        first = networks.build(name, 3, seed=4)
        first.model.save(path)
        again = networks.build(name, 3, weights=str(path), seed=5)
        assert again.model.predict_on_batch(pixels) == pytest.approx(first.model.predict_on_batch(pixels), abs=1e-6)
        assert networks.build(name, 5, weights=str(path)).model.output_shape == (None, 5)
    with pytest.raises(InvalidArgumentError) as raised:
        networks.build("efficientnet-lite0", 3, 32, str(path))
    assert raised.value.message == (
        "model.keras is of another network: where efficientnet-lite0 has stem with 3×3×3×32, it has 3×3×3×8 and 8"
    )


def test_published_file_of_resnet_sees_blue_first(tmp_path):
    network = networks.build("resnet-50", 3, 32, seed=4)
    stem = network.model.get_layer("conv1_conv")
    before = stem.get_weights()[0]
    path = tmp_path / "resnet.weights.h5"
    keras().Model(network.model.input, network.model.get_layer(network.features).output).save_weights(path)
    weights.fill(network, str(path))
    assert np.array_equal(stem.get_weights()[0], before[:, :, ::-1, :])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.keras", None, "there is no weights file"),
        ("weights.pt", b"x", "expected one that ends in .keras or .h5"),
        ("weights.keras", b"x", "cannot be read as a Keras model"),
        ("weights.h5", b"x", "does not hold the weights of small"),
    ],
)
def test_file_that_is_no_weights_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with small_network() as network, pytest.raises(InvalidArgumentError) as raised:
        networks.build(network, 3, weights=str(tmp_path / name))
    assert message in raised.value.message
