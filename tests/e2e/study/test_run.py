"""`edgewise study run`: to its end, stopped, killed, gone on with, on a full disk."""

import os
import signal

import pytest

from edgewise.study import journal, records, summary
from support import mounting
from support.waiting import wait_for


def runs(directory):
    try:
        return len(journal.read(directory / "journal.jsonl").runs)
    except Exception:  # noqa: BLE001 - it is not there yet
        return 0


# The command may take 300 s: beside other suites, a whole study takes two minutes.
@pytest.mark.timeout(400)
def test_a_study_from_the_command_to_the_report_and_what_the_other_verbs_make_of_it(study, scenario, tmp_path):
    text = scenario.read_text().replace("calibrate = false", "calibrate = true").replace('"tiny"', '"pets"')
    once = '[{ protocol = "oip-grpc", target = "edge" }, { protocol = "oip-grpc", target = "gateway" }]'
    text = text.replace('"gateway"]', f'"gateway"]\nwithout = {once}')
    scenario.write_text(
        text.replace('"rest-json"', '"rest-image", "oip-grpc"')
        + "[inputs]\nshort_side_px = 160\nlimit = 10\n[gateway]\nroute = 'fastest'\n"
    )
    code, said, errors = study("run", scenario, "--out", tmp_path / "a").ended(300)
    assert code == 0, errors
    assert said.startswith("typed\n")
    assert "cloud_fibre_pets_rest-image_30" in said
    assert said.rstrip().endswith(f"report: {tmp_path / 'a' / 'report.html'}")
    assert "run 8 of 8" in errors
    result = summary.read(tmp_path / "a")
    assert len(result.cells) == 4
    assert {one.target for one in result.calibrations} >= {"cloud", "edge"}
    assert (tmp_path / "a" / "summary.csv").read_text().count("\n") == 5
    assert "<html" in (tmp_path / "a" / "report.html").read_text()

    code, said, _ = study("check", tmp_path / "a").ended()
    assert code == 0
    assert "mean absolute error" in said
    code, said, _ = study("report", tmp_path / "a").ended()
    assert code == 0
    assert "report: " in said
    code, said, _ = study("compare", tmp_path / "a", tmp_path / "a").ended()
    assert code == 0
    assert "No difference is shown" in said
    code, _, errors = study("run", scenario, "--out", tmp_path / "a").ended()
    assert code == 1
    assert "holds a finished study" in errors


def test_advice_takes_no_directory_and_leaves_none(study, scenario, tmp_path):
    # Long enough a service time for a machine that has other things to do.
    text = scenario.read_text().replace('["tiny"]', '["squeezenet"]').replace("rest-json", "rest-image")
    text = text.replace(', "gateway"', "")
    scenario.write_text(
        text + "[inputs]\nshort_side_px = 160\nlimit = 8\n[model.squeezenet]\nbatching = { max_batch_size = 1 }\n"
    )
    code, said, errors = study("advise", scenario).ended(200)
    assert code == 0, errors
    assert "squeezenet rest-image, fibre (4 ms RTT):" in said
    assert "30/s" in said
    assert "crossover: " in said
    assert {path.name for path in tmp_path.iterdir()} == {"typed.toml"}


def test_a_stopped_study_ends_in_order_and_goes_on(study, scenario, tmp_path):
    directory = tmp_path / "study"
    before = 0
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        command = study("run", scenario, "--out", directory, *(["--resume"] if before else []))
        wait_for(lambda: runs(directory) > before or command.process.poll() is not None, 90)  # noqa: B023 - called here
        # As a terminal does it: every process of the group hears Ctrl-C.
        os.killpg(command.process.pid, number)
        found, said, errors = command.ended()
        assert found == code, errors
        assert "stopping; what was measured is kept" in errors
        assert f"stopped; go on with: edgewise study run {scenario} --out {directory} --resume" in said
        assert (directory / "report.html").exists()
        assert "Traceback" not in errors
        assert before < runs(directory)
        assert not journal.read(directory / "journal.jsonl").finished
        before = runs(directory)

    found, said, errors = study("run", scenario, "--out", directory, "--resume").ended()
    assert found == 0, errors
    assert "of 6 runs are there" in errors
    contents = journal.read(directory / "journal.jsonl")
    assert contents.finished
    assert len({line.result.run.name for line in contents.runs if not line.result.void}) == 6


def test_a_killed_study_leaves_nothing_running_and_goes_on(study, scenario, tmp_path):
    directory = tmp_path / "study"
    command = study("run", scenario, "--out", directory)
    wait_for(lambda: runs(directory) >= 1 or command.process.poll() is not None, 90)
    command.process.kill()
    command.process.wait()
    with (directory / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind":"run","result":{"run"')  # what a death in the middle of a write leaves
    code, said, _ = study("report", directory).ended()
    assert code == 0
    assert "cells are missing" in said
    code, _, errors = study("run", scenario, "--out", directory, "--resume").ended()
    assert code == 0, errors
    contents = journal.read(directory / "journal.jsonl")
    assert len(contents.runs) == 6 + sum(bool(line.result.void) for line in contents.runs)
    for line in contents.runs:
        records.read(directory / line.file)


def test_the_second_signal_ends_at_once(study, scenario, tmp_path):
    directory = tmp_path / "study"
    command = study("run", scenario, "--out", directory)
    wait_for(lambda: runs(directory) >= 1 or command.process.poll() is not None, 90)
    command.process.send_signal(signal.SIGINT)
    command.until_said("stopping; what was measured is kept")
    command.process.send_signal(signal.SIGINT)
    code, _, errors = command.ended(30)
    assert code == 130
    assert "Traceback" not in errors


@pytest.fixture
def small_disk(tmp_path):
    with mounting.small_disk(tmp_path / "disk", "17m") as disk:
        yield disk


def test_a_full_disk_keeps_what_was_measured_and_the_report_says_what_is_missing(study, scenario, small_disk):
    # Many repeats of many requests; the room that is held back takes summary and report.
    scenario.write_text(
        scenario.read_text().replace("repeats = 2", "repeats = 12").replace("loads = [30]", "loads = [400, 900]")
    )
    directory = small_disk / "study"
    command = study("run", scenario, "--out", directory)
    wait_for(lambda: runs(directory) >= 3 or command.process.poll() is not None, 90)
    with (small_disk / "else").open("wb") as other:  # somebody else fills it up
        try:
            while True:
                other.write(b"\0" * 65536)
                other.flush()
        except OSError:
            pass
    code, said, errors = command.ended(200)
    assert code == 1, errors
    assert "not finished: " in said
    assert "the disk is full" in said or "No space left" in said
    assert "cells are missing" in said
    kept = journal.read(directory / "journal.jsonl").runs
    assert len(kept) >= 3
    for line in kept:
        records.read(directory / line.file)
    report = (directory / "report.html").read_text()
    assert "the study ended before it was measured" in report
    assert "Traceback" not in errors
    assert not list((directory / "records").glob(".*"))
