"""Files that the exporters of MXNet and CNTK wrote are served, and answer what these frameworks answered."""

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from edgewise.model_server.building.quantization import quantize, run_network

FILES = Path(__file__).parent / "archived_frameworks"
SIGNATURE = """
[signatures.serving_default]
inputs.pictures.tensor = "{source}"
inputs.pictures.batched = true
outputs.probabilities.tensor = "{target}"
[signatures.image]
kind = "image"
[signatures.image.preprocess]
tensor = "pictures"
crop = 32
scale = 255
[signatures.image.postprocess]
tensor = "probabilities"
labels = ["horizontal", "vertical", "chequered"]
top_k = 3
"""
NAMES = {
    "mxnet-fixed": ("data", "hybridlambda0_softmax0"),
    "mxnet-free": ("data", "hybridlambda0_softmax0"),
    "cntk": ("picture (RGB)/255", "likely: 3 classes_Output"),
}
NATIVE_BATCH = {"mxnet-fixed": 2, "mxnet-free": 3, "cntk": 1}


def told(name):
    """What the framework itself said: pictures, their classes, its answers."""
    found = np.load(FILES / f"{name.partition('-')[0]}.npz")
    return found["pictures"], found["classes"], found["answers"]


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory):
    repository = tmp_path_factory.mktemp("archived")
    for name, (source, target) in NAMES.items():
        for model, text in ((name, ""), (f"{name}-named", SIGNATURE.format(source=source, target=target))):
            version = repository / model / "1"
            version.mkdir(parents=True)
            shutil.copy(FILES / f"{name}.onnx", version / "model.onnx")
            if text:
                (version / "model.toml").write_text(text)
    return start_server("--repository", str(repository))


@pytest.fixture
def asked(server, ask):
    return ask(server)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_as_it_came_answers_as_its_framework(asked, name):
    pictures, _, answers = told(name)
    count = NATIVE_BATCH[name]
    said = asked.rest(f"/v1/models/{name}:predict", {"inputs": pictures[:count].tolist()}).json
    np.testing.assert_allclose(np.array(said["outputs"]), answers[:count], atol=1e-5)
    # Weights are no inputs, though the file lists them there.
    metadata = asked.rest(f"/v2/models/{name}").json
    assert [(one["name"], one["shape"][1:]) for one in metadata["inputs"]] == [(NAMES[name][0], [3, 32, 32])]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_examples_where_model_toml_says_that_they_are_examples(asked, name, count):
    pictures, _, answers = told(name)
    said = asked.rest(f"/v1/models/{name}-named:predict", {"instances": pictures[:count].tolist()}).json
    np.testing.assert_allclose(np.array(said["predictions"]), answers[:count], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_photographs_several_at_once(asked, name):
    pictures, classes, _ = told(name)
    instances = []
    for picture in pictures[:3]:
        file = io.BytesIO()
        Image.fromarray(np.round(picture.transpose(1, 2, 0) * 255).astype(np.uint8)).save(file, "PNG")
        instances.append({"b64": base64.b64encode(file.getvalue()).decode()})
    said = asked.rest(f"/v1/models/{name}-named:predict", {"signature_name": "image", "instances": instances}).json
    labels = ["horizontal", "vertical", "chequered"]
    assert [one["labels"][0] for one in said["predictions"]] == [labels[number] for number in classes[:3]]


@pytest.mark.parametrize("name", NAMES)
def test_our_quantization_takes_them(name):
    pictures, classes, answers = told(name)
    int8 = quantize(onnx.load(FILES / f"{name}.onnx"), np.tile(pictures, (4, 1, 1, 1)), keep_float=[])
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(int8).graph.node)
    found = run_network(int8, pictures)
    assert list(found.argmax(axis=1)) == list(classes)
    np.testing.assert_allclose(found, answers, atol=0.15)
