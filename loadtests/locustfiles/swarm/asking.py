"""What is asked and of whom: the questions of `edgewise.study.questions`, for the model that a server describes."""

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.study import questions, scenario, signatures
from edgewise.study.cells import Cell
from edgewise.study.engine.job import Asking
from edgewise.wire import inference_pb2, serving_pb2
from swarm import answers
from swarm.figures import CLOSED

GRPC_PROTOCOLS = ("tfs-grpc", "oip-grpc")
_SITE = "host"
_MOST_QUESTIONS = 256
_TFS_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
_OIP_METADATA = "/inference.GRPCInferenceService/ModelMetadata"


@dataclass(frozen=True, slots=True)
class Target:
    """Who is asked.

    Attributes:
        url: of REST, without a path.
        authority: host and port.
    """

    url: str
    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def target_of(host: str | None, protocol: str, engine: str = CLOSED) -> Target:
    """The target that `--host` names.

    Args:
        engine: of `options.ENGINES`; only the closed one speaks TLS.
    Raises: InvalidArgumentError: it names none that this protocol and engine reach.
    """
    grpc = protocol in GRPC_PROTOCOLS
    schemes = ("grpc", "http") if grpc else ("http", "https")
    example = "127.0.0.1:8081" if grpc else "http://127.0.0.1:8080"
    if not host:
        raise InvalidArgumentError(f"nobody to ask: name the server, such as --host {example}")
    try:
        parts = urlsplit(host if "://" in host else f"{schemes[0]}://{host}")
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in schemes or not parts.hostname or not port or parts.path.strip("/") or parts.query:
        raise InvalidArgumentError(f"--host {host!r} is no address for {protocol}: expected one such as {example}")
    target = Target("", parts.hostname, port, parts.scheme == "https")
    if target.tls and engine != CLOSED:
        raise InvalidArgumentError(f"the open-loop engine speaks no TLS: ask {host} with --engine closed")
    return replace(target, url=f"{parts.scheme}://{target.authority}")


def asking_for(protocol: str, target: Target, model: str, *, images: Path, seed: int, timeout_s: float) -> Asking:
    """The questions for a model.

    Args:
        images: a directory of photographs, for models that take them.
        timeout_s: for the server to describe the model.
    Raises: EdgewiseError: the server does not answer, has no such model, or it cannot be asked this way.
    """
    described = _described(protocol, target, model, timeout_s)
    cell = Cell(_SITE, "", model, protocol, 1.0, 1.0)
    asked = scenario.Scenario(
        title="locust",
        seed=seed,
        text="",
        run=scenario.RunSettings(),
        models=(scenario.ModelSpec(model, model, "repository"),),
        sites=(scenario.SiteSpec(_SITE, "edge", url=target.url),),
        gateway=scenario.GatewaySpec(),
        inputs=scenario.Inputs(images, limit=_MOST_QUESTIONS),
        sweep=scenario.Sweep((_SITE,), (), (model,), (protocol,), (1.0,)),
    )
    return replace(questions.make(asked, cell, described), host=target.host, port=target.port)


def _described(protocol: str, target: Target, model: str, timeout_s: float) -> Mapping[str, Any] | bytes:
    """What the server says of the model, TensorFlow Serving's way where it knows it."""
    refused: EdgewiseError | None = None
    if protocol in GRPC_PROTOCOLS:
        for ask in (_tfs_described, _oip_described):
            try:
                return ask(target, model, timeout_s)
            except NotFoundError as error:
                refused = refused or error
    else:
        for path in signatures.metadata_paths(quote(model, safe="")):
            status, body = _get(target, path, timeout_s)
            if status == 200:
                return body
            said = f"{target.url} describes no model {model!r} ({answers.refusal(status, body)}); name one that it serves with --model"
            refused = refused or NotFoundError(said)
    raise refused or InvalidArgumentError(model)


def _get(target: Target, path: str, timeout_s: float) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if target.tls else http.client.HTTPConnection
    # As locust's own clients do: a load test is run against certificates of all sorts.
    more = {"context": ssl._create_unverified_context()} if target.tls else {}  # noqa: SLF001 - there is no public one
    connection = kind(target.host, target.port, timeout=timeout_s, **more)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        raise UnavailableError(
            f"{target.url} does not answer: {why}; is --host right, and does the server run?"
        ) from None
    finally:
        connection.close()


def _call(target: Target, method: str, message: bytes, model: str, timeout_s: float) -> bytes:
    import grpc  # noqa: PLC0415 - REST does without

    with grpc.insecure_channel(target.authority) as channel:
        try:
            answer: bytes = channel.unary_unary(method)(message, timeout=timeout_s)
        except grpc.RpcError as error:
            code = error.code()
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                why = f"{target.authority} does not answer: {error.details()}; is --host right (the gRPC port), and does the server run?"
                raise UnavailableError(why) from None
            raise NotFoundError(
                f"{target.authority} describes no model {model!r} ({code.name}: {error.details()}); name one that it serves with --model"
            ) from None
        return answer


def _tfs_described(target: Target, model: str, timeout_s: float) -> Mapping[str, Any]:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - REST does without

    request = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    message = _call(target, _TFS_METADATA, request.SerializeToString(), model, timeout_s)
    packed = serving_pb2.GetModelMetadataResponse.FromString(message).metadata["signature_def"].value
    signature_map = serving_pb2.SignatureDefMap.FromString(packed)
    return {"metadata": {"signature_def": MessageToDict(signature_map, preserving_proto_field_name=True)}}


def _oip_described(target: Target, model: str, timeout_s: float) -> Mapping[str, Any]:
    request = inference_pb2.ModelMetadataRequest(name=model)
    answer = inference_pb2.ModelMetadataResponse.FromString(
        _call(target, _OIP_METADATA, request.SerializeToString(), model, timeout_s)
    )
    return {
        "inputs": [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in answer.inputs],
        "outputs": [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in answer.outputs],
    }
