"""A TensorFlow Serving deployment moves over by changing one command: that server's flags, files and metric names."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgewise.core.errors import InvalidArgumentError
from edgewise.model_server.tensorflow_flags import USAGE, parse_flags
from edgewise.wire import serving_pb2, tensor_pb2
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

COMMAND = "tensorflow-model-server"
ROW = [0.0] * 8
PREDICT = "/tensorflow.serving.PredictionService/Predict"
METRICS = "/monitoring/prometheus/metrics"
WARMUP = Path("assets.extra", "tf_serving_warmup_requests")


@pytest.fixture
def ports():
    """Two free ports: gRPC, REST."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@pytest.fixture
def start(start_server, ports):
    """Starts the command on two free ports; `--name=value` from keyword arguments."""
    started = []

    def run(*words, **flags):
        flags = {"port": ports[0], "rest_api_port": ports[1]} | flags
        written = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        server = start_server(*written, *words, command=COMMAND)
        started.append(server)
        return server

    yield run
    for server in started:
        server.stop()


@pytest.fixture
def base(tiny_repository, tmp_path):
    """A model directory of its own, with versions 1 and 2 of `tiny`."""
    return shutil.copytree(tiny_repository / "tiny", tmp_path / "base")


def ask(server, path, body=None, timeout_s=20):
    """Status and JSON of a REST answer."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"{server.rest_url}{path}", data=data, timeout=timeout_s) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def page(server, path):
    with urllib.request.urlopen(f"{server.rest_url}{path}", timeout=10) as answer:
        return answer.read().decode()


def predict(server, model, where="", rows=1):
    return ask(server, f"/v1/models/{model}{where}:predict", {"instances": [ROW] * rows})


def states(server, model):
    """State and error message by version."""
    status, found = ask(server, f"/v1/models/{model}")
    assert status == 200, found
    return {
        int(one["version"]): (one["state"], one["status"]["error_code"], one["status"]["error_message"])
        for one in found["model_version_status"]
    }


def grpc_predict(target, model, credentials=None, options=(), rows=1):
    """The version that answered."""
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = tensor_pb2.DT_FLOAT
    for length in (rows, 8):
        tensor.tensor_shape.dim.add(size=length)
    tensor.tensor_content = np.zeros((rows, 8), np.float32).tobytes()
    make = grpc.insecure_channel if credentials is None else grpc.secure_channel
    arguments = (target,) if credentials is None else (target, credentials)
    with make(*arguments, options=options) as channel:
        answer = channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=10)
    return serving_pb2.PredictResponse.FromString(answer).model_spec.version.value


def write(path, text):
    """Exchange a file at once, as a deployment tool does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


