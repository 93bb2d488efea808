"""What answers say beside the prediction, what the request log says, and images through every door."""

import base64
import io
import json
import select
import struct
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from PIL import Image

from edgewise.wire import inference_pb2, serving_pb2

X = np.zeros((1, 8), np.float32)
INSTANCES = {"instances": [[0.0] * 8]}
INFERENCE = {"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [0.0] * 8}]}
LOG_KEYS = [
    *("time", "protocol", "method", "model", "version", "code", "ms", "queue_ms", "compute_ms", "request_id"),
    "peer",
]


class Lines:
    """What a server prints after its ready line."""

    def __init__(self, server):
        self.stream = server.process.stdout
        self.seen = b""

    def read(self, timeout_s):
        readable, _, _ = select.select([self.stream], [], [], timeout_s)
        if readable:
            self.seen += self.stream.read1(65536)
        return bool(readable)

    def take(self, count):
        """The next so many lines."""
        ends_s = time.monotonic() + 20
        while self.seen.count(b"\n") < count:
            assert time.monotonic() < ends_s, self.seen
            self.read(1)
        *lines, self.seen = self.seen.split(b"\n", count)
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def server(start_server, tiny_repository):
    return start_server("--repository", str(tiny_repository), "--site", "cellar", "--tier", "cloud", "--request-log")


@pytest.fixture(scope="module")
def lines(server):
    return Lines(server)


def test_one_line_a_request(server, lines, ask, grpc_calls, tfs_request, oip_request):
    asked, calls = ask(server), grpc_calls(server)
    identity = {"x-request-id": "r-1"}
    asked.rest("/v1/models/tiny:predict", INSTANCES, headers=identity)
    (line,) = lines.take(1)
    assert list(line) == LOG_KEYS
    assert line["time"].endswith("Z")
    assert line["ms"] >= line["queue_ms"] >= 0
    assert line["compute_ms"] > 0
    assert line["peer"].startswith("127.0.0.1:")

    def last(*keys):
        (line,) = lines.take(1)
        assert list(line) == LOG_KEYS
        return tuple(line[key] for key in keys or ("protocol", "method", "model", "version", "code", "request_id"))

    asked.rest("/v2/models/tiny/versions/2/infer", INFERENCE)
    assert last() == ("oip-rest", "Predict", "tiny", 2, "OK", "")
    asked.rest("/v1/models/tiny:predict", b"{", headers=identity)
    assert last() == ("tfs-rest", "Predict", "tiny", None, "INVALID_ARGUMENT", "r-1")
    # The names that clients make up stay out of it, as they stay out of the metrics.
    asked.rest("/v1/models/absent:classify", b"{}")
    assert last() == ("tfs-rest", "Classify", "", None, "NOT_FOUND", "")
    calls.predict(tfs_request("tiny", x=X), metadata=(("x-request-id", "r-2"),))
    assert last() == ("tfs-grpc", "Predict", "tiny", 2, "OK", "r-2")
    calls.infer(oip_request("tiny", z=X), metadata=(("x-request-id", "r-3"),))
    assert last() == ("oip-grpc", "Predict", "tiny", None, "INVALID_ARGUMENT", "r-3")
    calls.predict(b"\xff")
    assert last("model", "code") == ("", "INVALID_ARGUMENT")
    # Questions are no predictions.
    asked.rest("/v1/models/tiny")
    asked.rest("/metrics")
    asked.rest("/v1/models/tiny:predict", INSTANCES, headers={"x-request-id": 'a"b' + "c" * 200})
    assert last("request_id") == ('a"b' + "c" * 125,)


def test_no_log_unless_asked_for(start_server, tiny_repository, ask):
    server = start_server("--repository", str(tiny_repository))
    assert ask(server).rest("/v1/models/tiny:predict", INSTANCES).status == 200
    assert server.process.stdout is not None
    server.process.send_signal(15)
    assert server.process.stdout.read() == b""
    assert server.stop() == 0


def test_rest_headers(server, ask):
    asked = ask(server)
    for path, body in (("/v1/models/tiny:predict", INSTANCES), ("/v2/models/tiny/infer", INFERENCE)):
        answer = asked.rest(path, body, headers={"x-request-id": "camera-7:42"})
        assert answer.headers["x-edgewise-site"] == "cellar"
        assert answer.headers["x-edgewise-tier"] == "cloud"
        assert answer.headers["x-edgewise-model-version"] == "2"
        assert 0.5 <= float(answer.headers["x-edgewise-confidence"]) <= 1
        assert answer.headers["x-request-id"] == "camera-7:42"
        assert asked.rest(path, body).headers["x-request-id"] is None


@pytest.mark.parametrize("path", ["/v1/models/tiny", "/v1/models/tiny/metadata", "/v2", "/v2/health/ready"])
def test_rest_questions_say_who_answered(server, ask, path):
    headers = ask(server).rest(path).headers
    assert (headers["x-edgewise-site"], headers["x-edgewise-tier"]) == ("cellar", "cloud")


def test_balancers_may_ask_with_head(server, ask):
    answer = ask(server).rest("/v2/health/ready", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/tiny:predict", b"{", 400),
        ("/v1/models/tiny:predict", {"instances": [[0.0]]}, 400),
        ("/v1/models/absent:predict", INSTANCES, 404),
        ("/v1/models/tiny:explode", INSTANCES, 400),
        ("/v1/models/absent", None, 404),
        ("/v2/models/tiny/infer", b"{}", 400),
        ("/v2/models/tiny/versions/9/infer", INFERENCE, 404),
        ("/v2/models/absent", None, 404),
        ("/v2/nothing", None, 404),
    ],
)
def test_rest_errors_carry_id_and_site(server, ask, path, body, status):
    answer = ask(server).rest(path, body, headers={"x-request-id": "r-9"})
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-request-id"] == "r-9"
    assert answer.headers["x-edgewise-site"] == "cellar"
    assert answer.headers["x-edgewise-tier"] == "cloud"


def test_grpc_trailers(server, grpc_calls, tfs_request, oip_request):
    calls = grpc_calls(server)
    identity = (("x-request-id", "r-1"),)
    for ask_ in (
        lambda **words: calls.predict(tfs_request("tiny", x=X), **words),
        lambda **words: calls.infer(oip_request("tiny", x=X), **words),
    ):
        _, code, _, trailers = ask_(metadata=identity)
        assert code is None
        assert 0.5 <= float(trailers.pop("x-edgewise-confidence")) <= 1
        assert trailers == {
            "x-edgewise-site": "cellar",
            "x-edgewise-tier": "cloud",
            "x-edgewise-model-version": "2",
            "x-edgewise-queue-depth": "0",
            "x-request-id": "r-1",
        }
        assert "x-request-id" not in ask_()[3]


def test_grpc_questions_say_who_answered(server, grpc_calls):
    _, code, _, trailers = grpc_calls(server).call("/inference.GRPCInferenceService/ServerMetadata")
    assert code is None
    assert trailers == {"x-edgewise-site": "cellar", "x-edgewise-tier": "cloud"}


def test_grpc_errors_carry_id_and_site(server, grpc_calls, tfs_request, oip_request):
    calls = grpc_calls(server)
    identity = (("x-request-id", "r-1"),)
    errors = [
        calls.predict(tfs_request("absent", x=X), metadata=identity),
        calls.predict(tfs_request("tiny", z=X), metadata=identity),
        calls.predict(b"\xff", metadata=identity),
        calls.infer(oip_request("absent", x=X), metadata=identity),
        calls.call("/tensorflow.serving.ModelService/GetModelStatus", metadata=identity),
    ]
    for _, code, _, trailers in errors:
        assert code in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
        assert trailers == {"x-edgewise-site": "cellar", "x-edgewise-tier": "cloud", "x-request-id": "r-1"}


@pytest.fixture(scope="module")
def pets(start_server, pets_repository):
    return start_server("--repository", str(pets_repository))


def test_images_through_every_door(pets, images, ask, grpc_calls, tfs_request, oip_request):
    asked, calls = ask(pets), grpc_calls(pets)
    jpeg = (images / "cat.jpg").read_bytes()
    picture = Image.open(io.BytesIO(jpeg))
    png, webp = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG", compress_level=1)
    picture.save(webp, "WEBP", lossless=True, quality=0, method=0)

    answers = {}
    for kind, data in (("jpeg", jpeg), ("png", png.getvalue()), ("webp", webp.getvalue())):
        answer = asked.rest("/v1/models/pets:predict", data, headers={"Content-Type": f"image/{kind}"})
        assert answer.status == 200, answer.body
        (answers[kind],) = answer.json["predictions"]
        assert float(answer.headers["x-edgewise-confidence"]) == pytest.approx(
            answers[kind]["probabilities"][0], abs=1e-3
        )

    b64 = {"b64": base64.b64encode(jpeg).decode()}
    for name, instance in (("b64", b64), ("b64 by name", {"image": b64})):
        answer = asked.rest("/v1/models/pets:predict", {"signature_name": "image", "instances": [instance]})
        assert answer.status == 200, answer.body
        (answers[name],) = answer.json["predictions"]
    answer = asked.rest("/v1/models/pets:predict", {"signature_name": "image", "inputs": {"image": [b64]}})
    answers["b64 columns"] = {name: values[0] for name, values in answer.json["outputs"].items()}

    # JSON holds text only, so an image goes through the Open Inference Protocol's REST as a binary tensor.
    tensor = struct.pack("<I", len(jpeg)) + jpeg
    head = json.dumps(
        {
            "inputs": [
                {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tensor)}}
            ]
        }
    ).encode()
    answer = asked.rest(
        "/v2/models/pets/infer", head + tensor, headers={"Inference-Header-Content-Length": str(len(head))}
    )
    assert answer.status == 200, answer.body
    answers["oip rest"] = {output["name"]: output["data"] for output in answer.json["outputs"]}

    data, code, details, _ = calls.predict(tfs_request("pets", signature="image", image=[jpeg]))
    assert code is None, details
    outputs = serving_pb2.PredictResponse.FromString(data).outputs
    answers["tfs grpc"] = {
        "labels": [label.decode() for label in outputs["labels"].string_val],
        "probabilities": list(outputs["probabilities"].float_val),
        "verdict": outputs["verdict"].string_val[0].decode(),
    }

    data, code, details, _ = calls.infer(oip_request("pets", image=[jpeg]))
    assert code is None, details
    message = inference_pb2.ModelInferResponse.FromString(data)
    raw = dict(zip([output.name for output in message.outputs], message.raw_output_contents, strict=True))
    answers["oip grpc"] = {
        "labels": texts(raw["labels"]),
        "probabilities": np.frombuffer(raw["probabilities"], "<f4").tolist(),
        "verdict": texts(raw["verdict"])[0],
    }

    reference = answers["jpeg"]
    assert reference["verdict"] == "cat"
    assert "cat" in reference["labels"][0]
    assert len(reference["labels"]) == 5
    for name, answer in answers.items():
        verdict = answer["verdict"] if isinstance(answer["verdict"], str) else answer["verdict"][0]
        assert verdict == "cat", name
        assert answer["labels"] == reference["labels"], name
        np.testing.assert_allclose(answer["probabilities"], reference["probabilities"], atol=1e-4, err_msg=name)


