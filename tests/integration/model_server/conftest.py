"""What the suites around a running model server ask it, and a model whose requests say how long they take."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from support import wire_requests
from support.rest_questions import RestQuestions


class Ask(RestQuestions):
    """Questions to one server."""

    def __init__(self, server, tls=None):
        super().__init__(server.rest_url if tls is None else f"https://localhost:{server.rest_port}", tls)
        self.server = server
        self.begin = {}

    def in_flight(self) -> int:
        return int(self.metrics()["edgewise_server_in_flight"])

    def mark(self) -> None:
        """Count from here on."""
        self.begin = self.metrics()

    def _since(self, name) -> int:
        return int(self.metrics().get(name, 0) - self.begin.get(name, 0))

    def received(self) -> int:
        return self._since("edgewise_server_received_total")

    def runs(self) -> int:
        """How often a backend has run for requests."""
        return self._since("edgewise_server_batch_rows_count")

    def outcomes(self) -> dict[str, int]:
        return {
            outcome: self._since(f"edgewise_server_outcomes_total{{outcome={outcome}}}")
            for outcome in ("answered", "rejected", "expired", "failed")
        }


@pytest.fixture(scope="session")
def ask():
    """Makes an `Ask` of a server."""
    return Ask


@pytest.fixture
def slow(server, ask, until):
    """Counts from here on."""
    asked = ask(server)
    until(lambda: asked.in_flight() == 0)
    asked.mark()
    return asked


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture(scope="session")
def tfs_request():
    """Makes a PredictRequest."""
    return wire_requests.tfs_request


@pytest.fixture(scope="session")
def oip_request():
    """Makes a ModelInferRequest."""
    return wire_requests.oip_request


SIDE = 256


def slow_network() -> bytes:
    """A network from `x`: float32[batch, 1] to `y` of the same shape that multiplies matrices max(x) times."""
    generator = np.random.default_rng(8162)
    matrix = np.linalg.qr(generator.standard_normal((SIDE, SIDE)))[0].astype(np.float32)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["go_on"]),
            helper.make_node("MatMul", ["before", "matrix"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["steps"], to=TensorProto.INT64),
        helper.make_node("Loop", ["steps", "true", "matrix"], ["turned"], body=body),
        # The product is part of the answer, or an optimizer would leave it out.
        helper.make_node("ReduceMean", ["turned"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(matrix, "matrix"),
            numpy_helper.from_array(np.array(True), "true"),
            numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def build_slow():
    """Writes `DIR/slow/VERSION`."""

    def build(directory, *, version=1, toml="[batching]\nmax_batch_size = 1\nmax_queue = 2\n"):
        place = directory / "slow" / str(version)
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(slow_network())
        (place / "model.toml").write_text(f'backend = "onnx"\nthreads = 1\n{toml}')
        return place

    return build
