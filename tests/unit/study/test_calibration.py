from dataclasses import replace

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError, UnavailableError
from edgewise.study.calibration import calibrate
from edgewise.study.calibration_bytes import request_bytes
from edgewise.study.engine.job import Question
from support.simulated_target import ASKING, SimulatedTarget


def calibrated(target, **changes):
    words = {"target": "edge", "model": "pets", "protocol": "rest-image", "instances": target.instances}
    return calibrate(target, ASKING, **{**words, "largest_batch": target.largest_batch, **changes})


def virtual_s(target):
    """How long the calibration would have taken."""
    return sum(recording.ended_ns.max() for recording in target.recordings) / 1e9


def test_what_a_lone_request_takes_is_not_what_limits_the_target():
    # 4 ms of decoding beside 10 ms of model: 14 ms alone, and yet 100 a second.
    found = calibrated(SimulatedTarget(beside_s=0.004, service_scv=0.005))
    assert found.base_ms == pytest.approx(14.0, rel=0.02)
    assert found.capacity_per_s == (pytest.approx(100.0, rel=0.02),)
    assert (found.target, found.model, found.protocol, found.batching) == ("edge", "pets", "rest-image", "")


def test_fast_and_slow_models_alike():
    for service_s in (0.001, 0.060, 0.3):
        found = calibrated(SimulatedTarget(service_s=service_s, beside_s=service_s / 5, service_scv=0.005))
        assert found.base_ms == pytest.approx(1200 * service_s, rel=0.03)
        assert found.capacity_per_s[-1] == pytest.approx(1 / service_s, rel=0.03)
        assert len(found.base_samples_ms) >= 50


def test_it_takes_no_more_than_twelve_seconds():
    for target in (SimulatedTarget(), SimulatedTarget(instances=2), SimulatedTarget(largest_batch=8, per_more_s=0.004)):
        calibrated(target)
        assert virtual_s(target) < 12


@pytest.mark.parametrize("scv", [0.02, 0.2, 1.0])
def test_the_scatter_of_service_times_is_found(scv):
    found = [calibrated(SimulatedTarget(service_scv=scv, seed=seed)).service_scv for seed in range(5)]
    # Too small where services scatter much: what a long one adds cannot be told from a stall of the machine.
    assert np.mean(found) == pytest.approx(scv, rel=0.45)


def test_instances_that_slow_each_other_are_found_out():
    found = calibrated(SimulatedTarget(instances=2, slowdown=1.25, service_scv=0.005))
    assert found.capacity_per_s == (pytest.approx(100.0, rel=0.1), pytest.approx(160.0, rel=0.03))
    free = calibrated(SimulatedTarget(instances=2, slowdown=1.0, service_scv=0.005))
    assert free.capacity_per_s == (pytest.approx(100.0, rel=0.1), pytest.approx(200.0, rel=0.03))


def test_the_speed_of_batches_is_found_by_their_size():
    found = calibrated(SimulatedTarget(largest_batch=8, per_more_s=0.004, service_scv=0.005))
    assert found.largest_batch == 8
    sizes = np.arange(1, 9)
    assert found.capacity_per_s == pytest.approx(sizes / (0.006 + 0.004 * sizes), rel=0.1)


def test_batches_that_a_server_may_run_and_does_not_are_no_batches():
    found = calibrated(SimulatedTarget(service_scv=0.005), largest_batch=8)
    assert found.largest_batch == 1
    assert found.capacity_per_s == (pytest.approx(100.0, rel=0.03),)


def test_a_disturbed_block_does_not_spoil_the_result():
    class Disturbed(SimulatedTarget):
        def __call__(self, job):
            # The machine is half as fast for the third busy loop and the lone requests before it.
            self.service_s = 0.020 if len(self.jobs) in {8, 9} else 0.010
            return super().__call__(job)

    found = calibrated(Disturbed(service_scv=0.005))
    assert found.capacity_per_s[-1] == pytest.approx(100.0, rel=0.02)
    assert found.base_ms == pytest.approx(12.0, rel=0.02)


