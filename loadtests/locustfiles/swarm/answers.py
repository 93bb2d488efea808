"""Whether an answer is a prediction: a status alone does not say it."""

import json

from google.protobuf.message import DecodeError

from edgewise.wire import inference_pb2, serving_pb2

_SHOWN_BYTES = 200
_DECODER = json.JSONDecoder()


def complaint(protocol: str, body: bytes) -> str:
    """Why the body of an answer with a status of success is no prediction; "" when it is one.

    Args:
        protocol: one of `edgewise.study.cells.PROTOCOLS`.
        body: of the HTTP answer, or the gRPC message.
    """
    if protocol in ("tfs-grpc", "oip-grpc"):
        kind = serving_pb2.PredictResponse if protocol == "tfs-grpc" else inference_pb2.ModelInferResponse
        try:
            found = len(kind.FromString(body).outputs)
        except DecodeError:
            return "the answer is no message of the protocol"
        return "" if found else "the answer holds no prediction"
    try:
        # Binary tensors may lie behind the JSON; each byte is one character of Latin 1.
        document, _ = _DECODER.raw_decode(body.decode("latin-1"))
    except ValueError:
        return f"the answer is no JSON: {shown(body)}"
    outputs = (
        [document[name] for name in ("predictions", "outputs") if name in document]
        if isinstance(document, dict)
        else []
    )
    return "" if outputs and outputs[0] not in ({}, [], None, "") else f"the answer holds no prediction: {shown(body)}"


def refusal(status: int, body: bytes) -> str:
    """What an HTTP answer with another status than 200 says, in short."""
    try:
        said = str(json.loads(body)["error"])[:_SHOWN_BYTES]
    except (ValueError, TypeError, KeyError):
        said = shown(body)
    return f"{status}: {said}"


def shown(body: bytes) -> str:
    """The first words of a body."""
    return " ".join(body[:_SHOWN_BYTES].decode("utf-8", "replace").split()) or "an empty body"
