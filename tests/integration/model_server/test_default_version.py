"""The label `default` and the wish for a version, through every door of a running server that follows its config file."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from edgewise.model_server.building import tiny
from edgewise.wire import inference_pb2, serving_pb2
from support.sockets import free_port
from support.spoiled_versions import expect_another_answer

BODY = {"instances": [[0.5] * 8]}
X = np.full((1, 8), 0.5, np.float32)
INFER = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [0.5] * 8}]}
PREFER = "x-edgewise-prefer-version"
TFS = "/tensorflow.serving.PredictionService/"
OIP = "/inference.GRPCInferenceService/ModelInfer"
PROTOBUF = {"content-type": "application/x-protobuf"}


class Files:
    """A config file and the versions that it may name, each with an answer of its own."""

    def __init__(self, directory):
        self.config = directory / "models.config"
        self.store = directory / "store"

    def build(self, *versions):
        for version in versions:
            tiny.build(self.store, version=version, bias=float(version))

    def write(self, *versions, **labels):
        wanted = " ".join(f"versions: {version}" for version in versions)
        points = " ".join(f'version_labels {{ key: "{label}" value: {version} }}' for label, version in labels.items())
        text = (
            f'model_config_list {{ config {{ name: "tiny" base_path: "{self.store / "tiny"}" model_platform: "onnx" '
            f"model_version_policy {{ specific {{ {wanted} }} }} {points} }} }}"
        )
        self.config.with_suffix(".new").write_text(text)
        self.config.with_suffix(".new").replace(self.config)


@pytest.fixture
def files(tmp_path):
    found = Files(tmp_path)
    found.build(1, 2, 3)
    return found


@pytest.fixture
def start(start_server, files):
    def begin(*versions, **labels):
        files.write(*versions, **labels)
        return start_server("--config", str(files.config), "--poll-interval-s", "0.05")

    return begin


def state(asked, version):
    answer = asked.rest("/v1/models/tiny")
    found = {one["version"]: one for one in answer.json["model_version_status"]}
    return found.get(str(version), {"state": ""})["state"]


def ways(ask, server, grpc_calls, tfs_request, oip_request):
    """Functions that ask with a wish, by name; each gives the version that answered, or the error's status."""
    asked, calls = ask(server), grpc_calls(server)
    binary = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "parameters": {"binary_data_size": 32}}]}
    head = json.dumps(binary).encode()
    tfs, oip = tfs_request("tiny", x=X), oip_request("tiny", x=X)

    def rest(path, body, **headers):
        def way(wish):
            more = {} if wish is None else {PREFER: wish}
            answer = asked.rest(path, body, method="POST", headers={**headers, **more})
            return int(answer.headers["x-edgewise-model-version"]) if answer.status == 200 else answer.status

        return way

    def grpc(method, request):
        def way(wish):
            metadata = () if wish is None else ((PREFER, wish),)
            _, code, _, trailers = calls.call(method, request, metadata=metadata)
            return int(trailers["x-edgewise-model-version"]) if code is None else {3: 400, 5: 404}[code.value[0]]

        return way

    return {
        "TFS REST": rest("/v1/models/tiny:predict", BODY),
        "OIP REST": rest("/v2/models/tiny/infer", INFER),
        "OIP REST in binary": rest(
            "/v2/models/tiny/infer", head + X.tobytes(), **{"Inference-Header-Content-Length": str(len(head))}
        ),
        "TFS gRPC": grpc(f"{TFS}Predict", tfs),
        "OIP gRPC": grpc(OIP, oip),
        "TFS gRPC over HTTP": rest(f"{TFS}Predict", tfs.SerializeToString(), **PROTOBUF),
        "OIP gRPC over HTTP": rest(OIP, oip.SerializeToString(), **PROTOBUF),
    }


def test_every_door_follows_the_label_and_the_wish(start, ask, grpc_calls, tfs_request, oip_request):
    server = start(1, 2, 3, default=2)
    for name, way in ways(ask, server, grpc_calls, tfs_request, oip_request).items():
        assert way(None) == 2, name
        assert [way(str(version)) for version in (1, 2, 3)] == [1, 2, 3], name
        # A version that is not there is no reason to fail, and a wish that is none is the client's mistake.
        assert way("9") == 2, name
        for wrong in ("0", "-1", "two", "1.5", "", "1,2"):
            assert way(wrong) == 400, (name, wrong)
    asked, calls = ask(server), grpc_calls(server)
    error = asked.rest("/v1/models/tiny:predict", BODY, headers={PREFER: "two"}).json["error"]
    assert error == "x-edgewise-prefer-version is not a version; expected a positive whole number"
    # Who names a version or a label gets that one.
    for path, version in (("/versions/1", "1"), ("/labels/default", "2")):
        answer = asked.rest(f"/v1/models/tiny{path}:predict", BODY, headers={PREFER: "3"})
        assert answer.headers["x-edgewise-model-version"] == version
    answer = asked.rest("/v2/models/tiny/versions/1/infer", INFER, headers={PREFER: "3"})
    assert answer.headers["x-edgewise-model-version"] == "1"
    pinned = tfs_request("tiny", x=X)
    pinned.model_spec.version.value = 1
    assert calls.call(f"{TFS}Predict", pinned, metadata=((PREFER, "3"),))[3]["x-edgewise-model-version"] == "1"
    named = oip_request("tiny", x=X)
    named.model_version = "1"
    assert calls.call(OIP, named, metadata=((PREFER, "3"),))[3]["x-edgewise-model-version"] == "1"


