"""Answers to predictions as they came over the wire, for those who compare them without having asked."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Body = bytes | bytearray | memoryview

JSON_LENGTH_HEADER: Final = b"inference-header-content-length"
"""Says how much of a REST answer of the Open Inference Protocol is JSON; tensors in binary are behind it."""


class Form(StrEnum):
    """What the bytes are."""

    TFS_REST = "TensorFlow Serving, JSON"
    OIP_REST = "Open Inference Protocol, JSON with tensors in binary behind it"
    TFS_GRPC = "PredictResponse"
    OIP_GRPC = "ModelInferResponse"


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer.

    Attributes:
        json_bytes: how much of it is JSON, where its header says so (OIP_REST).
    """

    body: Body
    json_bytes: int | None = None
