"""Weights that are inputs as well become constants, and nothing else changes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewise.model_server.backends.onnx_constants import constant_weights

WEIGHTS = np.arange(300, dtype=np.float32).reshape(3, 100)


def model(*, listed=True):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])]
    if listed:
        inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 100]))
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            inputs,
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 100])],
            [numpy_helper.from_array(WEIGHTS, "w")],
            doc_string="kept",
        ),
        producer_name="an old exporter",
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )


def test_only_the_weights_leave_the_inputs():
    found = onnx.ModelProto.FromString(constant_weights(model().SerializeToString()))
    assert found == model(listed=False)


def test_there_is_nothing_to_do_for_a_modern_file():
    assert constant_weights(model(listed=False).SerializeToString()) is None


def test_a_file_whose_weights_lie_beside_it_stays_as_it_is():
    outside = model()
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert constant_weights(outside.SerializeToString()) is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff" * 40, b"no model at all", b"\x3a\x7f\x01"])
def test_what_is_no_model_is_left_to_the_runtime(content):
    assert constant_weights(content) is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_left_to_the_runtime(share):
    whole = model().SerializeToString()
    assert constant_weights(whole[: int(len(whole) * share)]) is None
