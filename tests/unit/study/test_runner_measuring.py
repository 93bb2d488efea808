"""The order of things in a study, with a world and an engine that are made up."""

import io
import threading
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from edgewise.core.errors import CancelledError, InvalidArgumentError, UnavailableError
from edgewise.study import calibration, journal, measuring, planning, records, study_directory
from edgewise.study.engine.job import OTHER_ANSWER, Asking, Question, Recording, State
from edgewise.study.engine.ledger import LATE
from edgewise.study.measuring import Measuring, StorageError
from edgewise.study.progress import Progress
from edgewise.study.results import Calibration, NetworkProfile
from edgewise.study.runner import heading_of
from edgewise.study.runs_left import STOPPED
from edgewise.study.scenario import GatewaySpec, Inputs, ModelSpec, Outage, RunSettings, Scenario, SiteSpec, Sweep
from edgewise.study.study_directory import Taking

PROFILES = {
    "fibre": NetworkProfile("fibre", 4.0),
    "geo": NetworkProfile("geo", 600.0),
    "none": NetworkProfile("none", 0.0),
}


def scenario(**words):
    run = words.pop("run", RunSettings(duration_s=1.0, warmup_s=0.1, repeats=2, void_retries=1))
    sweep = {
        "targets": ("cloud", "edge", "gateway"),
        "profiles": ("fibre", "geo"),
        "models": ("one", "two"),
        "protocols": ("rest-json",),
        "loads": (20.0,),
        **words.pop("sweep", {}),
    }
    return Scenario(
        title="made up",
        seed=5,
        text="text",
        run=run,
        models=tuple(ModelSpec(name, name, "tiny") for name in ("one", "two")),
        sites=(SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge")),
        gateway=words.pop("gateway", GatewaySpec()),
        inputs=Inputs(Path()),
        sweep=Sweep(**sweep),
        **words,
    )


class World:
    """Notes what it is told; parts of it can be away."""

    def __init__(self, log):
        self.log = log
        self.serving = ("", "")
        self.away = {}
        self.dying = 0
        self.restarted = False

    def prepare(self, model):
        self.log.append(("prepare", model))

    def serve(self, model, batching=""):
        self.log.append(("serve", model, batching))
        if ("serve", model) in self.away:
            raise UnavailableError(self.away["serve", model])
        self.serving = (model, batching)

    def set_profile(self, profile):
        self.log.append(("profile", profile))

    def tell_links(self, said):
        self.log.append(("told", dict(said)))

    def fresh_gateway(self, *, always=False):
        self.log.append(("gateway", always))
        return True

    def address(self, _target, _transport):
        return "127.0.0.1", 1

    def describe(self, _target):
        return b""

    def batches(self, _target):
        return 1, 1

    def check_reachable(self, target, _transport):
        if target in self.away:
            raise UnavailableError(self.away[target])

    def check(self):
        if self.dying:
            self.dying -= 1
            self.serving = ("", "")
            raise UnavailableError("edge has ended with SIGKILL")

    def settle(self):
        return True


class Engine:
    """Answers everything at once; a run can be given another end."""

    def __init__(self, log):
        self.log = log
        self.ends = {}
        self.runs = Counter()

    def run(self, job, on_progress=None, stop=None, on_start=None):
        self.runs["all"] += 1
        end = self.ends.get(self.runs["all"], self.ends.get("always"))
        self.log.append(("run", len(job.due_ns)))
        if isinstance(end, Exception):
            raise end
        if on_start:
            on_start(0.0)
        if on_progress:
            on_progress(len(job.due_ns), len(job.due_ns), 0)
        recording = recorded(job)
        if end is not None:
            end(recording, stop)
        return recording


def recorded(job):
    n = len(job.due_ns)
    return Recording(
        due_ns=job.due_ns.copy(),
        sent_ns=job.due_ns.copy(),
        ended_ns=job.due_ns + 2_000_000,
        state=np.zeros(n, np.uint8),
        code=np.full(n, 200, np.int16),
        question=job.question_index.copy(),
        answer=np.full(n, OTHER_ANSWER, np.uint16),
        site=np.zeros(n, np.uint8),
        attempts=np.zeros(n, np.uint8),
        version=np.zeros(n, np.int32),
        scheduling="SCHED_RR",
        cpus=(1,),
    )


def late(recording, _stop):
    recording.sent_ns += 5_000_000
    recording.ended_ns += 5_000_000


def failing(recording, _stop):
    recording.state[:] = State.ERROR
    recording.errors["500: out of order"] = len(recording.state)


def silent(recording, _stop):
    recording.state[:] = State.LOST
    recording.errors[LATE] = len(recording.state)


def stopped(recording, stop):
    stop.set()
    recording.stopped = True
    recording.state[-3:] = State.UNSENT
    recording.sent_ns[-3:] = -1


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Makes a study over the made-up world, in one directory; called again, it goes on with it."""

    def make(_asked, cell, _described):
        return Asking("http", "", 0, f"/{cell.model}", (Question(b"1"), Question(b"2")))

    def calibrate(ask, asking, *, target, model, protocol, batching, **_words):
        study.tries[target, model] += 1
        if model in study.uncalibrated or (study.tries[target, model] == 1 and target in study.disturbed):
            raise UnavailableError("it answers errors only")
        study.log.append(("calibrate", target, model))
        return Calibration(target, model, protocol, batching, 2.0, (2.0,) * 50, (500.0,), 0.1, 100, 100)

    monkeypatch.setattr(measuring.questions, "make", make)
    monkeypatch.setattr(calibration, "calibrate", calibrate)

    class Study:
        uncalibrated = ()
        disturbed = ()
        tries: ClassVar[Counter] = Counter()

        def __init__(self, asked, *, resume=False):
            self.log = study.log = []
            self.directory = tmp_path / "study"
            self.asked = asked
            self.stop = threading.Event()
            self.said = io.StringIO()
            self.world = World(self.log)
            self.engine = Engine(self.log)
            heading = heading_of(asked, PROFILES)
            self.journal = study_directory.take(self.directory, asked, heading, Taking(resume=resume))

        def measure(self):
            with self.journal:
                measured = Measuring(
                    self.asked,
                    self.directory,
                    self.journal,
                    world=self.world,
                    engine=self.engine,
                    profiles=PROFILES,
                    progress=Progress(self.said),
                    stop=self.stop,
                )
                measured.all()
            return self.contents

        @property
        def contents(self):
            return journal.read(self.directory / "journal.jsonl")

    study = Study
    return Study


def names(contents):
    return [line.result.run.name for line in contents.runs]


def test_everything_that_is_planned_is_measured_in_the_order_of_the_plan(study):
    made = study(scenario())
    contents = made.measure()
    assert names(contents) == [run.name for run in planning.runs(made.asked)]
    assert all(not line.result.void for line in contents.runs)
    assert contents.missing == {}
    assert contents.notes["engine"] == "SCHED_RR priority, core 1"
    for line in contents.runs:
        recording, metadata = records.read(made.directory / line.file)
        assert metadata["run"] == line.result.run.name
        assert metadata["target"] == line.result.run.cell.target
        assert len(recording.due_ns) > line.result.requests


def test_a_model_is_served_once_and_calibrated_before_each_round_of_its_runs(study):
    made = study(scenario())
    made.measure()
    assert [step[1] for step in made.log if step[0] == "serve"] == ["one", "two"]
    first = made.log.index(("serve", "one", ""))
    second = made.log.index(("serve", "two", ""))
    for model, part in (("one", made.log[first:second]), ("two", made.log[second:])):
        steps = [step[0] for step in part]
        calibrated = [step for step in part if step[0] == "calibrate"]
        assert {step[1] for step in calibrated} == {"cloud", "edge", "gateway"}
        assert {step[2] for step in calibrated} == {model}
        rounds = [list(of_kind) for kind, of_kind in groupby(s for s in steps if s in {"calibrate", "run"})]
        runs = [run for run in planning.runs(made.asked) if run.cell.model == model]
        in_round = sum(run.repeat == 0 for run in runs)
        assert rounds == [["calibrate"] * 3, ["run"] * in_round] * made.asked.run.repeats
        # Without an emulated network.
        network = None
        for step in part:
            network = step[1] if step[0] == "profile" else network
            assert step[0] != "calibrate" or network == ""


def test_a_scenario_without_calibration_is_measured_at_once(study):
    made = study(scenario(calibrate=False))
    assert made.measure().calibrations == []
    assert not [step for step in made.log if step[0] == "calibrate"]


def test_a_gateway_that_cannot_be_predicted_is_not_calibrated(study):
    made = study(scenario(gateway=GatewaySpec(route="fastest")))
    contents = made.measure()
    assert {one.target for one in contents.calibrations} == {"cloud", "edge"}
    assert {line.result.run.cell.target for line in contents.runs} == {"cloud", "edge", "gateway"}


def test_over_a_long_way_the_warm_up_is_longer_and_the_requests_that_count_are_the_same(study):
    contents = study(scenario(sweep={"targets": ("cloud",), "models": ("one",)})).measure()
    by_profile = {line.result.run.cell.profile: line for line in contents.runs if line.result.run.repeat == 0}
    assert by_profile["fibre"].warmup_s == 0.1
    assert by_profile["geo"].warmup_s == pytest.approx(1.8)
    assert by_profile["fibre"].result.requests == by_profile["geo"].result.requests


def test_a_void_run_is_tried_again_and_kept(study):
    made = study(scenario(calibrate=False, sweep={"targets": ("edge",), "models": ("one",)}))
    made.engine.ends = {1: late}
    contents = made.measure()
    assert len(contents.runs) == 3
    first, again, _ = contents.runs
    assert "late" in first.result.void
    assert again.result.run == first.result.run
    assert not again.result.void
    assert (again.attempt, again.file) == (1, f"records/{first.result.run.name}_try2.parquet")
    assert records.read(made.directory / first.file)[1]["void"] == first.result.void
    assert "once more" in made.said.getvalue()


def test_a_run_that_stays_void_is_left_after_as_many_tries_as_the_scenario_bears(study):
    made = study(scenario(calibrate=False, sweep={"targets": ("edge",), "models": ("one",)}))
    made.engine.ends = {"always": late}
    contents = made.measure()
    assert len(contents.runs) == 2 * 2  # two repeats, two tries of each
    assert all(line.result.void for line in contents.runs)


def test_a_target_that_is_away_leaves_its_cells_out_and_the_others_go_on(study):
    made = study(scenario())
    made.world.away = {"edge": "nobody listens at 127.0.0.1:1"}
    contents = made.measure()
    assert set(contents.missing) == {"edge_one_rest-json_20", "edge_two_rest-json_20"}
    assert "nobody listens" in contents.missing["edge_one_rest-json_20"]
    assert {line.result.run.cell.target for line in contents.runs} == {"cloud", "gateway"}
    assert "cannot measure edge_one_rest-json_20: nobody listens" in made.said.getvalue()


def test_a_model_that_cannot_be_served_leaves_its_cells_out(study):
    made = study(scenario())
    made.world.away = {("serve", "one"): "no room in memory"}
    contents = made.measure()
    assert set(contents.missing) == {cell.name for cell in planning.cells(made.asked) if cell.model == "one"}
    assert set(contents.missing.values()) == {"no room in memory"}
    assert {line.result.run.cell.model for line in contents.runs} == {"two"}
    assert [step for step in made.log if step[:2] == ("serve", "one")] == [("serve", "one", "")]


def test_a_target_that_cannot_be_calibrated_and_answers_nothing_is_left_out(study):
    made = study(scenario())
    type(made).uncalibrated = ("one", "two")
    made.engine.ends = {"always": failing}
    contents = made.measure()
    assert set(contents.missing.values()) == {"it answers errors only"}
    assert contents.runs == []


def test_what_answers_is_measured_though_it_cannot_be_calibrated(study):
    made = study(scenario())
    type(made).uncalibrated = ("two",)
    contents = made.measure()
    assert contents.missing == {}
    assert len(contents.runs) == len(planning.runs(made.asked))
    assert {one.model for one in contents.calibrations} == {"one"}
    assert contents.notes["not calibrated: cloud two rest-json"] == "it answers errors only"
    assert "cloud two rest-json is not predicted: it answers errors only" in made.said.getvalue()


def test_a_calibration_that_failed_is_made_once_more(study):
    made = study(scenario())
    type(made).disturbed = ("cloud",)
    contents = made.measure()
    assert contents.missing == {}
    assert len(contents.calibrations) == 6 * made.asked.run.repeats
    assert "calibrating cloud one rest-json failed: it answers errors only; once more" in made.said.getvalue()


def test_two_runs_in_a_row_without_a_prediction_give_a_cell_up(study):
    made = study(
        scenario(calibrate=False, run=RunSettings(duration_s=1, warmup_s=0, repeats=5), sweep={"targets": ("edge",)})
    )
    made.engine.ends = {"always": failing}
    contents = made.measure()
    assert len(contents.runs) == 2 * 2  # of each model two
    assert all("500: out of order" in reason for reason in contents.missing.values())
    assert set(contents.missing) == {"edge_one_rest-json_20", "edge_two_rest-json_20"}


def test_one_bad_run_gives_nothing_up(study):
    made = study(scenario(calibrate=False, sweep={"targets": ("edge",), "models": ("one",)}))
    made.engine.ends = {1: failing}
    assert made.measure().missing == {}


def test_a_link_that_is_overloaded_may_answer_nothing_in_time(study):
    made = study(scenario(calibrate=False, sweep={"targets": ("cloud",), "models": ("one",)}))
    made.engine.ends = {"always": silent}
    contents = made.measure()
    assert (len(contents.runs), contents.missing) == (4, {})
    assert all(line.result.counts["lost"] == line.result.requests for line in contents.runs)


def test_an_outage_may_take_every_answer(study):
    asked = scenario(
        calibrate=False,
        run=RunSettings(duration_s=1, warmup_s=0, repeats=3),
        sweep={
            "targets": ("cloud",),
            "models": ("one",),
            "profiles": ("fibre",),
            "outages": (Outage("cut", "0s:blackhole"),),
        },
    )
    made = study(asked)
    made.engine.ends = {"always": failing}
    contents = made.measure()
    assert (len(contents.runs), contents.missing) == (3, {})


def test_a_part_that_dies_once_is_started_again_and_the_run_is_made_again(study):
    made = study(scenario(calibrate=False, sweep={"targets": ("edge",), "models": ("one",)}))
    made.world.dying = 1
    contents = made.measure()
    assert [step for step in made.log if step[0] == "serve"] == [("serve", "one", "")] * 2
    assert (len(contents.runs), contents.missing) == (2, {})
    assert "SIGKILL" in made.said.getvalue()


def test_a_part_that_dies_again_and_again_gives_its_cell_up(study):
    made = study(scenario(calibrate=False, sweep={"targets": ("edge",)}))
    made.world.dying = 2
    contents = made.measure()
    assert list(contents.missing) == ["edge_one_rest-json_20"]
    assert "SIGKILL" in contents.missing["edge_one_rest-json_20"]
    assert names(contents) == ["edge_two_rest-json_20_r0", "edge_two_rest-json_20_r1"]


def test_an_engine_that_dies_costs_one_run(study):
    made = study(scenario(calibrate=False, sweep={"targets": ("edge",), "models": ("one",)}))
    made.engine.ends = {1: UnavailableError("the engine's process ended")}
    assert len(made.measure().runs) == 2


def test_a_study_that_was_stopped_goes_on_with_the_run_that_was_cut_off(study):
    made = study(scenario())
    made.engine.ends = {5: stopped}
    with pytest.raises(CancelledError):
        made.measure()
    cut = made.contents.runs[-1]
    assert cut.result.void == STOPPED
    assert len(made.contents.runs) == 5

    again = study(scenario(), resume=True)
    contents = again.measure()
    plan = [run.name for run in planning.runs(again.asked)]
    assert names(contents) == [*plan[:5], *plan[4:]]
    assert contents.sessions == 2
    # What was calibrated before these runs is not calibrated again.
    assert Counter(one.model for one in contents.calibrations) == dict.fromkeys(
        ("one", "two"), 3 * again.asked.run.repeats
    )
    assert contents.runs[5].file.endswith("_try2.parquet")


def test_being_stopped_uses_up_no_try(study):
    asked = scenario(
        calibrate=False,
        run=RunSettings(duration_s=1, warmup_s=0, repeats=1, void_retries=0),
        sweep={"targets": ("edge",), "models": ("one",)},
    )
    for session in range(3):
        made = study(asked, resume=session > 0)
        made.engine.ends = {1: stopped}
        with pytest.raises(CancelledError):
            made.measure()
    contents = study(asked, resume=True).measure()
    assert [bool(line.result.void) for line in contents.runs] == [True, True, True, False]


def test_what_was_missing_is_tried_again_when_a_study_goes_on(study):
    made = study(scenario(calibrate=False))
    made.world.away = {"edge": "away"}
    assert made.measure().missing
    contents = study(scenario(calibrate=False), resume=True).measure()
    assert contents.missing == {}
    assert sorted(names(contents)) == sorted(run.name for run in planning.runs(made.asked))


def test_a_study_that_is_told_to_stop_before_it_begins_measures_nothing(study):
    made = study(scenario())
    made.stop.set()
    with pytest.raises(CancelledError):
        made.measure()
    assert made.contents.runs == []


def test_records_that_cannot_be_written_end_the_study_and_are_not_in_the_journal(study, monkeypatch):
    made = study(scenario(calibrate=False))
    write, written = records.write, []

    def full(path, recording, metadata):
        if len(written) == 3:
            raise InvalidArgumentError("the disk is full")
        written.append(path)
        write(path, recording, metadata)

    monkeypatch.setattr(measuring.records, "write", full)
    with pytest.raises(StorageError, match="the disk is full"):
        made.measure()
    assert len(made.contents.runs) == 3


def test_the_gateway_starts_anew_after_an_outage_and_the_network_is_whole_again(study):
    asked = scenario(
        calibrate=False,
        run=RunSettings(duration_s=1, warmup_s=0, repeats=1),
        sweep={
            "targets": ("gateway",),
            "models": ("one",),
            "profiles": ("fibre",),
            "outages": (Outage("", ""), Outage("cut", "0s:blackhole")),
            "loads": (20.0, 30.0, 40.0),
        },
    )
    made = study(asked)
    contents = made.measure()
    fresh = [step[1] for step in made.log if step[0] == "gateway"][1:]  # the first is for the introduction
    expected = [False, *(bool(line.result.run.cell.outage) for line in contents.runs[:-1])]
    assert fresh == expected
    told = [place for place, step in enumerate(made.log) if step[0] == "told"]
    assert told
    for place in told:
        assert ("profile", "fibre") in made.log[place:]


def test_what_is_calibrated_alone_is_what_advice_needs(study):
    made = study(scenario())
    with made.journal:
        Measuring(
            made.asked,
            made.directory,
            made.journal,
            world=made.world,
            engine=made.engine,
            profiles=PROFILES,
            progress=Progress(made.said),
            stop=made.stop,
        ).calibrations()
    assert len(made.contents.calibrations) == 6
    assert not [step for step in made.log if step[0] == "run"]