def fail(*words):
    """Exit code and what was said by a command that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "edgewise", COMMAND, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


# ---- one model


def test_one_model_by_its_base_path(start, base):
    server = start(model_name="small", model_base_path=base)
    assert predict(server, "small")[0] == 200
    assert grpc_predict(server.grpc_target, "small") == 2
    assert states(server, "small") == {2: ("AVAILABLE", "OK", "")}
    assert predict(server, "default")[0] == 404
    # That server looks for new versions each second unless told otherwise.
    shutil.copytree(base / "2", base / "3")
    wait_for(lambda: states(server, "small").get(3, ("",))[0] == "AVAILABLE")
    assert grpc_predict(server.grpc_target, "small") == 3
    assert server.stop() == 0


def test_without_a_rest_port_there_is_no_rest(start, base):
    server = start(model_base_path=base, rest_api_port=None)
    assert server.rest_port == 0
    assert grpc_predict(server.grpc_target, "default") == 2


def test_a_unix_socket_for_grpc(start, base, tmp_path):
    path = tmp_path / "grpc.sock"
    server = start(model_base_path=base, grpc_socket_path=path)
    assert grpc_predict(f"unix:{path}", "default") == 2
    assert grpc_predict(server.grpc_target, "default") == 2


def test_port_0_leaves_the_unix_socket_alone(start, base, tmp_path):
    path = tmp_path / "grpc.sock"
    server = start(model_base_path=base, grpc_socket_path=path, port=0)
    assert server.grpc_port == 0
    assert grpc_predict(f"unix:{path}", "default") == 2


def test_flags_that_mean_nothing_here_are_named_in_the_log(start, base):
    server = start("--flush_filesystem_caches=false", "--num_load_threads", "4", model_base_path=base)
    assert "--flush_filesystem_caches has no effect in this server" in server.log
    assert "--num_load_threads has no effect in this server" in server.log


def test_grpc_channel_arguments_reach_grpc(start, base):
    server = start(model_base_path=base, grpc_channel_arguments="grpc.max_receive_message_length=2000")
    assert grpc_predict(server.grpc_target, "default") == 2
    with pytest.raises(grpc.RpcError) as caught:
        grpc_predict(server.grpc_target, "default", rows=100)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# ---- a config file


def config(*models):
    return "model_config_list {" + "".join(f"  config {{ {model} }}" for model in models) + "}"


def test_a_config_file_with_policies_and_labels_is_read_again(start, base, tmp_path):
    shutil.copytree(base / "1", base / "3")
    path = tmp_path / "models.config"
    every = f'name: "every" base_path: "{base}" model_platform: "tensorflow" model_version_policy {{ all {{}} }}'
    some = (
        f'name: "some" base_path: "{base}" model_platform: "tensorflow"'
        " model_version_policy { specific { versions: 1 versions: 2 } }"
        " version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 2 }"
    )
    newest = f'name: "newest" base_path: "{base}" model_version_policy {{ latest {{ num_versions: 2 }} }}'
    write(path, "# comments are welcome\n" + config(every, some, newest))
    server = start(model_config_file=path, model_config_file_poll_wait_seconds=1)
    assert set(states(server, "every")) == {1, 2, 3}
    assert set(states(server, "some")) == {1, 2}
    assert set(states(server, "newest")) == {2, 3}
    status, found = ask(server, "/v1/models/some/labels/stable/metadata")
    assert (status, found["model_spec"]["version"]) == (200, "1")
    assert predict(server, "some", "/labels/canary")[0] == 200
    assert predict(server, "some", "/versions/3")[0] == 404

    # A file that is broken changes nothing, and the log says why.
    write(path, config(every, some) + " nonsense")
    wait_for(lambda: "models.config is not in force" in server.log)
    assert predict(server, "newest")[0] == 200

    swapped = some.replace("value: 1", "value: 2 ").replace("value: 2 }", "value: 1 }")
    write(path, config(swapped))
    wait_for(lambda: predict(server, "every")[0] == 404)
    wait_for(lambda: ask(server, "/v1/models/some/labels/stable/metadata")[1]["model_spec"]["version"] == "2")
    assert ask(server, "/v1/models/some/labels/canary/metadata")[1]["model_spec"]["version"] == "1"
    assert predict(server, "newest")[0] == 404


def test_a_config_file_is_read_once_unless_told_otherwise(start, base, tmp_path):
    path = tmp_path / "models.config"
    write(path, config(f'name: "one" base_path: "{base}"'))
    server = start(model_config_file=path)
    write(path, config(f'name: "two" base_path: "{base}"'))
    # What looks for versions goes round meanwhile, so this is not for want of time.
    shutil.copytree(base / "2", base / "3")
    wait_for(lambda: states(server, "one").get(3, ("",))[0] == "AVAILABLE")
    assert predict(server, "one")[0] == 200
    assert predict(server, "two")[0] == 404


# ---- batching and metrics


def samples(text):
    """Values by name and labels."""
    # Prometheus can read it; its Python parser renames counters, so the names are taken from the text.
    list(text_string_to_metric_families(text))
    found = {}
    for name, labels, number in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
        found[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] = float(number)
    return found


def value(found, name, **labels):
    return found.get((name, tuple(sorted(labels.items()))))


def load(server, requests, threads):
    with ThreadPoolExecutor(threads) as pool:
        return [status for status, _ in pool.map(lambda _: predict(server, "default"), range(requests))]


def test_batching_parameters_are_kept_and_metrics_have_that_servers_names(start, base, tmp_path):
    batching, monitoring = tmp_path / "batching.txt", tmp_path / "monitoring.txt"
    batching.write_text(
        "max_batch_size { value: 4 }\nbatch_timeout_micros { value: 1000 }\nmax_enqueued_batches { value: 100 }\n"
        "num_batch_threads { value: 1 }\nallowed_batch_sizes: 2\nallowed_batch_sizes: 4\n"
        'thread_pool_name { value: "shared_threads" }\n'
    )
    monitoring.write_text('prometheus_config { enable: true, path: "/models/metrics" }')
    server = start(
        "--enable_batching",
        model_base_path=base,
        batching_parameters_file=batching,
        monitoring_config_file=monitoring,
    )
    assert load(server, requests=200, threads=16) == [200] * 200
    assert grpc_predict(server.grpc_target, "default") == 2
    assert predict(server, "default", "/versions/9")[0] == 404
    body = {"instances": [ROW[:3]]}
    assert ask(server, "/v1/models/default:predict", body)[0] == 400

    text = page(server, "/models/metrics")
    found = samples(text)
    serving = ":tensorflow:serving:"
    assert value(found, f"{serving}request_count", model_name="default", status="OK") == 201
    assert value(found, f"{serving}request_count", model_name="default", status="INVALID_ARGUMENT") == 1
    assert value(found, f"{serving}request_count", model_name="", status="NOT_FOUND") == 1
    rest = {"model_name": "default", "API": "predict", "entrypoint": "REST"}
    over_grpc = {"model_name": "default", "API": "Predict", "entrypoint": "GRPC"}
    # Latency is that of answers, as there.
    assert value(found, f"{serving}request_latency_count", **rest) == 200
    assert value(found, f"{serving}request_latency_bucket", **rest, le="+Inf") == 200
    assert value(found, f"{serving}request_latency_count", **over_grpc) == 1
    mean_us = value(found, f"{serving}request_latency_sum", **rest) / 200
    assert 10 < mean_us < 60e6, "microseconds"
    runtime = {"model_name": "default", "API": "Predict", "runtime": "TF1"}
    assert value(found, f"{serving}runtime_latency_count", **runtime) == 201
    pool = {"thread_pool_name": "shared_threads"}
    assert value(found, f"{serving}batching_session:queuing_latency_count", **pool) == 201
    runs = value(found, f"{serving}batching_session:wrapped_run_count")
    assert 201 / 4 <= runs <= 201
    assert value(found, ":tensorflow:core:graph_runs") == runs
    assert value(found, ":tensorflow:core:graph_run_time_usecs") > 0
    where = str(base / "2")
    assert value(found, ":tensorflow:cc:saved_model:load_attempt_count", model_path=where, status="success") == 1
    assert value(found, ":tensorflow:cc:saved_model:load_latency", model_path=where) > 0
    # The bucket bounds are that server's: queries name them.
    bounds = re.findall(r'request_latency_bucket\{.*entrypoint="REST",le="([^"]+)"\}', text)
    assert bounds[:4] == ["10", "18", "32.4", "58.32"]
    assert "708235" in bounds
    assert len(bounds) == 34
    # No batch was larger than the file allows.
    ours = samples(page(server, "/metrics"))
    batches = value(ours, "edgewise_server_batch_rows_count", model="default")
    assert value(ours, "edgewise_server_batch_rows_bucket", model="default", le="4.0") == batches == runs


def test_without_batching_each_request_runs_alone(start, base, tmp_path):
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    server = start(model_base_path=base, monitoring_config_file=monitoring)
    assert load(server, requests=50, threads=16) == [200] * 50
    found = samples(page(server, METRICS))
    assert value(found, ":tensorflow:core:graph_runs") == 50
    assert value(found, ":tensorflow:serving:batching_session:queuing_latency_count") is None


def test_metrics_are_hidden_until_they_are_asked_for(start, base, tmp_path):
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: false }")
    server = start(model_base_path=base, monitoring_config_file=monitoring)
    assert ask(server, METRICS)[0] == 404


# ---- warm-up


@pytest.fixture(scope="module")
def counting(run_client, tmp_path_factory):
    """A SavedModel that brings warm-up requests, and what it has seen once they were all replayed."""
    directory = tmp_path_factory.mktemp("counting")
    return directory, run_client("saved_model_build", "counting", str(directory / "1"), environment="own")["seen"]


@pytest.mark.tensorflow
@pytest.mark.parametrize("iterations", [None, 3])
def test_warm_up_requests_are_replayed_before_the_first_answer(start, counting, tmp_path, iterations):
    directory, seen = counting
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    server = start(
        model_base_path=directory, monitoring_config_file=monitoring, num_request_iterations_for_warmup=iterations
    )
    status, found = ask(server, "/v1/models/default:predict", {"instances": [0.0]})
    assert (status, found) == (200, {"predictions": [seen * (iterations or 1)]})
    labels = {"model_path": str(directory / "1"), "status": "OK"}
    metrics = samples(page(server, METRICS))
    assert value(metrics, ":tensorflow:serving:model_warmup_latency_count", **labels) == 1


def test_a_version_whose_warm_up_is_broken_is_refused_and_says_why(start, base, counting, tmp_path):
    directory, _ = counting
    shutil.rmtree(base / "2")
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    server = start(model_base_path=base, monitoring_config_file=monitoring)
    assert grpc_predict(server.grpc_target, "default") == 1
    good = (directory / "1" / WARMUP).read_bytes()
    broken = {
        2: (b"not records at all, but long enough for a header", "expected a file in TFRecord format"),
        3: (good[:30], "record 0 is cut off"),
        # It was recorded for another model: one that takes x as a vector.
        4: (good, 'request 0: input "x" has rank 1'),
    }
    for version, (content, why) in broken.items():
        fresh = tmp_path / str(version)
        shutil.copytree(base / "1", fresh)
        (fresh / "assets.extra").mkdir()
        (fresh / WARMUP).write_bytes(content)
        fresh.rename(base / str(version))
        state, code, message = wait_for(lambda v=version: (s := states(server, "default").get(v)) and s[2] and s)
        assert (state, code) == ("END", "FAILED_PRECONDITION")
        assert "tf_serving_warmup_requests" in message
        assert why in message
        assert str(base) not in message
        assert grpc_predict(server.grpc_target, "default") == 1
    metrics = samples(page(server, METRICS))
    labels = {"model_path": str(base / "4"), "status": "fail"}
    assert value(metrics, ":tensorflow:cc:saved_model:load_attempt_count", **labels) >= 1


def test_warm_up_can_be_turned_off(start, base):
    (base / "2" / "assets.extra").mkdir()
    (base / "2" / WARMUP).write_bytes(b"broken")
    server = start(model_base_path=base, enable_model_warmup="false")
    assert grpc_predict(server.grpc_target, "default") == 2


# ---- the time limit of REST


@pytest.mark.tensorflow
def test_rest_requests_end_after_the_time_limit(start, run_client, tmp_path):
    run_client("saved_model_build", "slow", str(tmp_path / "slow" / "1"), environment="own")
    server = start(model_base_path=tmp_path / "slow", rest_api_timeout_in_ms=1000)

    def turns(count):
        return ask(server, "/v1/models/default:predict", {"instances": [count]}, timeout_s=120)

    count = 1000
    while True:
        began_s = time.monotonic()
        turns(count)
        if time.monotonic() - began_s > 0.25:
            break
        count *= 2
    with ThreadPoolExecutor(1) as pool:
        # Far longer than the limit; what waits behind it gets its answer in time all the same.
        running = pool.submit(turns, count * 8)
        wait_for(lambda: value(samples(page(server, "/metrics")), "edgewise_server_in_flight") == 1)
        for status, found in (turns(1), running.result()):
            assert (status, list(found)) == (504, ["error"])
    assert wait_for(lambda: (answer := turns(1))[0] == 200 and answer) == (200, {"predictions": [1]})


# ---- TLS


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """PEM by name: an authority, a server and a client of it, and a client of nobody."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    directory = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    ca = (directory / "ca.pem", directory / "ca.key")
    openssl("req", "-x509", *curve, "-subj", "/CN=ca", "-keyout", ca[1], "-out", ca[0])
    for name, signer in (("server", ca), ("client", ca), ("stranger", None)):
        signed = ("-CA", signer[0], "-CAkey", signer[1]) if signer else ()
        openssl(
            "req", "-x509", *curve, "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE", *signed,
            "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem",
        )  # fmt: skip
    return {path.name: path.read_text() for path in directory.iterdir()}


