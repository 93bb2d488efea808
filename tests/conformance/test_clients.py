"""Public clients of both protocols, unmodified, each in its own process: predict, metadata, status.

They ask the model server itself, and the same through the gateway: with gRPC carried to the site over HTTP/1.1, and over
HTTP/2 as to a site that is not ours.
"""

import numpy as np
import onnxruntime as ort
import pytest

pytestmark = pytest.mark.timeout(600)  # the first run installs the clients

MODEL = ("tiny", "x", "y", "8")


@pytest.fixture(scope="module", params=["server", "gateway", "gateway-http2"])
def server(request, start_server, start_gateway, tiny_repository, tmp_path_factory):
    site = start_server("--repository", str(tiny_repository), "--site", "here", "--tier", "cloud")
    if request.param == "server":
        return site
    grpc = f'grpc = "{site.grpc_target}"' if request.param == "gateway-http2" else ""
    config = tmp_path_factory.mktemp("gateway") / "gateway.toml"
    config.write_text(f'[[site]]\nname = "here"\ntier = "cloud"\nrest = "{site.rest_url}"\n{grpc}\n')
    return start_gateway("--config", str(config))


@pytest.fixture(scope="module")
def expected(tiny_repository):
    """What ONNX Runtime itself computes with the version that is served."""
    session = ort.InferenceSession(tiny_repository / "tiny" / "2" / "model.onnx", providers=["CPUExecutionProvider"])

    def compute(values):
        return session.run(["y"], {"x": np.asarray(values, np.float32)})[0]

    return compute


def close(found, values, expected):
    np.testing.assert_allclose(np.asarray(found, np.float32), expected(values), rtol=1e-5)


def test_tensorflow_serving_stubs(server, run_client, expected):
    found = run_client("tfs", server.grpc_target, *MODEL, environment="own")
    close(found["output"], found["input"], expected)
    assert np.asarray(found["typed"]).size == np.asarray(found["output"]).size
    assert found["version"] == 2
    assert found["signature"] == "serving_default"
    assert found["method"] == "tensorflow/serving/predict"
    assert found["inputs"] == {"x": [1, [-1, 8]]}
    assert [2, 30, 0] in found["status"]
    assert found["trailers"]["x-edgewise-site"] == "here"
    assert found["trailers"]["x-edgewise-tier"] == "cloud"
    assert found["trailers"]["x-edgewise-model-version"] == "2"


@pytest.mark.clients
def test_ovmsclient(server, run_client, expected):
    rest = server.rest_url.removeprefix("http://")
    found = run_client("ovmsclient", server.grpc_target, rest, "tiny", "x", "8")
    for door in ("grpc", "rest"):
        close(found[door]["output"], found["input"], expected)
        assert found[door]["status"]["2"]["state"] == "AVAILABLE"
    assert found["grpc"]["metadata"]["inputs"] == {"x": {"shape": [-1, 8], "dtype": "DT_FLOAT"}}
    assert found["grpc"]["metadata"]["model_version"] == 2
    # Over REST the client hands the server's JSON through.
    signature = found["rest"]["metadata"]["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "8"]


@pytest.mark.clients
def test_tritonclient(server, run_client, expected):
    rest = server.rest_url.removeprefix("http://")
    found = run_client("tritonclient", server.grpc_target, rest, *MODEL)
    values = found["input"]
    http, grpc, aio = found["http"], found["grpc"], found["aio"]
    for door in (http, grpc):
        assert door["live"] is door["ready"] is door["model_ready"] is True
        assert door["server"]["name"]
        assert door["metadata"]["name"] == "tiny"
        assert door["metadata"]["inputs"][0]["datatype"] == "FP32"
        assert [int(size) for size in door["metadata"]["inputs"][0]["shape"]] == [-1, 8]
    for way in ("binary", "json"):
        close(http[way]["output"], values, expected)
        assert http[way]["id"] == way
        assert http[way]["version"] == "2"
    for way in ("gzip", "deflate", "default_outputs"):
        close(http[way], values, expected)
    assert len(http["async"]) == 4
    for output in http["async"]:
        close(output, values, expected)
    close(grpc["output"], values, expected)
    assert (grpc["id"], grpc["version"]) == ("g", "2")
    assert grpc["absent"][0] == "StatusCode.NOT_FOUND"
    assert aio["http_ready"] is aio["grpc_ready"] is True
    close(aio["http"], values, expected)
    close(aio["grpc"], values, expected)


@pytest.mark.clients
def test_kserve(server, run_client, expected):
    found = run_client("kserve", server.grpc_target, server.rest_url, *MODEL)
    for name in ("live", "ready", "model_ready", "grpc_live", "grpc_ready", "grpc_model_ready"):
        assert found[name] is True, name
    for way in ("v2", "v2_binary", "v1", "grpc"):
        close(found[way], found["input"], expected)
    assert found["v2_id"] == found["grpc_id"] == "k"
