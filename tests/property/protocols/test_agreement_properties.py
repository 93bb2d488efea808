"""Comparing answers, whatever they are."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgewise.core.requests import PredictResponse
from edgewise.protocols.agreement import agree
from edgewise.protocols.answers import Answered, Form
from edgewise.protocols.oip_grpc import encode_infer_response
from edgewise.protocols.tfs_grpc import encode_predict_response
from edgewise.protocols.tfs_rest import encode_predict

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
NUMBERS = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    arrays.array_shapes(min_dims=1, max_dims=3, max_side=4),
)
OUTPUTS = st.dictionaries(st.text(min_size=1, max_size=8), NUMBERS, min_size=1, max_size=3)


@given(old=st.binary(max_size=80), new=st.binary(max_size=80), length=st.none() | st.integers(0, 100))
def test_any_bytes_do_no_harm(old, new, length):
    for form in Form:
        assert agree(form, Answered(old, length), Answered(new, length)) in (True, False, None)


@given(old=JSON, new=JSON)
def test_any_json_does_no_harm(old, new):
    for name in ("predictions", "outputs"):
        answers = [Answered(json.dumps({name: one}).encode()) for one in (old, new)]
        assert agree(Form.TFS_REST, *answers) in (True, False, None)
        assert agree(Form.OIP_REST, *answers) in (True, False, None)


@given(outputs=OUTPUTS)
def test_an_answer_agrees_with_itself(outputs):
    response = PredictResponse("m", 1, "serving_default", outputs)
    for form, write in ((Form.TFS_GRPC, encode_predict_response), (Form.OIP_GRPC, encode_infer_response)):
        answer = Answered(write(response))
        assert agree(form, answer, answer) is True


@given(outputs=OUTPUTS, others=OUTPUTS)
def test_all_forms_say_the_same(outputs, others):
    def said(form, write):
        answers = [Answered(write(PredictResponse("m", 1, "s", one))) for one in (outputs, others)]
        return agree(form, *answers)

    said_by_grpc = said(Form.TFS_GRPC, encode_predict_response)
    assert said(Form.OIP_GRPC, encode_infer_response) is said_by_grpc
    columns = said(Form.TFS_REST, lambda response: encode_predict(response.outputs, row_format=False))
    assert columns is said_by_grpc or any(one.dtype == np.float32 for one in (*outputs.values(), *others.values()))
