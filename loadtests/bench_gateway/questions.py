"""The requests and their answers, fixed; both made once."""

import json
import random
import struct
from dataclasses import dataclass
from pathlib import Path

from bench_serve.questions import TFS_PREDICT, field, http_post, varint

SMALL_PATH, LARGE_PATH = "/v1/models/m:predict", "/v1/models/large:predict"
LARGE_NUMBERS = 4400
GRPC_PATH = TFS_PREDICT

SMALL_REQUEST = b'{"instances": [[0.11, 0.52, -1.3, 0.44, 0.95, -0.76, 0.27]]}'
SMALL_ANSWER = b'{"predictions": [[0.12, 0.34, -0.56, 0.78, 0.91, -0.23, 0.4]]}'


def _large(key: str, seed: int) -> bytes:
    numbers = random.Random(seed)
    return json.dumps({key: [[round(numbers.uniform(-2, 2), 7) for _ in range(LARGE_NUMBERS)]]}).encode()


LARGE_REQUEST, LARGE_ANSWER = _large("instances", 1), _large("predictions", 2)


@dataclass(frozen=True, slots=True)
class Exact:
    """The answer is right when it is this, byte for byte."""

    expected: bytes

    def __call__(self, body: bytes) -> bool:
        """Whether `body` is a right answer."""
        return body == self.expected


@dataclass(frozen=True, slots=True)
class Question:
    """One way of asking over HTTP/1.1.

    Attributes:
        path, body: of a POST.
        answer: what the sites say to it.
    """

    path: str
    body: bytes
    answer: bytes

    def request(self) -> bytes:
        """The whole request."""
        return http_post(self.path, self.body, "application/json")


SMALL = Question(SMALL_PATH, SMALL_REQUEST, SMALL_ANSWER)
LARGE_BODY = Question(SMALL_PATH, LARGE_REQUEST, SMALL_ANSWER)
LARGE_REPLY = Question(LARGE_PATH, SMALL_REQUEST, LARGE_ANSWER)


def _tensor(name: str, numbers: tuple[float, ...]) -> bytes:
    shape = field(2, field(1, 1)) + field(2, field(1, len(numbers)))
    values = struct.pack(f"<{len(numbers)}f", *numbers)
    # float_val, the field that clients of TensorFlow Serving read.
    tensor = field(1, 1) + field(2, shape) + varint(5 << 3 | 2) + varint(len(values)) + values
    return field(1, name.encode()) + field(2, tensor)


GRPC_REQUEST = field(1, field(1, b"m")) + field(2, _tensor("x", (0.11, 0.52, -1.3, 0.44)))
GRPC_ANSWER = field(1, _tensor("y", (0.12, 0.34))) + field(2, field(1, b"m") + field(2, field(1, 3)))


def write_files(directory: Path) -> dict[str, Path]:
    """Put the bodies where the programs read them; the keys are those of the configurations."""
    files = {"LARGE_ANSWER_FILE": ("large.json", LARGE_ANSWER), "GRPC_ANSWER_FILE": ("answer.pb", GRPC_ANSWER)}
    for name, body in files.values():
        (directory / name).write_bytes(body)
    return {key: directory / name for key, (name, _) in files.items()}
