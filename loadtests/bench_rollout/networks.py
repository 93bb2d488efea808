"""Networks to roll out: next to nothing to compute, with tables that make them as large as asked, and one that fails when it is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.model_server.building.version_directory import write_version

INPUT_SIZE, OUTPUT_SIZE = 8, 2
ROW = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
"""What the bench asks. The golden input is all zeros, so a network can be right about it and fail here."""
_OPSET, _IR_VERSION = 17, 8


@dataclass(frozen=True, slots=True)
class Network:
    """One version of a model.

    Attributes:
        tables: how many.
        table_bytes: of each.
        changed_share: of each table is drawn by the version; the rest is the same in all versions.
        fails: every answer to `ROW` is an error of the server.
    """

    tables: int = 1
    table_bytes: int = 16_000_000
    changed_share: float = 1.0
    fails: bool = False


def write(repository: Path, model: str, version: int, network: Network) -> Path:
    """Write `repository/model/version`, with a golden input. Returns: that directory."""
    content = _model(version, network).SerializeToString()
    zeros = np.zeros((1, INPUT_SIZE), np.float32)
    session = onnxruntime.InferenceSession(content)
    (answer,) = session.run(None, {"x": zeros})
    config = {
        "backend": "onnx",
        "file": "model.onnx",
        "batching": {"max_batch_size": 64},
        "warmup": {"batch_sizes": [1, 64]},
        "golden": [{"file": "zeros.npy", "output": "y", "expect": [float(one) for one in answer[0]]}],
    }

    def fill(staged: Path) -> None:
        (staged / "model.onnx").write_bytes(content)
        np.save(staged / "zeros.npy", zeros)

    write_version(repository, model, version, config=config, fill=fill)
    return repository / model / str(version)


def _model(version: int, network: Network) -> Any:
    nodes = [
        helper.make_node("Slice", ["x", "begin", "end", "axes"], ["first"]),
        helper.make_node("Cast", ["first"], ["place"], to=TensorProto.INT64),
        helper.make_node("MatMul", ["x", "weights"], ["sum_0"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "begin": np.array([0], np.int64),
        "end": np.array([1], np.int64),
        "axes": np.array([1], np.int64),
        "weights": np.random.default_rng(version).standard_normal((INPUT_SIZE, OUTPUT_SIZE)).astype(np.float32),
    }
    for number in range(network.tables):
        constants[f"table_{number}"] = _table(number, version, network)
        nodes += [
            helper.make_node("Gather", [f"table_{number}", "place"], [f"row_{number}"]),
            helper.make_node("Add", [f"sum_{number}", f"row_{number}"], [f"sum_{number + 1}"]),
        ]
    total = f"sum_{network.tables}"
    if network.fails:
        # Two numbers are to have the shape [2 + what was asked]. It fails inside a network whose inputs are in order, so it is the server's error.
        constants |= {"two": np.array([2], np.int64), "pair": np.zeros(2, np.float32)}
        nodes += [
            helper.make_node("ReduceMax", ["place"], ["most"], keepdims=0),
            helper.make_node("Add", ["most", "two"], ["shape"]),
            helper.make_node("Reshape", ["pair", "shape"], ["shaped"]),
            helper.make_node("ReduceMean", ["shaped"], ["nothing"], keepdims=0),
            helper.make_node("Add", [total, "nothing"], ["checked"]),
        ]
        total = "checked"
    nodes.append(helper.make_node("Softmax", [total], ["y"], axis=1))
    return helper.make_model(
        helper.make_graph(
            nodes,
            "bench",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", INPUT_SIZE])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", OUTPUT_SIZE])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        # In front of all tables, and of another length in each version: nothing lies where it lay in another one.
        producer_name="bench" * version,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )


def _table(number: int, version: int, network: Network) -> NDArray[np.float32]:
    values = np.random.default_rng((number,)).standard_normal(network.table_bytes // 4, np.float32)
    changed = int(len(values) * network.changed_share)
    # In the middle, so that what is the same lies on both sides.
    begin = (len(values) - changed) // 2
    values[begin : begin + changed] = np.random.default_rng((number, version)).standard_normal(changed, np.float32)
    return values
