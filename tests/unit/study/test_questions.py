"""Questions as bytes on the wire, read back by what the servers read them with."""

import base64
import json

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.protocols import oip_grpc, oip_rest, tfs_grpc
from edgewise.study import questions, signatures
from edgewise.study.cells import PROTOCOLS, Cell
from edgewise.study.scenario import GatewaySpec, Inputs, ModelSpec, RunSettings, Scenario, SiteSpec, Sweep

PETS = ModelSpec("pets", "animals", "pets")
OTHER = ModelSpec("other", "other", "repository")


def metadata(**signatures_said):
    """TensorFlow Serving's, of signatures as {name: {input: (dtype, sizes)}}."""
    definitions = {
        name: {
            "inputs": {
                tensor: {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size)} for size in sizes]}}
                for tensor, (dtype, sizes) in inputs.items()
            },
            "outputs": {},
        }
        for name, inputs in signatures_said.items()
    }
    return {"model_spec": {}, "metadata": {"signature_def": {"signature_def": definitions}}}


NUMBERS = metadata(serving_default={"x": ("DT_FLOAT", (-1, 2, 3))})
TWO_INPUTS = metadata(sum={"a": ("DT_INT64", (-1, 2)), "b": ("DT_BOOL", (-1,))})


def make(model, protocol, images, described=None, **inputs):
    scenario = Scenario(
        title="questions",
        seed=3,
        text="",
        run=RunSettings(),
        models=(model,),
        sites=(SiteSpec("edge", "edge"),),
        gateway=GatewaySpec(),
        inputs=Inputs(images=images, **inputs),
        sweep=Sweep(("edge",), ("none",), (model.name,), PROTOCOLS, (10.0,)),
    )
    return questions.make(scenario, Cell("edge", "", model.name, protocol, 10, 10), described)


def binary(asking, question, signature):
    """What the server reads."""
    headers = {name.encode(): value.encode() for name, value in asking.headers}
    return oip_rest.decode_infer(question.body, headers, lambda _name, _inputs: signature)


def test_a_photograph_as_it_is(images):
    asking = make(PETS, "rest-image", images, labels=images / "labels.csv")
    assert (asking.transport, asking.path) == ("http", "/v1/models/animals:predict")
    assert (asking.content_type, asking.headers) == ("image/jpeg", ())
    cat = next(question for question in asking.questions if question.source == "cat.jpg")
    assert (cat.body, cat.label) == ((images / "cat.jpg").read_bytes(), "cat")


def test_a_network_without_training_is_neither_right_nor_wrong(images):
    zoo = ModelSpec("resnet50", "resnet50", "zoo", network="resnet50")
    asking = make(zoo, "rest-image", images, labels=images / "labels.csv")
    assert {question.label for question in asking.questions} == {""}


def test_a_photograph_in_each_protocol_is_the_same(images):
    photograph = (images / "aqueduct.jpg").read_bytes()

    as_json = make(PETS, "rest-json", images)
    assert (as_json.transport, as_json.path, as_json.content_type) == (
        "http",
        "/v1/models/animals:predict",
        "application/json",
    )
    said = json.loads(as_json.questions[0].body)
    assert said == {"signature_name": "image", "instances": [{"b64": base64.b64encode(photograph).decode()}]}

    as_binary = make(PETS, "rest-binary", images)
    assert (as_binary.transport, as_binary.path) == ("http", "/v2/models/animals/infer")
    signature = Signature("image", (TensorSpec("image", DType.STRING, (-1,)),), ())
    read = binary(as_binary, as_binary.questions[0], signature)
    assert read.inputs["image"].tolist() == [photograph]
    assert read.binary_by_default

    tensorflow = make(PETS, "tfs-grpc", images)
    assert (tensorflow.transport, tensorflow.path) == ("grpc", "/tensorflow.serving.PredictionService/Predict")
    request = tfs_grpc.decode_predict(tensorflow.questions[0].body)
    assert (request.model.name, request.signature) == ("animals", "image")
    assert np.asarray(request.inputs["image"]).tolist() == [photograph]

    inference = make(PETS, "oip-grpc", images)
    assert (inference.transport, inference.path) == ("grpc", "/inference.GRPCInferenceService/ModelInfer")
    request = oip_grpc.decode_infer(inference.questions[0].body)
    assert (request.model.name, request.signature) == ("animals", "image")
    assert np.asarray(request.inputs["image"]).tolist() == [photograph]


def test_one_header_fits_every_question_however_long_its_numbers(images, tmp_path):
    for name, size in (("small.jpg", 8), ("large.jpg", 400)):
        from PIL import Image

        noise = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    asking = make(PETS, "rest-binary", tmp_path)
    signature = Signature("image", (TensorSpec("image", DType.STRING, (-1,)),), ())
    lengths = set()
    for question in asking.questions:
        (content,) = binary(asking, question, signature).inputs["image"].tolist()
        assert content == (tmp_path / question.source).read_bytes()
        lengths.add(len(str(len(content))))
    assert len(lengths) == 2


