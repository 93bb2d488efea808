"""Versions of `tiny` that load, warm up and are well, and fail or dawdle once they are asked something else than nothing."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgewise.model_server.building import tiny

_SIDE = 192


def make_it_fail(directory: Path) -> None:
    """Every answer to a row that is not zero is an error of the server: a table of two is to have another shape."""
    _replace(
        directory,
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "thousand"], ["far"]),
            helper.make_node("Cast", ["far"], ["place"], to=TensorProto.INT64),
            helper.make_node("Add", ["place", "two"], ["shape"]),
            helper.make_node("Reshape", ["table", "shape"], ["shaped"]),
            helper.make_node("ReduceMean", ["shaped"], ["found"], keepdims=0),
            helper.make_node("Mul", ["x2", "found"], ["y"]),
        ],
        {
            "thousand": np.array(1000.0, np.float32),
            "two": np.array([2], np.int64),
            "table": np.zeros((2,), np.float32),
        },
    )


def make_it_slow(directory: Path, turns: int = 40) -> None:
    """Rows that are not zero take some ten milliseconds: it multiplies matrices."""
    matrix = np.linalg.qr(np.random.default_rng(1).standard_normal((_SIDE, _SIDE)))[0].astype(np.float32)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["go_on"]),
            helper.make_node("MatMul", ["before", "matrix"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [_SIDE, _SIDE]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [_SIDE, _SIDE]),
        ],
    )
    _replace(
        directory,
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "turns"], ["far"]),
            helper.make_node("Cast", ["far"], ["steps"], to=TensorProto.INT64),
            helper.make_node("Loop", ["steps", "true", "matrix"], ["turned"], body=body),
            helper.make_node("ReduceMean", ["turned"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["x2", "nothing"], ["y"]),
        ],
        {
            "turns": np.array(2.0 * turns, np.float32),
            "matrix": matrix,
            "true": np.array(True),
            "zero": np.array(0.0, np.float32),
        },
    )


def _replace(directory: Path, nodes: list, constants: dict) -> None:
    """Another network behind the same signature; `x2` is the first two columns of `x`."""
    slices = {"begin": [0], "end": [tiny.OUTPUT_SIZE], "axes": [1]}
    initializers = [
        *(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in slices.items()),
        *(numpy_helper.from_array(value, name) for name, value in constants.items()),
    ]
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", "begin", "end", "axes"], ["x2"]), *nodes],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", tiny.INPUT_SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", tiny.OUTPUT_SIZE])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (directory / "model.onnx").write_bytes(model.SerializeToString())
