"""What loadgen is told of samples: each once, with its answer or with none."""

import ctypes
from contextlib import closing

import pytest

from edgewise.study.engine.job import Asking, Question
from edgewise.study.mlperf_loadgen import Network
from edgewise.study.mlperf_port import MlperfJob


class Loadgen:
    """Notes what it is told, and copies answers while it is told of them, as loadgen does."""

    def __init__(self):
        self.told = []

    @staticmethod
    def QuerySampleResponse(tag, address, size):  # noqa: N802 - loadgen's name
        return tag, ctypes.string_at(address, size)

    def QuerySamplesComplete(self, responses):  # noqa: N802 - loadgen's name
        self.told += responses


@pytest.fixture
def network():
    asking = Asking("http", "127.0.0.1", 1, "/v1/models/m:predict", [Question(b"{}")])
    job = MlperfJob("Server", False, asking, ".", "m", 1.0, 1.0, 1.0, 1, 1.0, 1)
    with closing(Network(job, Loadgen())) as made:
        yield made


def test_an_answer_of_any_length_is_passed_on(network):
    bodies = [b"", b"short", bytes(range(256)) * 1000, memoryview(b"view"), bytearray(b"array")]

    for tag, body in enumerate(bodies):
        network._ended(tag, body, "")

    assert network._loadgen.told == [(tag, bytes(body)) for tag, body in enumerate(bodies)]
    assert network.failed == 0


def test_a_failure_is_complete_for_loadgen_and_counted_here(network):
    network._ended(7, b"half an answ", "the connection was closed")

    assert network._loadgen.told == [(7, b"")]
    assert network.failed == 1
    assert network.failures == {"the connection was closed": 1}


def test_distinct_reasons_are_bounded(network):
    for tag in range(1000):
        network._ended(tag, b"", f"HTTP 503: request {tag} is one too many")

    assert len(network._loadgen.told) == 1000
    assert network.failed == 1000 == sum(network.failures.values())
    assert len(network.failures) == 65