def test_numbers_in_each_protocol_are_the_same(images):
    spec = Signature("serving_default", (TensorSpec("x", DType.FLOAT32, (-1, 2, 3)),), ())
    askings = {
        protocol: make(OTHER, protocol, images, NUMBERS, limit=4) for protocol in PROTOCOLS if protocol != "rest-image"
    }
    for place in range(4):
        said = json.loads(askings["rest-json"].questions[place].body)
        assert set(said) == {"instances"}
        row = np.array(said["instances"], np.float32)
        assert row.shape == (1, 2, 3)
        inputs = [
            binary(askings["rest-binary"], askings["rest-binary"].questions[place], spec).inputs,
            tfs_grpc.decode_predict(askings["tfs-grpc"].questions[place].body).inputs,
            oip_grpc.decode_infer(askings["oip-grpc"].questions[place].body).inputs,
        ]
        assert all(np.array_equal(np.asarray(one["x"]), row) for one in inputs)
    assert {question.label for question in askings["rest-json"].questions} == {""}
    assert len({question.body for question in askings["rest-json"].questions}) == 4


def test_several_inputs_go_by_name(images):
    asking = make(OTHER, "rest-json", images, TWO_INPUTS, limit=1)
    said = json.loads(asking.questions[0].body)
    assert said["signature_name"] == "sum"
    (instance,) = said["instances"]
    assert len(instance["a"]) == 2
    assert isinstance(instance["b"], bool)


def test_the_same_is_asked_again_for_the_same_seed(images):
    assert make(OTHER, "oip-grpc", images, NUMBERS, limit=3) == make(OTHER, "oip-grpc", images, NUMBERS, limit=3)


def test_a_name_that_is_no_path_is_asked_about_all_the_same(images):
    assert signatures.metadata_paths("a b/c") == ("/v1/models/a%20b%2Fc/metadata", "/v2/models/a%20b%2Fc")
    odd = ModelSpec("odd", "a b/c", "pets")
    assert make(odd, "rest-image", images).path == "/v1/models/a%20b%2Fc:predict"
    assert make(odd, "rest-binary", images).path == "/v2/models/a%20b%2Fc/infer"


@pytest.mark.parametrize(
    ("described", "name"),
    [
        (metadata(image={"i": ("DT_STRING", (-1,))}, serving_default={"x": ("DT_FLOAT", (-1, 8))}), "image"),
        (metadata(jpeg={"i": ("DT_STRING", (-1,))}, serving_default={"x": ("DT_FLOAT", (-1, 8))}), "jpeg"),
        (metadata(serving_default={"x": ("DT_FLOAT", (-1, 8))}, other={"x": ("DT_FLOAT", (-1, 9))}), "serving_default"),
        (metadata(only={"x": ("DT_FLOAT", (-1, 8))}), "only"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}], "outputs": []}, "serving_default"),
        (b'{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1]}], "outputs": []}', "serving_default"),
    ],
)
def test_the_signature_is_chosen_from_what_the_server_says(described, name):
    assert signatures.asked_signature(OTHER, described).name == name


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (None, "has to be described by its server"),
        ({}, "describes the model in an unknown way"),
        ([], "describes the model in an unknown way"),
        (b"<html>", "describes the model in an unknown way"),
        (metadata(x={"x": ("DT_COMPLEX64", (-1,))}), "describes the model in an unknown way"),
        (metadata(), "has the signatures none; expected one that takes encoded images"),
        (metadata(a={"x": ("DT_FLOAT", (-1, 1))}, b={"x": ("DT_FLOAT", (-1, 1))}), "has the signatures a, b; expected"),
        (metadata(a={"x": ("DT_STRING", (-1,))}, b={"x": ("DT_STRING", (-1,))}), "called 'image' among several"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused(described, message):
    with pytest.raises(InvalidArgumentError) as caught:
        signatures.asked_signature(OTHER, described)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((-1, -1), "the input 'x' has the shape [-1, -1]; expected a batch of any length first"),
        ((1, 8), "the input 'x' has the shape [1, 8]; expected a batch of any length first"),
        ((-1, 5000, 5000), "one question to the signature 'serving_default' takes 100,000,000 bytes"),
    ],
)
def test_an_input_that_cannot_be_made_up_is_refused(images, sizes, message):
    with pytest.raises(InvalidArgumentError) as caught:
        make(OTHER, "rest-json", images, metadata(serving_default={"x": ("DT_FLOAT", sizes)}))
    assert message in caught.value.message


def test_a_protocol_that_the_model_cannot_answer_is_refused(images):
    with pytest.raises(InvalidArgumentError, match="takes no photographs, so it cannot answer rest-image"):
        make(OTHER, "rest-image", images, NUMBERS)
    with pytest.raises(InvalidArgumentError, match="there is no protocol 'soap'"):
        make(PETS, "soap", images)
