"""The figures of runs and cells: nothing vanishes, late engines are void, repeats are merged."""

import math

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import analysis
from edgewise.study.cells import Cell, Run
from edgewise.study.engine.job import OTHER_ANSWER, Recording, State
from edgewise.study.histogram import HdrHistogram
from edgewise.study.scenario import RunSettings

CELL = Cell("cloud", "4g", "pets", "rest-image", 60.0, 60.0)
SETTINGS = RunSettings(duration_s=1.0, warmup_s=0.5, repeats=3)
MS = 1_000_000


def recording(requests=1500, *, seed=0, ok_ratio=1.0, mean_ms=20.0, lag_ns=50_000, **changed):
    """A request a millisecond for 1.5 s, the first 500 of which are the warm-up."""
    draws = np.random.default_rng(seed)
    due_ns = np.arange(requests, dtype=np.int64) * MS
    state = np.where(draws.random(requests) < ok_ratio, State.OK, State.LOST).astype(np.uint8)
    ok = state == State.OK
    latency_ns = draws.exponential(mean_ms * MS, requests).astype(np.int64) + MS
    question = draws.integers(0, 16, requests).astype(np.uint16)
    columns = {
        "due_ns": due_ns,
        "sent_ns": due_ns + lag_ns,
        "ended_ns": np.where(ok, due_ns + latency_ns, due_ns + 5000 * MS),
        "state": state,
        "code": np.where(ok, 200, -1).astype(np.int16),
        "question": question,
        "answer": np.where(ok, question, OTHER_ANSWER).astype(np.uint16),
        "site": np.zeros(requests, dtype=np.uint8),
        "attempts": np.ones(requests, dtype=np.uint8),
        "version": np.ones(requests, dtype=np.int32),
        "answers": [f"answer {number}".encode() for number in range(16)],
        "cpu_s": 0.15,
    }
    return Recording(**{**columns, **changed})


def result(recorded, *, repeat=0, settings=SETTINGS, right=None):
    return analysis.run_result(Run(CELL, repeat, repeat), recorded, warmup_s=0.5, settings=settings, right=right)


def cell_of(recordings, cell=CELL, **options):
    runs = [result(each, repeat=number) for number, each in enumerate(recordings)]
    return analysis.cell_result(cell, runs, recordings, warmup_s=0.5, seed=1, **options)


def test_the_warm_up_is_dropped_by_due_time():
    recorded = recording()
    slow = recorded.due_ns < 500 * MS
    recorded.ended_ns[slow] += 3000 * MS
    recorded.sent_ns[slow] += 100 * MS
    found = result(recorded)
    assert found.requests == 1000
    assert found.max_ms < 1000.0
    assert found.lag_p99_ms == pytest.approx(0.05)
    assert found.void == ""
    assert found.duration_s == pytest.approx(1.0)


def test_every_request_is_in_one_count():
    states = (np.arange(1500) % 6).astype(np.uint8)
    recorded = recording(state=states)
    recorded.sent_ns[states == State.UNSENT] = -1
    recorded.ended_ns[states == State.LOST] = -1
    found = result(recorded)
    assert found.counts == {"ok": 166, "rejected": 166, "expired": 167, "error": 167, "lost": 167, "unsent": 167}
    assert sum(found.counts.values()) == found.requests == 1000


def test_latencies_count_from_the_due_time_of_what_was_answered():
    recorded = recording(lag_ns=900_000, ended_ns=np.arange(1500) * MS + 30 * MS)
    recorded.state[700:800] = State.LOST
    recorded.ended_ns[700:800] = 10_000 * MS
    found = result(recorded)
    assert found.mean_ms == pytest.approx(30.0)
    assert found.max_ms == pytest.approx(30.0)
    assert all(value == pytest.approx(30.0, rel=1e-3) for value in found.quantiles_ms.values())
    assert tuple(found.quantiles_ms) == (0.5, 0.9, 0.95, 0.99, 0.999)


