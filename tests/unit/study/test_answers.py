"""What is read of an answer, and how verdicts are counted."""

import json

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.requests import PredictResponse
from edgewise.core.tensors import Signature
from edgewise.protocols import oip_grpc, oip_rest, oip_rest_response, tfs_grpc, tfs_rest
from edgewise.study import answers
from edgewise.study.cells import PROTOCOLS
from edgewise.study.engine.job import OTHER_ANSWER, Question, Recording, State


def texts(*words):
    return np.array([word.encode() for word in words], object)


PET = {
    "labels": texts("tabby", "tiger cat").reshape(1, 2),
    "probabilities": np.array([[0.6, 0.3]], np.float32),
    "verdict": texts("cat"),
}
LABELLED = {name: PET[name] for name in ("probabilities", "labels")}
SCORES = {"y": np.array([[0.1, 0.7, 0.2]], np.float32)}
ONE = {"y": np.array([[2.5]], np.float32)}
BATCH = {"y": np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)}


def body(protocol, outputs):
    """As the servers encode it."""
    response = PredictResponse(model="m", version=1, signature="s", outputs=dict(outputs))
    if protocol in ("rest-json", "rest-image"):
        return tfs_rest.encode_predict(outputs, row_format=True)
    if protocol == "rest-binary":
        request = oip_rest.InferBody(Signature("s", (), ()), {}, binary_by_default=True)
        _, parts = oip_rest_response.encode_infer(response, request)
        return b"".join(bytes(part) for part in parts)
    if protocol == "tfs-grpc":
        return tfs_grpc.encode_predict_response(response)
    return oip_grpc.encode_infer_response(response)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("outputs", "verdict"),
    [(PET, "cat"), (LABELLED, "tabby"), (SCORES, "1"), (ONE, "2.5"), (BATCH, "0"), ({"s": texts("hello")}, "hello")],
)
def test_the_verdict_is_the_same_in_each_protocol(protocol, outputs, verdict):
    assert answers.verdict(protocol, body(protocol, outputs)) == verdict


def test_an_answer_of_the_inference_protocol_may_be_json_all_through():
    tensor = {"name": "verdict", "datatype": "BYTES", "shape": [1], "data": ["dog"]}
    assert answers.verdict("rest-binary", json.dumps({"outputs": [tensor]}).encode()) == "dog"


def test_binary_that_looks_like_more_json_is_not_read_as_it():
    outputs = {"labels": texts('}]} , "x').reshape(1, 1)}
    assert answers.verdict("rest-binary", body("rest-binary", outputs)) == '}]} , "x'


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b'{"error": "no"}', b'{"predictions": []}', b"\xff" * 9])
def test_what_is_no_answer_is_refused(protocol, content):
    with pytest.raises(InvalidArgumentError, match=f"none of the protocol {protocol}"):
        answers.verdict(protocol, content)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(InvalidArgumentError, match="there is no protocol 'soap'"):
        answers.judge("soap", [])


def test_an_answer_is_right_when_it_says_what_is_known():
    right = answers.judge("rest-json", [Question(b"", "cat"), Question(b"", "dog"), Question(b"", "")])
    content = body("rest-json", PET)
    assert [right(place, content) for place in range(3)] == [True, False, None]
    assert right(0, b"no answer") is False


def recording(rows, bodies):
    """A recording of (question, state, index of the answer)."""
    n = len(rows)
    zeros = np.zeros(n, np.int64)
    return Recording(
        due_ns=zeros,
        sent_ns=zeros,
        ended_ns=zeros,
        state=np.array([state for _, state, _ in rows], np.uint8),
        code=np.zeros(n, np.int16),
        question=np.array([question for question, _, _ in rows], np.uint16),
        answer=np.array([answer for _, _, answer in rows], np.uint16),
        site=np.zeros(n, np.uint8),
        attempts=np.zeros(n, np.uint8),
        version=np.zeros(n, np.int32),
        answers=bodies,
    )


def test_verdicts_are_those_of_what_was_answered():
    cat, dog = (body("rest-json", {"verdict": texts(word), "x": texts(word)}) for word in ("cat", "dog"))
    found = recording(
        [
            (0, State.OK, 0),
            (0, State.OK, 1),
            (0, State.OK, 1),
            (1, State.OK, 0),
            (2, State.LOST, OTHER_ANSWER),
            (3, State.OK, OTHER_ANSWER),
            (4, State.OK, 2),
            (5, State.ERROR, 0),
        ],
        [cat, dog, b"unreadable"],
    )
    assert answers.verdicts("rest-json", found) == {0: "dog", 1: "cat"}
