"""Canaries as an agent has them: real model servers with two versions, a real gateway with workers, and a file that is exchanged."""

import concurrent.futures
import os
import signal
import threading

import pytest

from edgewise.model_server.building import tiny
from edgewise.protocols.canaries import CanarySetting, CanarySettings, encode_canaries
from support.sockets import free_port
from support.wire_requests import HALVES, oip_request, tfs_request

TFS_PREDICT = "/tensorflow.serving.PredictionService/Predict"
OIP_INFER = "/inference.GRPCInferenceService/ModelInfer"
WORKERS = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture(scope="module")
def edge(start_server, tmp_path_factory):
    """A model server with versions 1, which is the default, 2, which agrees with it, and 3, which does not."""
    directory = tmp_path_factory.mktemp("edge")
    for version, bias in ((1, 1.0), (2, 0.8), (3, -1.0)):
        tiny.build(directory, version=version, bias=bias, scale=0.0)
    config = directory / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "tiny" base_path: "{directory / "tiny"}" model_platform: "onnx" '
        "model_version_policy { specific { versions: 1 versions: 2 versions: 3 } } "
        'version_labels { key: "default" value: 1 } } }'
    )
    return start_server("--config", str(config))


class CanaryFile:
    def __init__(self, path):
        self.path = path
        self.generation = 0

    def write(self, **changes):
        self.generation += 1
        values = {"site": "edge", "model": "tiny", "old": 1, "new": 2, "share": 0.5, "shadow": 0.0, "slow_ms": 1000.0}
        setting = CanarySetting(**{**values, "key": f"tiny-2/{self.generation}", **changes})
        aside = self.path.with_suffix(".new")
        aside.write_bytes(encode_canaries(CanarySettings(self.generation, (setting,))))
        aside.replace(self.path)
        return self.generation


@pytest.fixture
def canaries(tmp_path):
    return CanaryFile(tmp_path / "canaries.json")


@pytest.fixture
def start(start_gateway, edge, canaries):
    def begin(workers=1, *words):
        return start_gateway(
            "--edge", edge.rest_url, "--canaries", str(canaries.path), "--workers", str(workers), *words
        )

    return begin


def shown(asked, headers=None):
    return asked.rest("/edgewise/v1/canaries", headers=headers).json


def in_force(asked, until, generation, workers):
    def told():
        found = shown(asked)
        if not generation and found["canaries"]:
            # One worker has seen that the file is gone, and another one has not.
            return None
        return found if (found["generation"], found["workers"], found["silent"]) == (generation, workers, 0) else None

    return until(told)


def version(answer):
    assert answer.status == 200, answer.body
    return int(answer.headers["x-edgewise-model-version"])


@WORKERS
def test_requests_are_divided_by_all_workers_and_counted_together(start, canaries, ask, until, workers):
    gateway = start(workers)
    asked = ask(gateway)
    assert shown(asked) == {"workers": workers, "silent": 0, "generation": 0, "canaries": []}
    assert {version(asked.predict()) for _ in range(10)} == {1}
    generation = canaries.write(share=0.4)
    in_force(asked, until, generation, workers)
    count = 300
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: version(asked.predict()), range(count)))
    new = said.count(2)
    assert abs(new - 0.4 * count) < 5 * (count * 0.24) ** 0.5
    (canary,) = shown(asked)["canaries"]
    assert (canary["new_count"], canary["old_count"]) == (new, count - new)
    assert (canary["new_timed"], canary["old_timed"]) == (new, count - new)
    assert canary["new_errors"] == canary["old_errors"] == 0
    assert (canary["new_ms"]["count"], canary["old_ms"]["count"]) == (new, count - new)
    assert 0.0 < canary["old_ms"]["quantiles"]["0.5"] <= canary["old_ms"]["quantiles"]["0.99"] < 30_000
    metrics = asked.metrics()
    labels = "{arm=new,model=tiny,site=edge,version=2}"
    assert metrics[f"edgewise_gateway_canary_answers_total{labels}"] == new
    # Another key counts anew; without the file there is none.
    generation = canaries.write(share=1.0, key="another")
    (canary,) = in_force(asked, until, generation, workers)["canaries"]
    assert (canary["new_count"], canary["old_count"]) == (0, 0)
    assert {version(asked.predict()) for _ in range(20)} == {2}
    canaries.path.unlink()
    in_force(asked, until, 0, workers)
    assert {version(asked.predict()) for _ in range(20)} == {1}
    assert gateway.stop() == 0