def test_quantiles_are_within_a_thousandth_of_exact():
    recorded = recording(seed=4)
    exact = np.sort((recorded.ended_ns - recorded.due_ns)[500:]) / 1e6
    found = result(recorded)
    for ratio, value in found.quantiles_ms.items():
        assert value == pytest.approx(exact[math.ceil(ratio * 1000) - 1], rel=1e-3)
    assert found.mean_ms == pytest.approx(exact.mean())


def test_a_run_in_which_nothing_was_answered_has_counts_and_no_figures():
    found = result(recording(ok_ratio=0.0))
    assert found.counts["lost"] == found.requests == 1000
    assert math.isnan(found.mean_ms)
    assert math.isnan(found.max_ms)
    assert all(math.isnan(value) for value in found.quantiles_ms.values())
    assert found.void == ""
    whole = cell_of([recording(ok_ratio=0.0)] * 2)
    assert math.isnan(whole.mean_ms.value)
    assert whole.availability.value == 0.0
    assert 0.0 < whole.availability.high < 0.01
    assert whole.cdf_ms == ()
    assert whole.requests == 2000


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lag_ns": 1_500_000}, "the engine sent late, 1.50 ms at p99, more than the 1 ms that are allowed"),
        ({"cpu_s": 1.4}, "the engine was too busy, it used 93 % of its core, more than the 90 % that are allowed"),
        ({"stopped": True}, "stopped before its schedule was over"),
        ({"requests": 300}, "no request fell due behind the warm-up"),
    ],
)
def test_what_the_engine_did_not_keep_makes_a_run_void(changed, said):
    assert said in result(recording(**changed)).void


def test_lag_is_judged_at_p99():
    recorded = recording()
    recorded.sent_ns[500:510] += 50 * MS
    assert result(recorded).void == ""
    recorded.sent_ns[510:512] += 50 * MS
    assert "sent late" in result(recorded).void


def test_requests_that_were_never_sent_make_a_run_void_though_nobody_stopped_it():
    recorded = recording()
    recorded.state[1400:] = State.UNSENT
    recorded.sent_ns[1400:] = -1
    assert "requests were never sent, 100 of them" in result(recorded).void


def test_a_stopped_run_is_judged_by_what_it_did():
    recorded = recording(stopped=True, cpu_s=0.95)
    recorded.state[1000:] = State.UNSENT
    recorded.sent_ns[1000:] = -1
    found = result(recorded)
    assert found.duration_s == pytest.approx(0.499)
    assert found.engine_share == pytest.approx(0.95 / 0.999)
    assert "stopped" in found.void
    assert "used 95 %" in found.void


def test_sites_and_errors_are_told():
    recorded = recording(sites=["", "cloud", "edge"], errors={"503: full": 3})
    recorded.site[600:] = 2
    recorded.site[:600] = 1
    recorded.state[900:1000] = State.ERROR
    found = result(recorded)
    assert found.sites == {"cloud": 100, "edge": 800}
    assert found.errors == {"503: full": 3}


def test_each_distinct_answer_is_judged_once():
    asked = []

    def right(question, body):
        asked.append((question, body))
        return None if question == 0 else question % 2 == 1

    recorded = recording()
    recorded.answer[1000:1010] = OTHER_ANSWER
    found = result(recorded, right=right)
    assert sorted(asked) == [(number, f"answer {number}".encode()) for number in range(16)]
    kept = np.r_[500:1000, 1010:1500]
    assert found.labelled == (recorded.question[kept] != 0).sum()
    assert found.right == (recorded.question[kept] % 2 == 1).sum()


def test_two_answers_to_one_question_are_judged_apart():
    recorded = recording(question=np.zeros(1500, np.uint16), answer=(np.arange(1500) % 4 == 0).astype(np.uint16))
    found = result(recorded, right=lambda _, body: body == b"answer 0")
    assert (found.right, found.labelled) == (750, 1000)