def ssl_config(path, **fields):
    lines = (
        f"{name}: {json.dumps(value) if isinstance(value, str) else str(value).lower()}"
        for name, value in fields.items()
    )
    path.write_text("\n".join(lines))
    return path


def trusting(tls, client=None):
    own = (tls[f"{client}.key"].encode(), tls[f"{client}.pem"].encode()) if client else (None, None)
    return grpc.ssl_channel_credentials(tls["ca.pem"].encode(), *own)


def test_ssl_config_is_for_grpc_alone(start, base, tmp_path, tls):
    path = ssl_config(
        tmp_path / "ssl.txt", server_key=tls["server.key"], server_cert=tls["server.pem"], custom_ca=tls["ca.pem"]
    )
    server = start(model_base_path=base, ssl_config_file=path)
    assert grpc_predict(server.grpc_target, "default", trusting(tls)) == 2
    with pytest.raises(grpc.RpcError) as caught:
        grpc_predict(server.grpc_target, "default")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert predict(server, "default")[0] == 200


def test_ssl_config_can_ask_for_client_certificates(start, base, tmp_path, tls):
    path = ssl_config(
        tmp_path / "ssl.txt",
        server_key=tls["server.key"],
        server_cert=tls["server.pem"],
        custom_ca=tls["ca.pem"],
        client_verify=True,
    )
    server = start(model_base_path=base, ssl_config_file=path)
    assert grpc_predict(server.grpc_target, "default", trusting(tls, "client")) == 2
    for client in (None, "stranger"):
        with pytest.raises(grpc.RpcError) as caught:
            grpc_predict(server.grpc_target, "default", trusting(tls, client))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"server_key": "server.key"}, "server_cert is missing"),
        (
            {"server_key": "client.key", "server_cert": "server.pem"},
            "the private key does not belong to the certificate",
        ),
        ({"server_key": "server.pem", "server_cert": "server.pem"}, "not PEM"),
        (
            {"server_key": "server.key", "server_cert": "server.pem", "client_verify": True},
            "client_verify needs custom_ca",
        ),
    ],
)
def test_ssl_config_that_cannot_work_is_refused(tmp_path, tls, fields, why):
    path = ssl_config(tmp_path / "ssl.txt", **{name: tls.get(value, value) for name, value in fields.items()})
    with pytest.raises(InvalidArgumentError) as caught:
        parse_flags([f"--ssl_config_file={path}", "--model_base_path=/m"])
    assert why in caught.value.message
    assert "PRIVATE KEY" not in caught.value.message