def texts(raw):
    """The elements of a raw BYTES tensor."""
    found = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        found.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return found


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("image/jpeg", b"no image", "image"),
        ("image/png", b"\x89PNG\r\n\x1a\n", "image"),
        ("image/gif", b"GIF89a", "image/webp"),
        ("image/jpeg", b"", "image"),
    ],
)
def test_what_is_no_image(pets, ask, kind, data, words):
    answer = ask(pets).rest("/v1/models/pets:predict", data, headers={"Content-Type": kind})
    assert answer.status == 400
    assert words in answer.json["error"]


def test_a_model_without_images(server, ask):
    answer = ask(server).rest("/v1/models/tiny:predict", b"\xff\xd8", headers={"Content-Type": "image/jpeg"})
    assert answer.status == 400
    assert "no signature that takes images" in answer.json["error"]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_names_and_messages(server, grpc_calls, version):
    from google.protobuf import descriptor_pb2, descriptor_pool
    from grpc_reflection.v1alpha import reflection_pb2

    calls = grpc_calls(server)
    method = calls.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )

    def reflect(request):
        asked = [reflection_pb2.ServerReflectionRequest(**request)]
        return list(method(iter(asked), timeout=10))

    (listed,) = reflect({"list_services": ""})
    assert {service.name for service in listed.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    files = {}

    def learn(**request):
        """Take in what a file holds, after the files that it needs."""
        (answer,) = reflect(request)
        assert answer.error_response.error_code == 0, answer
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            for name in file.dependency:
                if name not in files:
                    learn(file_by_filename=name)
            files.setdefault(file.name, data)

    for symbol in (
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "inference.GRPCInferenceService",
        "tensorflow.TensorProto",
        "grpc.health.v1.Health",
        f"grpc.reflection.{version}.ServerReflection",
    ):
        learn(file_containing_symbol=symbol)
    assert not any("edgewise" in name for name in files)
    pool = descriptor_pool.DescriptorPool()
    for data in files.values():
        pool.AddSerializedFile(data)
    predict = pool.FindServiceByName("tensorflow.serving.PredictionService").FindMethodByName("Predict")
    assert predict.input_type.full_name == "tensorflow.serving.PredictRequest"
    infer = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelInfer")
    assert infer.output_type.full_name == "inference.ModelInferResponse"
    (unknown,) = reflect({"file_containing_symbol": "no.Such"})
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_health_by_service(server, grpc_calls):
    calls = grpc_calls(server)
    for service in (
        "",
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "inference.GRPCInferenceService",
    ):
        data, code, _, _ = calls.call("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service=service))
        assert code is None
        assert health_pb2.HealthCheckResponse.FromString(data).status == health_pb2.HealthCheckResponse.SERVING
    _, code, _, _ = calls.call("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service="other"))
    assert code is grpc.StatusCode.NOT_FOUND
