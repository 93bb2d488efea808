"""When two versions' answers count as the same."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgewise.core.requests import PredictResponse
from edgewise.protocols.agreement import agree
from edgewise.protocols.answers import Answered, Form
from edgewise.protocols.dtypes import dtype_of
from edgewise.protocols.oip_dtypes import DTYPE_TO_OIP
from edgewise.protocols.oip_grpc import encode_infer_response
from edgewise.protocols.oip_rest import InferBody
from edgewise.protocols.oip_rest_response import encode_infer
from edgewise.protocols.tfs_grpc import encode_predict_response
from edgewise.protocols.tfs_rest import encode_predict


def floats(*rows):
    return np.array(rows, np.float32)


def texts(*rows):
    return np.array(rows, np.object_)


def written(outputs, form, *, rows=True, binary=True):
    """An answer with these outputs as our own server writes it."""
    response = PredictResponse("m", 1, "serving_default", dict(outputs))
    if form is Form.TFS_REST:
        return Answered(encode_predict(response.outputs, row_format=rows))
    if form is Form.TFS_GRPC:
        return Answered(encode_predict_response(response))
    if form is Form.OIP_GRPC:
        return Answered(encode_infer_response(response))
    headers, pieces = encode_infer(response, InferBody(signature=None, inputs={}, binary_by_default=binary))
    length = dict(headers).get(b"inference-header-content-length")
    return Answered(b"".join(map(bytes, pieces)), None if length is None else int(length))


WAYS = [
    *((Form.TFS_REST, True), (Form.TFS_REST, False), (Form.OIP_REST, True), (Form.OIP_REST, False)),
    *((Form.TFS_GRPC, True), (Form.OIP_GRPC, True)),
]

SAME = [
    ({"y": floats([0.1, 0.9], [0.8, 0.2])}, {"y": floats([0.45, 0.55], [0.6, 0.4])}),
    ({"y": floats([1.0], [200.0])}, {"y": floats([1.009], [198.5])}),
    ({"y": floats([0.0], [0.0005])}, {"y": floats([0.0009], [-0.0004])}),
    ({"y": np.array([3.0, 4.0], np.float32)}, {"y": np.array([3.01, 3.99], np.float32)}),
    ({"y": np.array([3, 4], np.int64)}, {"y": np.array([3, 4], np.int64)}),
    ({"y": texts([b"cat", b"dog"], [b"dog", b"cat"])}, {"y": texts([b"cat", b"cow"], [b"dog", b"cow"])}),
    ({"y": texts(b"cat", b"dog")}, {"y": texts(b"cat", b"dog")}),
    ({"y": np.array([[True, False]])}, {"y": np.array([[True, False]])}),
    (
        {"labels": texts([b"cat", b"dog"]), "scores": floats([0.9, 0.1])},
        {"labels": texts([b"cat", b"cow"]), "scores": floats([0.7, 0.3])},
    ),
    ({"y": floats([[0.1, 0.9], [0.9, 0.1]])}, {"y": floats([[0.2, 0.8], [0.8, 0.2]])}),
]
OTHER = [
    ({"y": floats([0.1, 0.9])}, {"y": floats([0.9, 0.1])}),
    ({"y": floats([0.1, 0.9], [0.8, 0.2])}, {"y": floats([0.1, 0.9], [0.2, 0.8])}),
    ({"y": floats([1.0])}, {"y": floats([1.02])}),
    ({"y": floats([0.0])}, {"y": floats([0.0011])}),
    ({"y": np.array([281], np.int64)}, {"y": np.array([282], np.int64)}),
    ({"y": np.array([[281]], np.int64)}, {"y": np.array([[282]], np.int64)}),
    ({"y": texts([b"cat", b"dog"])}, {"y": texts([b"dog", b"cat"])}),
    ({"y": texts(b"cat", b"dog")}, {"y": texts(b"cat", b"cow")}),
    ({"y": floats([0.1, 0.9])}, {"y": floats([0.1, 0.9, 0.0])}),
    ({"y": floats([0.1, 0.9])}, {"y": floats([0.1, 0.9], [0.1, 0.9])}),
    ({"y": floats([1.0])}, {"y": texts([b"1.0"])}),
    ({"y": floats([0.1, 0.9]), "z": floats([1.0])}, {"y": floats([0.1, 0.9]), "w": floats([1.0])}),
    ({"y": floats([0.1, 0.9]), "z": floats([1.0])}, {"y": floats([0.1, 0.9]), "z": floats([2.0])}),
]


@pytest.mark.parametrize(("form", "choice"), WAYS)
@pytest.mark.parametrize(("old", "new"), SAME)
def test_the_same(old, new, form, choice):
    answers = [written(one, form, rows=choice, binary=choice) for one in (old, new)]
    assert agree(form, *answers) is True
    assert agree(form, *reversed(answers)) is True


@pytest.mark.parametrize(("form", "choice"), WAYS)
@pytest.mark.parametrize(("old", "new"), OTHER)
def test_another(old, new, form, choice):
    answers = [written(one, form, rows=choice, binary=choice) for one in (old, new)]
    assert agree(form, *answers) is False
    assert agree(form, *reversed(answers)) is False


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("NaN", "NaN", True),
        ("NaN", "1.0", False),
        ("Infinity", "Infinity", True),
        ("Infinity", "-Infinity", False),
        ("Infinity", "1.0", False),
        ("1e300", "1.001e300", True),
        ("NaN, 0.5", "NaN, 0.4", True),
        ("0.4, 0.5", "0.4, NaN", False),
        ("-Infinity, 0.5", "-Infinity, 0.4", True),
    ],
)
def test_what_is_no_number(old, new, same):
    answers = [Answered(b'{"predictions": [[%b]]}' % one.encode()) for one in (old, new)]
    assert agree(Form.TFS_REST, *answers) is same


def test_bytes_in_base64_are_compared_as_they_are_written():
    cat, dog = ({"b64": text} for text in ("Y2F0", "ZG9n"))
    for old, new, same in (([cat], [cat], True), ([cat], [dog], False), ([[cat, dog]], [[cat, cat]], True)):
        answers = [Answered(json.dumps({"predictions": one}).encode()) for one in (old, new)]
        assert agree(Form.TFS_REST, *answers) is same
        answers = [Answered(json.dumps({"outputs": {"y": one}}).encode()) for one in (old, new)]
        assert agree(Form.TFS_REST, *answers) is same


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "{}", '{"error": "x"}', '{"predictions": null}', '{"predictions": 3}'),
        *('{"predictions": [[1, 2], [3]]}', '{"predictions": [1, "a"]}', '{"predictions": ["a", 1]}'),
        *('{"predictions": [null]}', '{"predictions": [{"y": 1}, {"z": 1}]}', '{"predictions": [{"y": {"z": 1}}]}'),
        *('{"predictions": [%s]}' % ("9" * 400), '{"predictions": %s}' % ("[" * 5000), '{"outputs": {"y": null}}'),
    ],
)
def test_what_cannot_be_read_says_nothing(text):
    good = Answered(b'{"predictions": [1.0]}')
    bad = Answered(text.encode())
    assert agree(Form.TFS_REST, good, bad) is None
    assert agree(Form.TFS_REST, bad, good) is None


def oip(**changes):
    tensor = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 0.9], **changes}
    return json.dumps({"outputs": [{name: value for name, value in tensor.items() if value is not None}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        *(oip(datatype="FP99"), oip(shape=[3]), oip(shape="x"), oip(data=None), oip(data=["a", "b"]), oip(name=None)),
        *(oip(datatype="BYTES"), oip(data=None, parameters={"binary_data_size": 8}), b'{"outputs": {}, "x": ', b""),
        *(oip(data=None, parameters={"binary_data_size": "8"}), oip(shape=[-1]), oip(data=None, parameters=[])),
    ],
)
def test_what_cannot_be_read_of_the_open_inference_protocol(body):
    good = Answered(oip())
    assert agree(Form.OIP_REST, good, good) is True
    assert agree(Form.OIP_REST, good, Answered(body)) is None
    assert agree(Form.OIP_REST, Answered(body, len(body) + 5), good) is None


@pytest.mark.parametrize("form", [Form.TFS_GRPC, Form.OIP_GRPC])
def test_messages_that_are_none(form):
    good = written({"y": floats([0.1, 0.9])}, form)
    for body in (b"\xff" * 10, good.body[:-3]):
        assert agree(form, good, Answered(body)) is None


def test_every_element_type_is_compared():
    for name in DTYPE_TO_OIP:
        values = texts([b"a", b"b"]) if name == "string" else np.array([[0, 1]]).astype(dtype_of_name(name))
        assert dtype_of(values) == name
        for form in Form:
            if form is Form.TFS_REST:
                continue
            assert agree(form, written({"y": values}, form), written({"y": values}, form)) is True, (name, form)


def dtype_of_name(name):
    from edgewise.protocols.dtypes import numpy_dtype

    return numpy_dtype(name)


def test_who_only_passes_answers_on_needs_no_numpy():
    code = "import sys; import edgewise.gateway.server; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
