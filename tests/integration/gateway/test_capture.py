"""Capture as it is run: a real gateway with workers in front of real model servers, a spool on the disk, signals."""

import concurrent.futures
import os
import signal
import subprocess
import sys

import pytest

from edgewise.model_server.building import tiny
from support.capturing import samples_in
from support.wire_requests import HALVES, tfs_request

TFS_PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def sites(start_server, tmp_path_factory):
    """Two model servers that disagree."""
    servers = {}
    for tier, bias in (("cloud", 1.0), ("edge", -1.0)):
        directory = tmp_path_factory.mktemp(tier)
        tiny.build(directory, version=1, bias=bias, scale=0.0)
        servers[tier] = start_server("--repository", str(directory), "--site", tier)
    return servers


@pytest.fixture
def config(tmp_path, sites):
    """Writes gateway.toml: the two sites, and what a test adds."""
    path = tmp_path / "gateway.toml"
    tables = "".join(
        f'[[site]]\nname = "{tier}"\ntier = "{tier}"\nrest = "{server.rest_url}"\n' for tier, server in sites.items()
    )

    def write(capture=""):
        path.write_text(tables + capture)
        return path

    return write


def table(models='["tiny"]', **more):
    words = "".join(f"{key} = {value}\n" for key, value in more.items())
    return f'[capture]\ndirectory = "kept"\nsite = "factory-7"\nmodels = {models}\n{words}'


def reload(gateway, until, said, times):
    before = gateway.log.count(said)
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.log.count(said) >= before + times)


def test_workers_write_to_one_spool_and_what_they_took_is_there_after_sigterm(
    start_gateway, config, ask, until, grpc_calls, tmp_path
):
    limits = dict.fromkeys(("all_per_second", "disagreement_per_second"), 1000)
    path = config(table(all="true", sampled=0, drift="false", low_confidence=0, disagreement=1.0, **limits))
    gateway = start_gateway("--config", str(path), "--workers", "2")
    asked, calls = ask(gateway), grpc_calls(gateway)
    until(lambda: asked.links()["gateway"]["workers"] == 2)
    count = 40
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: asked.predict(headers={"x-request-id": f"r-{number}"}), range(count)))
    assert {(answer.status, answer.site) for answer in answers} == {(200, "cloud")}
    calls.call(TFS_PREDICT, tfs_request("tiny", x=HALVES))
    until(lambda: asked.rest("/edgewise/v1/capture").json.get("accepted") == count + 1)
    shown = asked.rest("/edgewise/v1/capture").json
    assert (shown["enabled"], shown["site"], shown["models"]["tiny"]["chosen"]["all"]) == (True, "factory-7", count + 1)
    assert shown["compared"] == shown["disagreed"] == count + 1 - shown["questions_skipped"]
    metrics = asked.metrics()
    assert metrics["edgewise_gateway_capture_samples_total"] == count + 1
    assert metrics["edgewise_gateway_capture_chosen_answers_total{model=tiny,rule=all}"] == count + 1
    assert metrics["edgewise_gateway_capture_spool_bytes"] > 10_000
    # These are on their way when it stops.
    asked.predict(headers={"x-request-id": "last"})
    assert gateway.stop() == 0
    found = samples_in(tmp_path / "kept")
    assert len({one.sample_id for one in found}) == len(found) == count + 2
    assert {one.request_id for one in found} >= {"last", *(f"r-{number}" for number in range(count))}
    assert {one.form for one in found} == {"tfs-rest", "tfs-grpc"}
    assert {one.model for one in found} == {"tiny"}
    for one in found:
        assert (one.answered_by, one.tier, one.version) == ("cloud", "cloud", 1)
        assert 0.5 < one.confidence <= 1.0
        if "disagreement" in one.reasons:
            assert (one.other, one.priority) == ("edge", 3)
            assert one.other_answer != one.answer
        else:
            assert (one.other, one.other_answer, one.reasons) == ("", b"", ("all",))


def test_capture_is_switched_on_and_off_while_it_runs(start_gateway, config, ask, until, tmp_path):
    gateway = start_gateway("--config", str(config()))
    asked = ask(gateway)
    assert asked.predict().status == 200
    assert asked.rest("/edgewise/v1/capture").json == {"enabled": False}
    assert "edgewise_gateway_capture_samples_total" not in asked.metrics()
    config(table(all="true"))
    reload(gateway, until, "the config is in force", 1)
    assert asked.predict(headers={"x-request-id": "kept"}).status == 200
    # What it cannot use changes nothing.
    (tmp_path / "file").write_text("")
    config(table().replace('"kept"', '"file"'))
    reload(gateway, until, "expected a directory, and", 1)
    config(table(models='["other"]'))
    reload(gateway, until, "the config is in force", 1)
    assert asked.predict().status == 200
    config()
    reload(gateway, until, "the config is in force", 1)
    assert asked.predict().status == 200
    assert gateway.stop() == 0
    assert [one.request_id for one in samples_in(tmp_path / "kept")] == ["kept"]


def test_a_directory_that_cannot_be_made_is_told_at_the_start(config, tmp_path):
    (tmp_path / "file").write_text("")
    path = config(table().replace('"kept"', '"file/kept"'))
    done = subprocess.run(
        [sys.executable, "-m", "edgewise", "gateway", "--config", str(path), "--rest-port", "0", "--grpc-port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert done.returncode != 0
    assert f"[capture] directory: the spool {tmp_path}/file/kept cannot be used: " in done.stderr
    assert "Traceback" not in done.stderr
