"""The model of a request, found without decoding it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols import model_names
from edgewise.protocols.model_names import (
    model_in_name,
    model_in_spec,
    model_in_tasks,
    no_model,
    version_in_spec,
    version_in_tasks,
    version_of_name,
)
from edgewise.wire import inference_pb2, serving_pb2

FINDERS = (model_in_spec, model_in_tasks, model_in_name, no_model)
VERSION_FINDERS = (version_in_spec, version_in_tasks, version_of_name)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def length_delimited(field, value):
    tag = bytes((field << 3 | 2,)) if field < 16 else bytes((field << 3 & 0x7F | 0x82, field >> 4))
    size = len(value)
    return tag + (bytes((size,)) if size < 128 else bytes((size & 0x7F | 0x80, size >> 7))) + value


@pytest.fixture(autouse=True)
def forget():
    model_names._specs.clear()
    model_names._names.clear()


@given(name=TEXT, version=st.integers(0, 2**62), signature=TEXT, size=st.integers(0, 300))
def test_requests_of_tensorflow_serving(name, version, signature, size):
    for request in (serving_pb2.PredictRequest(), serving_pb2.ClassificationRequest(), serving_pb2.RegressionRequest(),
                    serving_pb2.GetModelMetadataRequest(), serving_pb2.GetModelStatusRequest()):  # fmt: skip
        request.model_spec.name = name
        request.model_spec.version.value = version
        request.model_spec.signature_name = signature
        if isinstance(request, serving_pb2.PredictRequest):
            request.inputs["x"].tensor_content = bytes(size)
        for kind in (bytes, bytearray, memoryview):
            # The second look may come from the cache.
            assert model_in_spec(kind(request.SerializeToString())) == name
            assert model_in_spec(kind(request.SerializeToString())) == name
    tasks = serving_pb2.MultiInferenceRequest()
    tasks.tasks.add().model_spec.name = name
    tasks.tasks.add().model_spec.name = "another"
    assert model_in_tasks(tasks.SerializeToString()) == name


@given(name=TEXT, size=st.integers(0, 300))
def test_requests_of_the_open_inference_protocol(name, size):
    infer = inference_pb2.ModelInferRequest(model_name=name, model_version="3", id="x" * size)
    for request in (infer, inference_pb2.ModelReadyRequest(name=name), inference_pb2.ModelMetadataRequest(name=name)):
        assert model_in_name(request.SerializeToString()) == name
        assert model_in_name(request.SerializeToString()) == name


@pytest.mark.parametrize(
    "before",
    [
        length_delimited(2, b"tensors" * 1000),
        length_delimited(500, b""),
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # field 3, a varint
        b"\x21" + bytes(8),  # field 4, 64 bits
        b"\x2d" + bytes(4),  # field 5, 32 bits
    ],
)
def test_fields_in_another_order(before):
    spec = length_delimited(3, b"serving_default") + length_delimited(1, b"tiny")
    assert model_in_spec(before + length_delimited(1, spec)) == "tiny"
    assert model_in_name(before + length_delimited(1, b"tiny")) == "tiny"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x0a",
        b"\x0a\x80",
        b"\xff" * 30,
        length_delimited(2, b"x"),
        length_delimited(1, b""),
        length_delimited(1, length_delimited(1, b"\xff\xfe")),
        length_delimited(1, length_delimited(1, b"x" * 600)),
        b"\x0b" + bytes(10),  # a group
        b"\x12\x01x" * 1000 + length_delimited(1, length_delimited(1, b"far")),
    ],
)
def test_no_model(message):
    assert model_in_spec(message) == ""


@given(st.binary(max_size=200))
def test_any_bytes_do_no_harm(message):
    for find in FINDERS:
        assert isinstance(find(message), str)
    for names_version in VERSION_FINDERS:
        assert isinstance(names_version(message), bool)


@given(name=TEXT, version=st.none() | st.integers(0, 2**62), label=st.none() | TEXT, signature=TEXT)
def test_a_version_or_label_is_noticed(name, version, label, signature):
    request = serving_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    request.inputs["x"].tensor_content = b"abc"
    if label is not None:
        request.model_spec.version_label = label
    if version is not None:
        request.model_spec.version.value = version
    tasks = serving_pb2.MultiInferenceRequest()
    tasks.tasks.add().model_spec.CopyFrom(request.model_spec)
    for kind in (bytes, bytearray, memoryview):
        named = version is not None or label is not None
        assert version_in_spec(kind(request.SerializeToString())) is named
        assert version_in_tasks(kind(tasks.SerializeToString())) is named
    infer = inference_pb2.ModelInferRequest(model_name=name, id="x", raw_input_contents=[b"x" * 300])
    assert not version_of_name(infer.SerializeToString())
    infer.model_version = "" if version is None else str(version)
    assert version_of_name(infer.SerializeToString()) is (version is not None)


def test_the_cache_is_bounded():
    for number in range(3000):
        model_in_name(length_delimited(1, b"m%d" % number))
        model_in_spec(length_delimited(1, length_delimited(1, b"m%d" % number)))
    assert len(model_names._names) <= 1024
    assert len(model_names._specs) <= 1024