# ---- the flags themselves


@pytest.mark.parametrize(
    ("words", "enabled"),
    [
        (["--enable_batching"], True),
        (["--enable_batching=true"], True),
        (["--enable_batching=1"], True),
        (["--enable_batching", "true"], True),
        (["-enable_batching=True"], True),
        (["--enable_batching=false"], False),
        (["--enable_batching=0"], False),
        (["--enable_batching", "false"], False),
        ([], False),
        (["--enable_batching", "--enable_batching=false"], False),
    ],
)
def test_booleans_are_written_in_many_ways(words, enabled):
    options = parse_flags([*words, "--model_base_path=/m"])
    assert (options.batch_pool is not None) is enabled
    assert (options.batching is not None and options.batching.max_batch_size == 1) is not enabled


def test_what_that_server_does_by_default():
    options = parse_flags(["--model_base_path", "/m"])
    assert (options.grpc_port, options.rest_port, options.host) == (8500, None, "0.0.0.0")
    assert options.default_timeout_s == 30.0
    assert (options.poll_interval_s, options.config_poll_interval_s) == (1.0, 0.0)
    assert options.monitoring_path is None
    assert options.warmup_replays == 1
    assert options.models.models[0].name == "default"


def test_a_time_limit_of_0_is_none():
    assert parse_flags(["--model_base_path=/m", "--rest_api_timeout_in_ms=0"]).default_timeout_s is None