def test_stalls_of_the_machine_are_part_of_the_speed_and_not_of_the_scatter():
    found = calibrated(SimulatedTarget(service_scv=0.005, stalls=50, stall_s=0.2))
    assert found.capacity_per_s[-1] < 95
    assert found.service_scv < 1.0


def test_its_standard_error_is_about_its_error():
    off = []
    for seed in range(12):
        found = calibrated(SimulatedTarget(service_scv=0.1, seed=seed))
        off.append((found.capacity_per_s[-1] / 100 - 1) / found.capacity_error_ratio)
    assert 0.4 < np.std(off) < 2.0


def test_a_latency_that_was_guessed_too_short_is_corrected():
    class Waking(SimulatedTarget):
        def __call__(self, job):
            # Fast at first, as a machine that was idle; slow from the first block on.
            self.service_s = 0.010 if len(self.jobs) >= 3 else 0.002
            return super().__call__(job)

    found = calibrated(Waking(service_scv=0.005))
    assert found.base_ms == pytest.approx(12.0, rel=0.03)


def test_what_a_pause_costs_is_found_by_its_length():
    found = calibrated(SimulatedTarget(service_scv=0.005, rests_after_s=0.05, rest_cost_s=0.003))
    assert found.base_ms == pytest.approx(12.0, rel=0.02)
    assert found.pauses_ms == (pytest.approx(0.6 * 12.0, rel=0.1), 12.0, 30.0, 100.0)
    none = pytest.approx(0.0, abs=0.6)
    assert found.pause_costs_ms == (0.0, none, none, pytest.approx(3.0, abs=0.8))


def test_a_machine_that_needs_no_pause_pays_none():
    found = [calibrated(SimulatedTarget(service_scv=0.005, seed=seed)).pause_costs_ms for seed in range(5)]
    assert np.mean(found, axis=0) == pytest.approx(0.0, abs=0.2)


def test_slow_models_are_not_asked_whether_short_pauses_cost():
    assert calibrated(SimulatedTarget(service_s=0.3, beside_s=0.06)).pauses_ms == ()


def test_errors_are_told_and_not_measured():
    with pytest.raises(UnavailableError) as caught:
        calibrated(SimulatedTarget(failing=2))
    assert "only 3 of 6 requests of the calibration got a prediction: 500 broken (3 times)" in caught.value.message


def test_there_has_to_be_a_question():
    with pytest.raises(InvalidArgumentError, match="there is nothing to ask"):
        calibrate(SimulatedTarget(), replace(ASKING, questions=()), target="edge", model="m", protocol="rest-image")
    with pytest.raises(InvalidArgumentError, match="instances 0"):
        calibrated(SimulatedTarget(), instances=0)


def test_bytes_are_those_of_the_wire():
    found = calibrated(SimulatedTarget())
    head = "POST /v1/models/pets:predict HTTP/1.1\r\nhost: 127.0.0.1:8501\r\ncontent-length: 22000\r\n\r\n"  # the test's own
    assert found.request_bytes == 22_000 + len(head)
    assert 600 < found.response_bytes < 1000
    assert found.request_bytes_scv == pytest.approx((2000 / found.request_bytes) ** 2, rel=1e-6)
    over_grpc, _ = request_bytes(replace(ASKING, transport="grpc", questions=(Question(b"x" * 100),)))
    assert 100 < over_grpc < 200


def test_the_same_seed_asks_the_same():
    first, second = (SimulatedTarget() for _ in range(2))
    calibrated(first)
    calibrated(second)
    assert all((a.question_index == b.question_index).all() for a, b in zip(first.jobs, second.jobs, strict=True))


def test_a_target_that_hangs_is_not_waited_for_long():
    target = SimulatedTarget()
    calibrated(target, timeout_s=2.0)
    assert max(job.timeout_s for job in target.jobs) < 60


def test_requests_that_always_meet_are_no_lone_requests():
    class Slowing(SimulatedTarget):
        def __call__(self, job):
            # Slower, the farther apart it is asked.
            if job.due_ns[-1]:
                self.service_s = 3 * float(job.due_ns[1] - job.due_ns[0]) / 1e9
            return super().__call__(job)

    with pytest.raises(UnavailableError, match="apart still meet each other; is somebody else asking"):
        calibrated(Slowing())