def test_the_variation_of_the_schedule_is_told():
    assert result(recording()).arrival_scv == pytest.approx(0.0)
    gaps = np.random.default_rng(1).exponential(MS, 1500)
    poisson = np.cumsum(gaps).astype(np.int64)
    recorded = recording(due_ns=poisson, sent_ns=poisson, ended_ns=poisson + 5)
    assert result(recorded).arrival_scv == pytest.approx(1.0, abs=0.15)


def test_damaged_latencies_are_an_error_that_names_the_run():
    recorded = recording()
    recorded.ended_ns[700] = 0
    with pytest.raises(InvalidArgumentError, match="cloud_4g_pets_rest-image_60_r0"):
        result(recorded)


def test_a_cell_merges_its_valid_runs_and_never_averages():
    slow, quick = recording(seed=1, mean_ms=200.0), recording(seed=2, mean_ms=2.0)
    void = recording(seed=3, mean_ms=9000.0, lag_ns=3 * MS)
    found = cell_of([quick, void, slow])
    pooled = np.sort(np.concatenate([(each.ended_ns - each.due_ns)[500:] for each in (quick, slow)])) / 1e6
    assert found.requests == 2000
    assert found.counts["ok"] == 2000
    assert len(found.runs) == 3
    assert found.mean_ms.value == pytest.approx(pooled.mean())
    for ratio, estimate in found.quantiles_ms.items():
        assert estimate.value == pytest.approx(pooled[math.ceil(ratio * 2000) - 1], rel=1e-3)
        assert estimate.low < estimate.value < estimate.high
    assert tuple(found.quantiles_ms) == (0.5, 0.95, 0.99)
    assert len(found.cdf_ms) == 203
    assert found.cdf_ms[0] == pytest.approx(pooled[0], rel=1e-3)
    assert found.cdf_ms[100] == pytest.approx(pooled[999], rel=1e-3)
    assert found.cdf_ms[200] == found.cdf_ms[202] == pytest.approx(pooled[-1], rel=1e-6)


def test_the_histogram_of_a_cell_is_there_for_who_wants_it():
    histogram = HdrHistogram()
    found = cell_of([recording(seed=1), recording(lag_ns=3 * MS), recording(seed=2)], histogram=histogram)
    assert histogram.total == found.counts["ok"] == 2000
    assert histogram.mean / 1e6 == found.mean_ms.value


def test_a_cell_without_a_valid_run_has_its_counts():
    found = cell_of([recording(lag_ns=3 * MS, ok_ratio=0.5), recording(stopped=True)])
    assert found.requests == 2000
    assert 0 < found.counts["lost"] < 1000
    for estimate in (found.mean_ms, found.availability, found.accuracy, *found.quantiles_ms.values()):
        assert math.isnan(estimate.value)
        assert math.isnan(estimate.low)
    assert cell_of([]).requests == 0


def test_recordings_are_taken_one_by_one_and_those_of_void_runs_may_be_missing():
    recordings = [recording(seed=1), recording(lag_ns=3 * MS), recording(seed=2)]
    runs = [result(each) for each in recordings]
    alive = []

    def one_by_one():
        for each in (recordings[0], None, recordings[2]):
            alive.append(1)
            yield each

    found = analysis.cell_result(CELL, runs, one_by_one(), warmup_s=0.5, seed=1)
    assert len(alive) == 3
    assert found == analysis.cell_result(CELL, runs, recordings, warmup_s=0.5, seed=1)
    with pytest.raises(InvalidArgumentError, match="its records are missing"):
        analysis.cell_result(CELL, runs, [None, None, None], warmup_s=0.5, seed=1)


@pytest.mark.parametrize(("count", "said"), [(1, "not 1"), (3, "not more")])
def test_there_is_one_recording_for_each_run(count, said):
    runs = [result(recording(seed=seed)) for seed in range(2)]
    with pytest.raises(InvalidArgumentError, match=f"2 runs needs one recording for each, {said}"):
        analysis.cell_result(CELL, runs, [recording()] * count, warmup_s=0.5, seed=1)