def test_a_config_file_goes_before_a_single_model():
    options = parse_flags(["--model_base_path=/m", "--model_name=n", "--model_config_file=/c"])
    assert (options.config, options.models) == (Path("/c"), None)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--modle_name=x"], "unknown flag '--modle_name=x'; `edgewise tensorflow-model-server --help` lists them"),
        (["models"], "unknown flag 'models'"),
        (["--port=eight"], "--port='eight' is not a value of type int"),
        (["--enable_batching=maybe"], "--enable_batching='maybe' is not true or false"),
        (["--model_name"], "--model_name needs a value: --model_name=str"),
        (["--port=8501", "--rest_api_port=8501"], "--rest_api_port and --port are both 8501"),
        (["--grpc_channel_arguments=grpc.x"], "'grpc.x' is not key=value"),
        (["--batching_parameters_file=/b"], "read only with --enable_batching"),
        (["--monitoring_config_file=/no/such"], "/no/such: cannot be read: No such file or directory"),
    ],
)
def test_flags_that_are_refused(words, why):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_flags(["--model_base_path=/m", *words])
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("flag", "text", "why"),
    [
        ("batching_parameters_file", "max_batch_size { value: 0 }", "max_batch_size is 0; expected 1 to"),
        (
            "batching_parameters_file",
            "max_batch: 4",
            ":1:1: BatchingParameters has no field 'max_batch'; expected one of",
        ),
        ("monitoring_config_file", 'prometheus_config { path: "x" }', "expected a path that begins with '/'"),
        ("ssl_config_file", "server_key: 4", ":1:13: "),
    ],
)
def test_files_that_are_refused_are_named(tmp_path, flag, text, why):
    path = tmp_path / "file.txt"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError) as caught:
        parse_flags(["--model_base_path=/m", "--enable_batching", f"--{flag}={path}"])
    assert caught.value.message.startswith(str(path))
    assert why in caught.value.message


