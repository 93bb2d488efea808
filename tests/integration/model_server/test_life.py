"""A server's life: what it says while it loads, while it serves, while versions change, and when it ends."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request

import grpc
import grpc.aio
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from edgewise.model_server.building import tiny
from edgewise.model_server.options import ServeOptions
from edgewise.model_server.server import ModelServer
from edgewise.wire import serving_pb2
from support.spoiled_versions import expect_another_answer, truncate

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
BODY = {"instances": [[1.0] * 8]}
X = np.ones((1, 8), np.float32)
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
BIASES = {1: -1.0, 2: 0.0, 3: 1.0}


def build(directory, version):
    """A version that is known by its answer."""
    tiny.build(directory, version=version, bias=BIASES[version], scale=0.0)


def move_in(directory, version, *, spoil=None):
    """Put a version into a repository in one step."""
    aside = directory.parent / f"aside-{version}"
    build(aside, version)
    if spoil is not None:
        spoil(aside / "tiny" / str(version))
    target = directory / "tiny" / str(version)
    if target.exists():
        shutil.rmtree(target)
    (aside / "tiny" / str(version)).rename(target)
    shutil.rmtree(aside)


def who_answers(asked, place=""):
    """The version that the header names, once its answer has been checked."""
    answer = asked.rest(f"/v1/models/tiny{place}:predict", BODY)
    assert answer.status == 200, answer.body
    version = int(answer.headers["x-edgewise-model-version"])
    expected = tiny.answer(X, bias=BIASES[version], scale=0.0)
    np.testing.assert_allclose(answer.json["predictions"], expected, atol=1e-5)
    return version


def states(asked):
    """State and error message by version, over REST."""
    statuses = asked.rest("/v1/models/tiny").json["model_version_status"]
    return {int(status["version"]): (status["state"], status["status"]["error_message"]) for status in statuses}


def test_not_ready_while_a_model_loads(build_slow, tmp_path):
    place = build_slow(tmp_path)
    # A golden input whose run takes a while, and which is answered as it should be.
    np.save(place / "golden.npy", np.array([[6000.0]], np.float32))
    with (place / "model.toml").open("a") as file:
        file.write('\n[[golden]]\nfile = "golden.npy"\noutput = "y"\nexpect = [6000.0]\ntolerance = 1\n')

    async def ask(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.rest_port)
        writer.write(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            data = await channel.unary_unary(CHECK)(b"", timeout=10)
            ready = await channel.unary_unary("/inference.GRPCInferenceService/ServerReady")(b"", timeout=10)
        return answer.split(b" ", 2)[1], health_pb2.HealthCheckResponse.FromString(data).status, ready

    async def main():
        server = ModelServer(ServeOptions(repository=tmp_path, rest_port=0, grpc_port=0, ready_settle_s=0.01))
        await server.start()
        assert await ask(server) == (b"503", NOT_SERVING, b"")
        await server.ready()
        assert await ask(server) == (b"200", SERVING, b"\x08\x01")
        results = await server.shutdown().run()
        assert [result.problem for result in results] == [""] * len(results)

    asyncio.run(main())


def test_watchers_are_told_of_the_end_and_do_not_delay_it(start_server, tiny_repository, ask, grpc_calls):
    server = start_server("--repository", str(tiny_repository))
    calls = grpc_calls(server)
    watch = calls.channel.unary_stream(WATCH, response_deserializer=health_pb2.HealthCheckResponse.FromString)(b"")
    reflection = calls.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    never = threading.Event()
    open_stream = reflection(iter(never.wait, True))
    assert next(watch).status == SERVING
    server.process.send_signal(signal.SIGTERM)
    assert next(watch).status == NOT_SERVING
    # Neither stream would ever end by itself, and the default drain allows half a minute.
    assert server.process.wait(10) == 0
    never.set()
    with pytest.raises(grpc.RpcError):
        next(watch)
    open_stream.cancel()


def test_terminated_with_a_request_in_flight(start_server, build_slow, tmp_path, ask, grpc_calls, oip_request, until):
    build_slow(tmp_path)
    server = start_server("--repository", str(tmp_path))
    asked, calls = ask(server), grpc_calls(server)
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(asked.rest("/v1/models/slow:predict", {"instances": [[6000.0]]}))
    )
    caller.start()
    until(lambda: asked.in_flight() == 1)
    call = calls.future(
        "/inference.GRPCInferenceService/ModelInfer", oip_request("slow", x=np.ones((1, 1), np.float32))
    )
    until(lambda: asked.in_flight() == 2)
    assert server.stop() == 0
    caller.join()
    assert answers[0].status == 200
    assert call.code() is grpc.StatusCode.OK


def test_terminated_while_a_model_loads(build_slow, tmp_path, until):
    place = build_slow(tmp_path, toml="[warmup]\nrepeats = 1000\n")
    np.save(place / "golden.npy", np.array([[20_000.0]], np.float32))
    with (place / "model.toml").open("a") as file:
        file.write('\n[[golden]]\nfile = "golden.npy"\noutput = "y"\nexpect = [20000.0]\ntolerance = 1\n')
    log = tmp_path / "log"
    with log.open("wb") as sink:
        words = ("--repository", str(tmp_path), "--rest-port", "0", "--grpc-port", "0", "--drain-timeout-s", "0.2")
        process = subprocess.Popen([sys.executable, "-m", "edgewise", "serve", *words], stdout=sink, stderr=sink)
    try:
        until(lambda: "is LOADING" in log.read_text())
        process.terminate()
        code = process.wait(30)
    finally:
        process.kill()
        process.wait()
    assert code == 0, log.read_text()
    assert "closed with 0 requests in flight and 1 loads under way" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def polled(start_server, tmp_path):
    """A server that looks at its repository often, and the repository, with version 1."""
    repository = tmp_path / "repository"
    build(repository, 1)
    return start_server("--repository", str(repository), "--poll-interval-s", "0.05"), repository


@pytest.mark.parametrize(
    ("spoil", "reason"), [(truncate, "model.onnx"), (expect_another_answer, "golden input 'golden.npy'")]
)
def test_a_bad_version_leaves_the_old_one_serving_and_says_why(polled, ask, grpc_calls, until, spoil, reason):
    server, repository = polled
    asked, calls = ask(server), grpc_calls(server)
    assert who_answers(asked) == 1
    move_in(repository, 2, spoil=spoil)
    until(lambda: states(asked).get(2, ("", ""))[1])
    assert states(asked)[1] == ("AVAILABLE", "")
    state, message = states(asked)[2]
    assert state == "END"
    assert reason in message
    assert str(repository.parent) not in message
    assert who_answers(asked) == 1
    assert asked.rest("/v2/health/ready").status == 200
    assert asked.rest("/v2/models/tiny/versions/2/ready").status == 503
    assert asked.rest("/v1/models/tiny/versions/2:predict", BODY).status == 404

    request = serving_pb2.GetModelStatusRequest()
    request.model_spec.name = "tiny"
    data, code, _, _ = calls.call(STATUS, request)
    assert code is None
    told = {
        status.version: status for status in serving_pb2.GetModelStatusResponse.FromString(data).model_version_status
    }
    assert told[1].state == 30
    assert (told[2].state, told[2].status.error_message) == (50, message)

    # A mended version comes up by itself and takes over.
    move_in(repository, 2)
    until(lambda: who_answers(asked) == 2)
    assert states(asked)[2] == ("AVAILABLE", "")
    until(lambda: states(asked).get(1, ("END", ""))[0] == "END")


def test_files_that_go_away_take_their_version_along(polled, ask, until):
    server, repository = polled
    asked = ask(server)
    move_in(repository, 3)
    until(lambda: who_answers(asked) == 3)
    shutil.rmtree(repository / "tiny" / "3")
    until(lambda: who_answers(asked) == 1)
    # A model that was not there before.
    tiny.build(repository.parent / "other", model="another")
    (repository.parent / "other" / "another").rename(repository / "another")
    until(lambda: asked.rest("/v1/models/another:predict", BODY).status == 200)
    assert asked.rest("/v2/health/ready").status == 200


def test_labels_are_switched_by_the_config_file(start_server, tmp_path, ask, until):
    store, config = tmp_path / "store", tmp_path / "models.config"
    for version in BIASES:
        build(store, version)

    def write(policy="all {}", **labels):
        points = " ".join(f'version_labels {{ key: "{label}" value: {version} }}' for label, version in labels.items())
        text = (
            f'model_config_list {{ config {{ name: "tiny" base_path: "{store / "tiny"}" model_platform: "onnx" '
            f"model_version_policy {{ {policy} }} {points} }} }}"
        )
        config.with_suffix(".new").write_text(text)
        config.with_suffix(".new").replace(config)

    write(stable=1, canary=3)
    server = start_server("--config", str(config))
    asked = ask(server)
    assert (who_answers(asked, "/labels/stable"), who_answers(asked, "/labels/canary"), who_answers(asked)) == (1, 3, 3)
    write(stable=2, canary=3)
    until(lambda: who_answers(asked, "/labels/stable") == 2)
    # A label on a version that does not answer is refused, and everything stays as it is.
    write(stable=9)
    until(lambda: "is not in force" in server.log)
    assert (who_answers(asked, "/labels/stable"), who_answers(asked, "/labels/canary")) == (2, 3)
    write("specific { versions: 1 }", stable=1)
    until(lambda: set(states(asked)) >= {1} and who_answers(asked) == 1)
    assert who_answers(asked, "/labels/stable") == 1
    answer = asked.rest("/v1/models/tiny/labels/canary:predict", BODY)
    assert answer.status == 400
    assert answer.json == {"error": "Unrecognized servable version label: canary"}


def test_a_configured_model_serves_on_when_its_files_are_gone(start_server, tmp_path, ask, until):
    store, config = tmp_path / "store", tmp_path / "models.config"
    build(store, 1)
    build(store / "other", 2)
    entries = [f'config {{ name: "{name}" base_path: "{path}" }}' for name, path in
               (("tiny", store / "tiny"), ("other", store / "other" / "tiny"))]  # fmt: skip
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    asked = ask(start_server("--config", str(config), "--poll-interval-s", "0.05"))
    shutil.rmtree(store / "tiny" / "1")
    # Another model's new version shows that the files have been looked at since.
    shutil.copytree(store / "other" / "tiny" / "2", store / "other" / "tiny" / "3")
    until(lambda: asked.rest("/v1/models/other/versions/3").status == 200)
    until(lambda: asked.rest("/v1/models/other/versions/3:predict", BODY).status == 200)
    assert who_answers(asked) == 1
    assert asked.rest("/v2/health/ready").status == 200


def test_a_model_is_removed_with_its_directory(polled, ask, until):
    server, repository = polled
    asked = ask(server)
    shutil.rmtree(repository / "tiny")
    until(lambda: asked.rest("/v1/models/tiny:predict", BODY).status == 404)
    assert asked.rest("/v2/health/ready").status == 200


def edgewise(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "edgewise", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory, tiny_repository):
    """Files and directories that are not what they should be."""
    place = tmp_path_factory.mktemp("broken")
    (place / "good").symlink_to(tiny_repository)
    (place / "noise.pem").write_text("nonsense\n")
    (place / "keys").write_text("camera short\n")
    (place / "models.config").write_text("model_config_list { config { nme: 'x' } }")
    (place / "file").write_text("")
    return place


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 1, "exactly one of --repository DIR and --config FILE"),
        (("--repository", "good", "--config", "models.config"), 1, "exactly one of --repository DIR and --config FILE"),
        (("--repository", "absent"), 1, "absent is not a directory"),
        (("--repository", "file"), 1, "file is not a directory"),
        (("--config", "absent.config"), 1, "absent.config cannot be read: No such file"),
        (("--config", "models.config"), 1, "nme"),
        (("--repository", "good", "--tls-cert", "noise.pem"), 1, "both --tls-cert FILE and --tls-key FILE"),
        (("--repository", "good", "--tls-client-ca", "noise.pem"), 1, "--tls-client-ca takes"),
        (("--repository", "good", "--tls-cert", "noise.pem", "--tls-key", "noise.pem"), 1, "not PEM"),
        (("--repository", "good", "--tls-cert", "absent", "--tls-key", "absent"), 1, "cannot be read"),
        (("--repository", "good", "--api-keys", "absent"), 1, "absent cannot be read"),
        (("--repository", "good", "--api-keys", "keys"), 1, "keys, line 1"),
        (
            ("--repository", "good", "--rest-port", "70000"),
            2,
            "--rest-port: found '70000', expected a whole number, 0 to 65535",
        ),
        (
            ("--repository", "good", "--max-body-bytes", "0"),
            2,
            "--max-body-bytes: found '0', expected a whole number, 1 or more",
        ),
        (("--repository", "good", "--rest-port", "0", "--host", "192.0.2.1"), 1, "cannot listen on 192.0.2.1:0"),
        (
            ("--repository", "good", "--rest-port", "many"),
            2,
            "--rest-port: found 'many', expected a whole number, 0 to 65535",
        ),
        (("--repository", "good", "--tier", "moon"), 2, "invalid choice: 'moon'"),
        (("--explode",), 2, "unrecognized arguments: --explode"),
        (("--repository",), 2, "expected one argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_arguments(broken, words, code, said):
    ports = () if "--rest-port" in words else ("--rest-port", "0", "--grpc-port", "0")
    done = edgewise("serve", *words, *ports, cwd=broken)
    assert done.returncode == code
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if code == 1:
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("edgewise: ")


def test_a_port_in_use(start_server, tiny_repository):
    server = start_server("--repository", str(tiny_repository))
    rest, grpc_port = str(server.rest_port), str(server.grpc_port)
    for taken, ports in (
        (rest, ("--rest-port", rest, "--grpc-port", "0")),
        (grpc_port, ("--rest-port", "0", "--grpc-port", grpc_port)),
    ):
        done = edgewise("serve", "--repository", str(tiny_repository), *ports)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        line = done.stderr
        assert f"127.0.0.1:{taken}" in line
        assert "choose another port" in line
        assert len(done.stderr.splitlines()) == 1


def test_an_address_of_ipv6_is_written_as_urls_have_it(start_server, tiny_repository):
    server = start_server("--repository", str(tiny_repository), "--host", "::1")
    assert f"rest=http://[::1]:{server.rest_port} grpc=[::1]:{server.grpc_port} " in server.ready_line
    with urllib.request.urlopen(f"http://[::1]:{server.rest_port}/v2/health/ready", timeout=5) as answer:
        assert answer.status == 200