def test_losses_that_come_in_clusters_make_availability_less_sure():
    def with_losses(lost):
        each = recording()
        each.state[lost] = State.LOST
        return cell_of([each]).availability

    spread = with_losses(np.arange(500, 1500, 20))
    at_once = with_losses(np.arange(900, 950))
    assert spread.value == at_once.value == 0.95
    assert at_once.high - at_once.low > 3 * (spread.high - spread.low)


def test_an_outage_in_every_run_is_no_chance():
    # The same cut in each: by blocks it would look like luck, by runs it is as sure as can be.
    outage = Cell("gateway", "4g", "pets", "rest-image", 60.0, 60.0, outage="cut")
    recordings = [recording(seed=seed) for seed in range(3)]
    for each in recordings:
        each.state[900:950] = State.LOST
    by_runs, by_blocks = cell_of(recordings, outage).availability, cell_of(recordings).availability
    assert by_runs.value == by_blocks.value == 0.95
    assert by_runs.high - by_runs.low < 0.5 * (by_blocks.high - by_blocks.low)


def test_asking_a_question_often_does_not_make_accuracy_surer():
    def accuracy(questions):
        recordings = [recording(seed=seed) for seed in range(3)]
        for each in recordings:
            each.question %= questions
            each.answer[:] = each.question
        runs = [result(each, right=lambda question, _: question % 4 > 0) for each in recordings]
        return analysis.cell_result(CELL, runs, recordings, warmup_s=0.5, seed=1).accuracy

    few, more = accuracy(4), accuracy(16)
    assert few.value == pytest.approx(0.75, abs=0.05)
    assert few.high - few.low > 0.5
    assert 0.3 < more.high - more.low < 0.5


def test_the_timeline_has_every_second_of_all_valid_runs():
    first = recording(3200, seed=1, sites=["", "cloud"], site=np.ones(3200, np.uint8))
    second = recording(3200, seed=2, sites=["edge"])
    first.state[1500:2500] = State.LOST
    second.state[1500:2500] = State.REJECTED
    first.ended_ns[2500:] = first.due_ns[2500:] + 7 * MS
    second.ended_ns[2500:] = second.due_ns[2500:] + 7 * MS
    found = cell_of([first, recording(3200, lag_ns=3 * MS), second]).timeline
    assert [each.second for each in found] == [0, 1, 2]
    assert [sum(each.counts.values()) for each in found] == [2000, 2000, 1400]
    assert [each.counts["ok"] for each in found] == [2000, 0, 1400]
    assert (found[1].counts["lost"], found[1].counts["rejected"]) == (1000, 1000)
    assert found[0].sites == {"cloud": 1000, "edge": 1000}
    assert found[1].sites == {}
    assert math.isnan(found[1].p50_ms)
    assert found[2].p50_ms == found[2].p99_ms == pytest.approx(7.0, rel=1e-3)
    pooled = np.concatenate([(each.ended_ns - each.due_ns)[500:1500] for each in (first, second)])
    assert found[0].p99_ms == pytest.approx(np.sort(pooled)[1979] / 1e6, rel=1e-3)
    assert cell_of([recording(ok_ratio=0.0)]).timeline[0].counts["lost"] == 1000


def test_runs_of_hours_have_no_timeline(monkeypatch):
    monkeypatch.setattr(analysis, "MAX_SECONDS", 1)
    assert cell_of([recording(3000)]).timeline == ()


def test_intervals_depend_on_the_seed_and_the_cell_alone():
    recordings = [recording(seed=seed) for seed in range(3)]
    assert cell_of(recordings) == cell_of(recordings)
    other = cell_of(recordings, Cell("edge", "", "pets", "rest-image", 60.0, 60.0))
    assert other.mean_ms.value == cell_of(recordings).mean_ms.value
    assert other.mean_ms.low != cell_of(recordings).mean_ms.low