def test_every_protocol_is_divided_and_what_is_pinned_is_not(start, canaries, ask, until, grpc_calls):
    gateway = start()
    asked, calls = ask(gateway), grpc_calls(gateway)
    in_force(asked, until, canaries.write(share=1.0), 1)
    infer = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [0.5] * 8}]}
    assert version(asked.rest("/v2/models/tiny/infer", infer)) == 2
    assert version(asked.predict()) == 2
    for method, request in ((TFS_PREDICT, tfs_request("tiny", x=HALVES)), (OIP_INFER, oip_request("tiny", x=HALVES))):
        assert calls.call(method, request)[3]["x-edgewise-model-version"] == "2"
    assert version(asked.rest("/v1/models/tiny/versions/1:predict", {"instances": [[0.5] * 8]})) == 1
    pinned = tfs_request("tiny", x=HALVES)
    pinned.model_spec.version.value = 3
    assert calls.call(TFS_PREDICT, pinned)[3]["x-edgewise-model-version"] == "3"
    (canary,) = shown(asked)["canaries"]
    assert (canary["new_count"], canary["old_count"]) == (4, 0)
    assert gateway.stop() == 0


@pytest.mark.parametrize(("new", "disagrees"), [(2, False), (3, True)])
def test_shadowed_requests_are_compared(start, canaries, ask, until, grpc_calls, new, disagrees):
    gateway = start(2)
    asked, calls = ask(gateway), grpc_calls(gateway)
    in_force(asked, until, canaries.write(share=0.0, shadow=1.0, new=new), 2)
    infer = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [0.5] * 8}]}

    def compared(count):
        (canary,) = shown(asked)["canaries"]
        assert canary["shadow_errors"] == 0
        return canary if canary["shadowed"] == count else None

    askers = [
        lambda: version(asked.predict()),
        lambda: version(asked.rest("/v2/models/tiny/infer", infer)),
        lambda: int(calls.call(TFS_PREDICT, tfs_request("tiny", x=HALVES))[3]["x-edgewise-model-version"]),
        lambda: int(calls.call(OIP_INFER, oip_request("tiny", x=HALVES))[3]["x-edgewise-model-version"]),
    ]
    for count, asks in enumerate(askers, 1):
        assert asks() == 1
        canary = until(lambda count=count: compared(count))
        assert canary["disagreed"] == (count if disagrees else 0)
    assert canary["new_count"] == 0
    assert asked.metrics()["edgewise_gateway_received_requests_total"] == 4
    assert gateway.stop() == 0


def test_a_bad_file_changes_nothing_and_is_told_once(start, canaries, ask, until):
    gateway = start()
    asked = ask(gateway)
    in_force(asked, until, canaries.write(share=1.0), 1)
    canaries.path.write_text('{"format": "edgewise-canaries/1", "generation": 2, "canaries": [{}]}')
    until(lambda: "what was stays so" in gateway.log)
    assert shown(asked)["generation"] == 1
    assert version(asked.predict()) == 2
    in_force(asked, until, canaries.write(share=0.0), 1)
    assert version(asked.predict()) == 1
    assert gateway.log.count("what was stays so") == 1
    assert "Traceback" not in gateway.log
    assert gateway.stop() == 0


@WORKERS
def test_what_the_file_says_is_in_force_before_the_first_request(start, canaries, ask, children_of, until, workers):
    generation = canaries.write(share=1.0, new=3)
    gateway = start(workers)
    asked = ask(gateway)
    assert {version(asked.predict()) for _ in range(30)} == {3}
    assert shown(asked)["generation"] == generation
    if workers > 1:
        # A worker that is started again begins with it as well, and counts from nothing.
        (before,) = shown(asked)["canaries"]
        victim = children_of(gateway.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in children_of(gateway.process.pid))
        until(lambda: len(children_of(gateway.process.pid)) == workers)
        found = in_force(asked, until, generation, workers)
        assert found["canaries"][0]["new_count"] < before["new_count"]
        assert {version(asked.predict()) for _ in range(30)} == {3}
    assert gateway.stop() == 0