def test_a_call_of_several_tasks_takes_a_wish_as_well(start, grpc_calls):
    calls = grpc_calls(start(1, 2, default=1))
    request = serving_pb2.MultiInferenceRequest()
    request.tasks.add(method_name="tensorflow/serving/regress").model_spec.name = "tiny"
    request.input.example_list.examples.add().features.feature["x"].float_list.value.extend([0.5] * 8)
    for wish in ("2", "9"):
        # The version was found: `tiny` has nothing that regresses.
        code = calls.call(f"{TFS}MultiInference", request, metadata=((PREFER, wish),))[1]
        assert code.name == "INVALID_ARGUMENT"
    _, code, words, _ = calls.call(f"{TFS}MultiInference", request, metadata=((PREFER, "x"),))
    assert (code.name, "x-edgewise-prefer-version" in words) == ("INVALID_ARGUMENT", True)


def test_a_version_is_tried_out_beside_the_one_that_answers(start, files, ask, until):
    server = start(1, default=1)
    asked = ask(server)
    seen = set()

    def answers(wish=None):
        headers = {} if wish is None else {PREFER: wish}
        answer = asked.rest("/v1/models/tiny:predict", BODY, headers=headers)
        assert answer.status == 200
        seen.add((wish, answer.headers["x-edgewise-model-version"]))
        return answer.headers["x-edgewise-model-version"]

    assert (answers(), answers("2")) == ("1", "1")
    files.write(1, 2, default=1)
    until(lambda: answers() == "1" and answers("2") == "2")
    until(lambda: state(asked, 2) == "AVAILABLE")
    assert {version for wish, version in seen if wish is None} == {"1"}
    files.write(1, 2, default=2)
    until(lambda: answers() == "2")
    assert answers("1") == "1"
    files.write(2, default=2)
    until(lambda: state(asked, 1) in {"END", ""})
    assert (answers(), answers("1")) == ("2", "2")
    assert server.stop() == 0


def test_a_version_that_fails_its_golden_inputs_never_answers(start, files, ask, until):
    server = start(1, default=1)
    asked = ask(server)
    expect_another_answer(files.store / "tiny" / "2")
    files.write(1, 2, default=1)
    until(lambda: state(asked, 2) == "END")
    answer = asked.rest("/v1/models/tiny:predict", BODY, headers={PREFER: "2"})
    assert (answer.status, answer.headers["x-edgewise-model-version"]) == (200, "1")
    # The label cannot be moved to it, and a config that tries changes nothing.
    files.write(1, 2, default=2)
    until(lambda: "is not in force" in server.log)
    assert asked.rest("/v1/models/tiny:predict", BODY).headers["x-edgewise-model-version"] == "1"
    assert server.stop() == 0


def test_after_a_restart_nothing_answers_in_place_of_the_default(start, files, ask, until, tmp_path):
    assert start(1, 2, default=1).stop() == 0
    expect_another_answer(files.store / "tiny" / "1")
    port = free_port()
    words = ("--config", str(files.config), "--poll-interval-s", "0.05", "--rest-port", str(port), "--grpc-port", "0")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "edgewise", "serve", *words], stdout=log, stderr=log)
    try:
        # It is not ready, and says so.
        asked = ask(SimpleNamespace(rest_url=f"http://127.0.0.1:{port}"))
        until(lambda: "version 1 is END" in (tmp_path / "log").read_text())
        until(lambda: state(asked, 2) == "AVAILABLE")
        answer = asked.rest("/v1/models/tiny:predict", BODY)
        assert (answer.status, answer.json) == (404, {"error": "Servable not found for request: Specific(tiny, 1)"})
        assert asked.rest("/v2/models/tiny/infer", INFER).status == 404
        assert asked.rest("/v2/health/ready").status == 503
        assert "edgewise: ready" not in (tmp_path / "log").read_text()
        # Whoever asks for the other one is answered; and so is everybody once the label names it.
        assert asked.rest("/v1/models/tiny:predict", BODY, headers={PREFER: "2"}).status == 200
        files.write(1, 2, default=2)
        until(lambda: asked.rest("/v1/models/tiny:predict", BODY).status == 200)
        until(lambda: "edgewise: ready" in (tmp_path / "log").read_text())
    finally:
        process.terminate()
        assert process.wait(40) == 0


def test_ready_for_a_model_means_that_its_default_answers(start, ask, grpc_calls):
    server = start(1, 2, default=1)
    asked = ask(server)
    assert asked.rest("/v2/models/tiny/ready").status == 200
    request = inference_pb2.ModelReadyRequest(name="tiny")
    data = grpc_calls(server).call("/inference.GRPCInferenceService/ModelReady", request)[0]
    assert inference_pb2.ModelReadyResponse.FromString(data).ready
    assert asked.rest("/v1/models/tiny/metadata").json["model_spec"]["version"] == "1"
