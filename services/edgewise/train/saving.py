"""Writes a trained network as a Keras file and as a SavedModel, each whole or not at all."""

import shutil
from pathlib import Path

from edgewise.train.keras_runtime import keras, tensorflow
from edgewise.train.networks import INPUT, OUTPUT, Network

SIGNATURE = "serving_default"


def save(network: Network, model: Path, saved_model: Path) -> None:
    """Write both; what is there is replaced."""
    beside = model.with_name(f".new-{model.name}")
    network.model.save(beside)
    beside.replace(model)
    staged = saved_model.with_name(f".new-{saved_model.name}")
    shutil.rmtree(staged, ignore_errors=True)
    write_saved_model(network, staged)
    shutil.rmtree(saved_model, ignore_errors=True)
    staged.replace(saved_model)


def write_saved_model(network: Network, directory: Path) -> None:
    """Write a SavedModel with the signature serving_default, from `image`: float32[batch, px, px, 3] to `probabilities`."""
    tf = tensorflow()
    archive = keras().export.ExportArchive()
    archive.track(network.model)
    archive.add_endpoint(
        SIGNATURE,
        lambda image: {OUTPUT: network.model(image, training=False)},
        input_signature=[tf.TensorSpec((None, network.size_px, network.size_px, 3), tf.float32, name=INPUT)],
    )
    archive.write_out(str(directory), verbose=False)