def test_a_key_is_asked_where_others_ask_for_one(start, canaries, ask, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("app the-only-key\n")
    gateway = start(1, "--api-keys", str(keys))
    asked = ask(gateway)
    assert asked.rest("/edgewise/v1/canaries").status == 401
    headers = {"x-api-key": "the-only-key"}
    assert asked.rest("/edgewise/v1/canaries", headers=headers).status == 200
    assert asked.rest("/edgewise/v1/canaries", method="POST", headers=headers).status == 405
    assert gateway.stop() == 0


def test_no_request_fails_while_shares_and_versions_change(start_server, start_gateway, tmp_path, ask, until):
    """A whole update under load: loaded beside, tried out at growing shares, made the default, the old one let go."""
    store, config = tmp_path / "store", tmp_path / "models.config"
    for number in (1, 2):
        tiny.build(store, version=number, bias=float(number), scale=0.0)

    def serve(*versions, default):
        wanted = " ".join(f"versions: {number}" for number in versions)
        config.with_suffix(".new").write_text(
            f'model_config_list {{ config {{ name: "tiny" base_path: "{store / "tiny"}" model_platform: "onnx" '
            f"model_version_policy {{ specific {{ {wanted} }} }} "
            f'version_labels {{ key: "default" value: {default} }} }} }}'
        )
        config.with_suffix(".new").replace(config)

    serve(1, default=1)
    server = start_server("--config", str(config), "--poll-interval-s", "0.05")
    canaries = CanaryFile(tmp_path / "canaries.json")
    gateway = start_gateway("--edge", server.rest_url, "--canaries", str(canaries.path), "--workers", "2")
    asked, at_server = ask(gateway), ask(gateway)
    at_server.url = server.rest_url
    said = []
    ending = threading.Event()

    def ask_on():
        while not ending.is_set():
            said.append(version(asked.predict()))

    def states():
        found = at_server.rest("/v1/models/tiny").json["model_version_status"]
        return {one["version"]: one["state"] for one in found}

    def some_more(count=40):
        enough = len(said) + count
        until(lambda: len(said) >= enough or any(asker.done() for asker in askers))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask_on) for _ in range(4)]
        some_more()
        serve(1, 2, default=1)
        until(lambda: states().get("2") == "AVAILABLE")
        some_more()
        assert set(said) == {1}
        for share in (0.1, 0.5, 1.0):
            in_force(asked, until, canaries.write(share=share), 2)
            some_more()
        serve(1, 2, default=2)
        until(lambda: version(at_server.rest("/v1/models/tiny:predict", {"instances": [[0.5] * 8]})) == 2)
        canaries.path.unlink()
        in_force(asked, until, 0, 2)
        serve(2, default=2)
        until(lambda: states().get("1", "END") == "END")
        mark = len(said)
        some_more()
        ending.set()
        for asker in askers:
            asker.result()
    assert set(said) == {1, 2}
    assert set(said[mark + 8 :]) == {2}
    outcomes = asked.metrics()
    assert outcomes["edgewise_gateway_outcome_requests_total{outcome=answered}"] == len(said)
    assert outcomes["edgewise_gateway_attempts_total{reason=first,site=edge}"] == len(said)
    assert gateway.stop() == 0
    assert server.stop() == 0


def test_a_preferred_version_that_is_away_is_no_failure_and_not_counted(start, canaries, ask, until):
    gateway = start()
    asked = ask(gateway)
    in_force(asked, until, canaries.write(share=1.0, new=9), 1)
    assert {version(asked.predict()) for _ in range(5)} == {1}
    (canary,) = shown(asked)["canaries"]
    assert (canary["new_count"], canary["old_count"]) == (0, 0)
    assert gateway.stop() == 0


def test_a_site_that_is_gone_counts_nothing(start_server, start_gateway, canaries, tiny_repository, ask, until):
    port = free_port()
    server = start_server("--repository", str(tiny_repository), "--rest-port", str(port))
    gateway = start_gateway("--edge", server.rest_url, "--canaries", str(canaries.path))
    asked = ask(gateway)
    in_force(asked, until, canaries.write(share=1.0, old=1, new=2), 1)
    assert {asked.predict().status for _ in range(5)} == {200}
    server.stop(signal.SIGKILL)
    until(lambda: asked.state("edge") == "DOWN")
    assert {asked.predict().status for _ in range(5)} == {503}
    (canary,) = shown(asked)["canaries"]
    assert (canary["new_count"], canary["old_count"]) == (5, 0)
    assert canary["new_errors"] == canary["old_errors"] == 0
    assert gateway.stop() == 0
