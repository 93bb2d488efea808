"""Pictures are taken out of requests, and predictions out of answers, of every protocol, as the model server itself writes and reads them."""

import json
import struct

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.requests import ModelSpec, PredictRequest, PredictResponse
from edgewise.hub.samples.answer_scores import answered_rows
from edgewise.hub.samples.pictures import read_picture
from edgewise.hub.samples.request_pictures import MAX_PICTURES, pictures_of
from edgewise.protocols import oip_grpc, oip_rest_response, tfs_grpc, tfs_rest
from edgewise.protocols.oip_rest import InferBody
from edgewise.wire import inference_pb2, serving_pb2
from support.captured_samples import captured, picture
from support.captured_samples import tfs_rest as tfs_rest_request

PICTURES = [picture(1), picture(2, "JPEG"), picture(3, "WEBP")]


def strings(*values):
    tensor = np.empty(len(values), np.object_)
    tensor[:] = values
    return tensor


def binary(*values):
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def oip_binary(*values):
    raw = binary(*values)
    inputs = [
        {"name": "before", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}},
        {"name": "image", "datatype": "BYTES", "shape": [len(values)], "parameters": {"binary_data_size": len(raw)}},
    ]
    header = json.dumps({"inputs": inputs}).encode()
    return {"form": "oip-rest", "inference_header_length": len(header), "request": header + b"\0\0\0\0" + raw}


def oip_message(*values, raw):
    request = inference_pb2.ModelInferRequest(model_name="pets")
    tensor = request.inputs.add(name="image", datatype="BYTES", shape=[len(values)])
    if raw:
        request.raw_input_contents.append(binary(*values))
    else:
        tensor.contents.bytes_contents.extend(values)
    return request.SerializeToString()


def tfs_message(*values):
    return tfs_grpc.encode_predict_request(PredictRequest(ModelSpec("pets"), {"image": strings(*values)}, "image"))


REQUESTS = {
    "TFS JSON, rows": {"form": "tfs-rest", "request": tfs_rest_request(*PICTURES)},
    "TFS JSON, columns": {
        "form": "tfs-rest",
        "request": tfs_rest_request(*PICTURES).replace(b"instances", b"inputs").replace(b"/", b"\\/"),
    },
    "OIP JSON": {
        "form": "oip-rest",
        "request": b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [3], "data": '
        + json.dumps(json.loads(tfs_rest_request(*PICTURES))["instances"]).encode()
        + b"}]}",
    },
    "OIP binary": oip_binary(*PICTURES),
    "TFS gRPC": {"form": "tfs-grpc", "request": tfs_message(*PICTURES)},
    "OIP gRPC": {"form": "oip-grpc", "request": oip_message(*PICTURES, raw=False)},
    "OIP gRPC, raw": {"form": "oip-grpc", "request": oip_message(*PICTURES, raw=True)},
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_pictures_come_in_the_order_of_their_rows(request_):
    found = pictures_of(captured(1, **request_))
    assert [row for row, _ in found] == [0, 1, 2]
    assert [each.content for _, each in found] == PICTURES
    assert [each.content_type for _, each in found] == ["image/png", "image/jpeg", "image/webp"]


@pytest.mark.parametrize("length", [None, 0])
def test_an_image_as_it_is(length):
    form = "rest-image" if length is None else "oip-rest"
    [(row, found)] = pictures_of(captured(1, form=form, inference_header_length=length, request=PICTURES[0]))
    assert (row, found.content) == (0, PICTURES[0])


def test_what_is_no_picture_keeps_its_row_and_is_passed_over():
    found = pictures_of(captured(1, form="tfs-rest", request=tfs_rest_request(b"text", PICTURES[0])))
    assert [row for row, _ in found] == [1]


@pytest.mark.parametrize(
    "request_",
    [
        {"form": "rest-image", "request": b"GIF89a"},
        {"form": "tfs-rest", "request": b'{"instances": [[1.0, 2.0]]}'},
        {"form": "tfs-rest", "request": b"[" * 100_000},
        {"form": "tfs-rest", "request": b'{"instances": [{"b64": "%%%"}, {"b64": "abc"}]}'},
        {"form": "oip-rest", "inference_header_length": 1 << 30, "request": b"{}"},
        {"form": "oip-rest", "inference_header_length": 2, "request": b"{}"},
        {"form": "oip-rest", "inference_header_length": 14, "request": b'{"inputs":[7]}'},
        {"form": "tfs-grpc", "request": b"\xff\xff\xff"},
        {"form": "oip-grpc", "request": b"\xff\xff\xff"},
        {"form": "oip-grpc", "request": oip_message(b"\xff", raw=True)},
    ],
)
def test_whatever_an_app_sent_is_no_fault(request_):
    assert pictures_of(captured(1, **request_)) == []


def test_so_many_pictures_of_a_request_and_no_more():
    small = picture(1)
    assert len(pictures_of(captured(1, form="tfs-rest", request=tfs_rest_request(*[small] * 300)))) == MAX_PICTURES


def test_a_picture_that_would_burst_is_none():
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 100_000, 100_000, 8, 2, 0, 0, 0) + bytes(4)
    with pytest.raises(InvalidArgumentError, match="expected at most"):
        read_picture(header)