def test_the_command_says_what_is_wrong_and_ends(tmp_path):
    assert fail("--frobnicate") == (
        1,
        "edgewise: unknown flag '--frobnicate'; `edgewise tensorflow-model-server --help` lists them\n",
    )
    code, text = fail()
    assert code == 1
    assert text == (
        "edgewise: name a model: --model_base_path=DIR (with --model_name=NAME) or --model_config_file=FILE\n"
    )
    (tmp_path / "models.config").write_text("model_config_list { config { nam: 'x' } }")
    code, text = fail(f"--model_config_file={tmp_path / 'models.config'}", "--port=0", "--rest_api_port=0")
    assert code == 1
    assert "nothing to listen on" in text


def test_a_broken_config_file_at_the_start_ends_the_command(tmp_path, ports):
    path = tmp_path / "models.config"
    path.write_text("model_config_list { config { nam: 'x' } }")
    code, text = fail(f"--model_config_file={path}", f"--port={ports[0]}")
    assert code == 1
    assert "models.config:1:30: ModelConfig has no field 'nam'; expected one of base_path" in text


def test_help_and_version_are_quick():
    program = (
        "import sys\nfrom edgewise.cli import main\nassert main(['tensorflow-model-server', sys.argv[1]]) == 0\n"
        "print(sorted({'grpc', 'numpy', 'onnxruntime', 'google.protobuf', 'tensorflow'} & set(sys.modules)))"
    )
    for word, expected in (("--help", USAGE), ("--version", "edgewise ")):
        done = subprocess.run([sys.executable, "-c", program, word], capture_output=True, text=True, check=True)
        shown, loaded = done.stdout.rstrip("\n").rsplit("\n", 1)
        assert shown.startswith(expected)
        assert loaded == "[]"
