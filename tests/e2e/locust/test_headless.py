"""Each locustfile, headless, against a real server."""

import pytest

LOCUSTFILES = {
    "rest_json": ("REST", "rest-json", "tfs-rest", "tiny"),
    "rest_image": ("REST", "rest-image", "tfs-rest", "pets"),
    "rest_binary": ("REST", "rest-binary", "oip-rest", "pets"),
    "tfs_grpc": ("gRPC", "tfs-grpc", "tfs-grpc", "pets"),
    "oip_grpc": ("gRPC", "oip-grpc", "oip-grpc", "pets"),
}

# All of them start at once, and an engine's process has to be there before that is over.
ASKED_S = 8


@pytest.fixture(scope="module")
def headless(start_locust, host, serving, answered):
    """Runs side by side, of each locustfile and of other kinds, and what the server had answered to each file before.

    No two ask for the same model over the same protocol, or the server's counts would be of both.
    """
    before = {name: answered(over, model) for name, (_, _, over, model) in LOCUSTFILES.items()}
    before["shape"] = answered("tfs-grpc", "tiny"), answered("oip-grpc", "tiny")
    words = (
        "--headless",
        "-u",
        2,
        "-r",
        2,
        "-t",
        f"{ASKED_S}s",
        "--engine",
        "both",
        "--rate",
        20,
        "--arrivals",
        "constant",
    )
    runs = {
        name: start_locust(name, "--host", host(name), "--model", model, *words)
        for name, (*_, model) in LOCUSTFILES.items()
    }
    shape = ("--engine", "open", "--rate", 50, "--shape", "steps 0.2,1,0.2", "--html", "report.html")
    more = ("--model", "tiny", "--headless", "-t", f"{ASKED_S}s")
    runs["shape"] = start_locust("tfs_grpc,oip_grpc,shapes", "--host", serving.grpc_target, *more, "-u", 10, *shape)
    runs["paced"] = start_locust("rest_binary", "--host", serving.rest_url, *more, "-u", 4, "-r", 4, "--rate", 20)
    return runs, before


@pytest.mark.parametrize("locustfile", LOCUSTFILES)
def test_both_engines_ask_and_every_answer_is_a_prediction(headless, answered, locustfile):
    kind, protocol, asked_over, model = LOCUSTFILES[locustfile]
    runs, before = headless
    run = runs[locustfile]
    assert run.end() == 0, run.text
    asked = answered(asked_over, model) - before[locustfile]
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
        # Three digits are shown.
        assert (
            0
            < float(engines[engine]["p50_ms"])
            <= float(engines[engine]["p99_ms"])
            <= float(row["Max Response Time"]) * 1.005 + 1
        )
    # Nothing that the open loop sent is missing; of the closed loop's, a request of each user may be cut short at the end.
    assert 0 <= asked - int(rows["Aggregated"]["Request Count"]) <= 2
    assert f"{protocol} {model}: p99 is" in run.text
    assert run.failures() == {}


def test_a_shape_moves_the_rates_of_locustfiles_that_go_together(headless, answered):
    runs, before = headless
    run = runs["shape"]
    assert run.end() == 0, run.text
    ramps = [line.split("Ramping to ")[1].split(" ")[0] for line in run.text.splitlines() if "Ramping to" in line]
    assert ramps == ["2", "10", "2"]
    rows = run.rows()
    assert rows.keys() == {"tfs-grpc tiny", "oip-grpc tiny", "Aggregated"}
    for protocol, answered_before in zip(("tfs-grpc", "oip-grpc"), before["shape"], strict=True):
        requests = int(rows[f"{protocol} tiny"]["Request Count"])
        assert answered(protocol, "tiny") - answered_before == requests > 0
        assert f"{protocol} tiny" in (run.directory / "report.html").read_text()


def test_the_ordinary_way_has_one_row_a_protocol_and_model_and_users_pace_themselves(headless):
    run = headless[0]["paced"]
    assert run.end() == 0, run.text
    assert run.rows().keys() == {"rest-binary tiny", "Aggregated"}
    assert run.engines().keys() == {"closed"}
    # Four users of five a second each; unpaced they ask hundreds of times.
    assert 0 < int(run.rows()["rest-binary tiny"]["Request Count"]) <= 20 * ASKED_S + 4