OUTPUTS = {
    "labels": np.array([[b"tabby", b"beagle"], [b"beagle", b"tabby"]], np.object_),
    "probabilities": np.array([[0.25, 0.75], [0.5, 0.125]], np.float32),
    "verdict": np.array([b"dog", b"other"], np.object_),
}
EXPECTED = [
    ("dog", (("beagle", 0.75), ("tabby", 0.25))),
    ("other", (("beagle", 0.5), ("tabby", 0.125))),
]
RESPONSE = PredictResponse("pets", 1, "image", OUTPUTS)


def oip_answer(*, as_binary):
    headers, pieces = oip_rest_response.encode_infer(RESPONSE, InferBody("", {}, binary_by_default=as_binary))
    length = dict(headers).get(b"inference-header-content-length")
    return "oip-rest", b"".join(map(bytes, pieces)), int(length) if length else None


def tfs_message_of_lists():
    message = serving_pb2.PredictResponse()
    message.ParseFromString(tfs_grpc.encode_predict_response(RESPONSE))
    for tensor in message.outputs.values():
        if tensor.tensor_content:
            tensor.float_val.extend(np.frombuffer(tensor.tensor_content, np.float32))
            tensor.ClearField("tensor_content")
    return message.SerializeToString()


ANSWERS = {
    "TFS JSON, rows": lambda: ("tfs-rest", tfs_rest.encode_predict(OUTPUTS, row_format=True), None),
    "TFS JSON, columns": lambda: ("rest-image", tfs_rest.encode_predict(OUTPUTS, row_format=False), None),
    "OIP JSON": lambda: oip_answer(as_binary=False),
    "OIP binary": lambda: oip_answer(as_binary=True),
    "TFS gRPC": lambda: ("tfs-grpc", tfs_grpc.encode_predict_response(RESPONSE), None),
    "TFS gRPC, as lists": lambda: ("tfs-grpc", tfs_message_of_lists(), None),
    "OIP gRPC": lambda: ("oip-grpc", oip_grpc.encode_infer_response(RESPONSE), None),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_predictions_come_out_of_answers(answer):
    assert [(row.prediction, row.scores) for row in answered_rows(*answer())] == EXPECTED


def test_the_best_label_is_the_prediction_where_there_is_no_verdict():
    outputs = {name: OUTPUTS[name] for name in ("labels", "probabilities")}
    [first, _] = answered_rows("tfs-rest", tfs_rest.encode_predict(outputs, row_format=True), None)
    assert first.prediction == "beagle"


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("tfs-rest", b""),
        ("tfs-rest", b"not json"),
        ("tfs-rest", b"[" * 50_000),
        ("tfs-rest", b'{"predictions": 7}'),
        ("tfs-rest", b'{"predictions": [{"labels": 1, "probabilities": {}}]}'),
        ("tfs-rest", b'{"outputs": {"labels": [["a"]], "probabilities": [["x"]]}}'),
        ("oip-rest", b'{"outputs": [{"name": "labels", "datatype": "BYTES", "shape": [9, 9], "data": []}]}'),
        ("oip-rest", b'{"outputs": [{"name": [], "data": [1], "shape": [1]}]}'),
        ("tfs-grpc", b"\xff\xff"),
        ("oip-grpc", b"\xff\xff"),
    ],
)
def test_an_answer_that_cannot_be_read_says_nothing(form, content):
    assert all(not row.prediction and not row.scores for row in answered_rows(form, content, None))
