"""Each locustfile, headless, against a real server."""

import pytest

LOCUSTFILES = {
    "rest_json": ("REST", "rest-json", "tfs-rest", "tiny"),
    "rest_image": ("REST", "rest-image", "tfs-rest", "pets"),
    "rest_binary": ("REST", "rest-binary", "oip-rest", "pets"),
    "tfs_grpc": ("gRPC", "tfs-grpc", "tfs-grpc", "pets"),
    "oip_grpc": ("gRPC", "oip-grpc", "oip-grpc", "pets"),
}


@pytest.fixture(scope="module")
def five(start_locust, host, answered):
    """A run of each, side by side, and what the server had answered before."""
    before = {name: answered(over, model) for name, (_, _, over, model) in LOCUSTFILES.items()}
    words = ("--headless", "-u", 2, "-r", 2, "-t", "3s", "--engine", "both", "--rate", 20, "--arrivals", "constant")
    runs = {
        name: start_locust(name, "--host", host(name), "--model", model, *words)
        for name, (*_, model) in LOCUSTFILES.items()
    }
    return {name: (run, before[name]) for name, run in runs.items()}


@pytest.mark.parametrize("locustfile", LOCUSTFILES)
def test_both_engines_ask_and_every_answer_is_a_prediction(five, answered, locustfile):
    kind, protocol, asked_over, model = LOCUSTFILES[locustfile]
    run, before = five[locustfile]
    assert run.end() == 0, run.text
    asked = answered(asked_over, model) - before
    rows = run.rows()
    assert rows.keys() == {f"{protocol} {model} (closed)", f"{protocol} {model} (open)", "Aggregated"}
    for name, row in rows.items():
        assert row["Failure Count"] == "0", run.failures()
        assert float(row["Average Content Size"]) > 10
        assert name == "Aggregated" or row["Type"] == kind
    engines = run.engines()
    for engine in ("closed", "open"):
        row = rows[f"{protocol} {model} ({engine})"]
        assert int(engines[engine]["requests"]) == int(row["Request Count"]) > 0
        assert (
            0
            < float(engines[engine]["p50_ms"])
            <= float(engines[engine]["p99_ms"])
            <= float(row["Max Response Time"]) + 1
        )
    # Nothing that the open loop sent is missing; of the closed loop's, a request of each user may be cut short at the end.
    assert 0 <= asked - int(rows["Aggregated"]["Request Count"]) <= 2
    assert f"{protocol} {model}: p99 is" in run.text
    assert run.failures() == {}


@pytest.fixture(scope="module")
def three(five, start_locust, serving, answered):
    """Runs of other kinds, side by side, when the server has done with the five."""
    for run, _ in five.values():
        run.end()
    rest = ("--host", serving.rest_url, "--model", "tiny", "--headless")
    grpc = ("--host", serving.grpc_target, "--model", "tiny", "--headless")
    shape = ("--engine", "open", "--rate", 50, "--shape", "steps 0.2,1,0.2", "--html", "report.html")
    return {
        "before": answered("tfs-grpc", "tiny"),
        "shape": start_locust("tfs_grpc", *grpc, "-u", 10, "-t", "4s", *shape),
        "paced": start_locust("rest_json", *rest, "-u", 4, "-r", 4, "-t", "3s", "--rate", 20),
        "together": start_locust(
            "rest_json,rest_binary,shapes", *rest, "-u", 2, "-r", 2, "-t", "4s", "--engine", "open", "--rate", 40
        ),
    }


def test_a_shape_moves_the_open_loops_rate(three, answered):
    run = three["shape"]
    assert run.end() == 0, run.text
    ramps = [line.split("Ramping to ")[1].split(" ")[0] for line in run.text.splitlines() if "Ramping to" in line]
    assert ramps == ["2", "10", "2"]
    requests = int(run.rows()["tfs-grpc tiny"]["Request Count"])
    assert answered("tfs-grpc", "tiny") - three["before"] == requests > 0
    assert "tfs-grpc tiny" in (run.directory / "report.html").read_text()


def test_the_ordinary_way_has_one_row_a_protocol_and_model_and_users_pace_themselves(three):
    run = three["paced"]
    assert run.end() == 0, run.text
    assert run.rows().keys() == {"rest-json tiny", "Aggregated"}
    assert run.engines().keys() == {"closed"}
    # Four users of five a second each; unpaced they ask hundreds of times.
    assert 0 < int(run.rows()["rest-json tiny"]["Request Count"]) <= 20 * 3 + 4


def test_locustfiles_go_together(three):
    run = three["together"]
    assert run.end() == 0, run.text
    assert run.rows().keys() == {"rest-json tiny", "rest-binary tiny", "Aggregated"}
