"""When bytes arrive: each part of the model by itself, with numbers worked out by hand."""

import itertools

import pytest

from edgewise.link.profiles import Conditions, Slots
from edgewise.link.wire import SEGMENT_BYTES, Wire, WireConditions, both_ways, next_retransmission_s


def draws(*numbers):
    """Those numbers, then halves."""
    remaining = itertools.chain(numbers, itertools.repeat(0.5))
    return lambda: next(remaining)


def wire(*numbers, **conditions):
    return Wire(WireConditions(**conditions), draws(*numbers))


def test_the_delay_is_added():
    assert wire(delay_s=0.02).send(1.0, 500) == [(500, 1.02)]


def test_jitter_lies_around_the_delay():
    track = wire(0.0, 0.5, 0.75, delay_s=0.02, jitter_s=0.01)
    assert [track.send(float(second), 1)[0][1] for second in range(3)] == pytest.approx([0.01, 1.02, 2.025])


def test_jitter_never_lets_bytes_arrive_before_they_are_sent():
    assert wire(0.0, delay_s=0.001, jitter_s=0.01).send(5.0, 1) == [(1, 5.0)]


def test_what_is_behind_on_the_same_connection_does_not_overtake():
    track = wire(1 - 1e-9, 0.0, delay_s=0.02, jitter_s=0.01)
    [(_, first_s)] = track.send(0.0, 1)
    assert track.send(0.001, 1, not_before_s=first_s) == [(1, first_s)]
    # Another connection's bytes may.
    assert track.send(0.002, 1)[0][1] == pytest.approx(0.022)


def test_bandwidth_is_a_queue():
    track = wire(bytes_per_s=1000.0)
    assert track.send(0.0, 500) == [(500, 0.5)]
    assert track.send(0.1, 500) == [(500, 1.0)]
    assert track.queued_bytes(0.1) == pytest.approx(900)
    assert track.queued_bytes(7.0) == 0
    assert track.send(7.0, 100) == [(100, 7.1)]


def test_the_queue_holds_a_quarter_second_and_at_least_16_segments():
    assert wire(bytes_per_s=1_000_000.0).queue_limit_bytes == 250_000
    assert wire(bytes_per_s=1000.0).queue_limit_bytes == 16 * SEGMENT_BYTES
    assert wire().queue_limit_bytes == float("inf")


@pytest.mark.parametrize(
    ("segments", "lost", "late_s"),
    [
        (1, 0, 0.1 + 0.2),
        (5, 4, 2 * 0.1),
        (5, 3, 0.1),
        (5, 0, 0.1),
    ],
    ids=["alone: the timer", "the last: a probe", "with one behind it", "with many behind it"],
)
def test_a_loss_costs_what_tcp_takes_to_notice(segments, lost, late_s):
    # The number of segments that get through before the first loss is log(1 - draw) / log(1 - loss).
    draw = 1 - 0.9 ** (lost + 0.5)
    track = wire(draw, 0.99, delay_s=0.05, rtt_s=0.1, loss_ratio=0.1)
    assert track.send(0.0, segments * SEGMENT_BYTES)[-1][1] == pytest.approx(0.05 + late_s)


def test_a_retransmission_that_is_lost_waits_for_the_doubling_timer():
    track = wire(0.0, 0.05, 0.05, 0.99, delay_s=0.05, rtt_s=0.1, loss_ratio=0.1)
    assert track.send(0.0, 100)[-1][1] == pytest.approx(0.05 + 0.3 + 0.3 + 0.6)


def test_what_was_sent_ahead_of_a_loss_arrives_in_time():
    draw = 1 - 0.9**2.5
    track = wire(draw, 0.99, delay_s=0.05, rtt_s=0.1, loss_ratio=0.1, bytes_per_s=100 * SEGMENT_BYTES)
    arrivals = track.send(0.0, 5 * SEGMENT_BYTES)
    assert [at_s for _, at_s in arrivals] == pytest.approx([0.06, 0.07, 0.18, 0.19, 0.2])


def test_a_handshake_takes_the_delay_and_a_second_more_for_a_lost_syn():
    assert wire(delay_s=0.05).handshake_s() == 0.05
    assert wire(0.05, 0.05, 0.99, delay_s=0.05, loss_ratio=0.1).handshake_s() == pytest.approx(3.05)


def test_a_change_of_conditions_concerns_what_is_sent_from_then_on():
    track = wire(bytes_per_s=100.0)
    track.send(0.0, 1000)
    track.change(WireConditions(delay_s=0.5, bytes_per_s=1000.0), 1.0)
    assert track.send(1.0, 100) == [(100, 1.6)]


def test_each_slot_has_a_path_of_its_own_and_disturbed_ends():
    slots = Slots(length_s=15, spread_ms=10, begin_ms=140, end_ms=75, edge_ms=25)
    track = wire(0.0, 1 - 1e-9, delay_s=0.025, slots=slots)
    times_s = (0.0, 0.139, 0.141, 14.92, 14.93, 15.2, 29.0)
    delays = [track.send(at_s, 1)[0][1] - at_s for at_s in times_s]
    assert delays == pytest.approx([0.04, 0.04, 0.015, 0.015, 0.04, 0.035, 0.035])


def test_nothing_cannot_be_sent():
    with pytest.raises(ValueError, match="size_bytes is 0"):
        wire().send(0.0, 0)


def test_both_ways_get_their_own_delay_and_bandwidth():
    up, down = both_ways(
        Conditions(delay_up_ms=440, delay_down_ms=400, jitter_ms=5, loss_ratio=0.01, up_kbit_s=200, down_kbit_s=None)
    )
    assert up == WireConditions(delay_s=0.44, jitter_s=0.005, rtt_s=0.84, loss_ratio=0.01, bytes_per_s=25_000)
    assert down == WireConditions(delay_s=0.4, jitter_s=0.005, rtt_s=0.84, loss_ratio=0.01)
    assert not up.straight
    assert both_ways(Conditions())[0].straight


@pytest.mark.parametrize(
    ("healed_s", "again_s"), [(0.0, 0.0), (0.1, 0.3), (0.3, 0.3), (0.5, 0.9), (0.95, 2.1), (100.0, 153.3)]
)
def test_tcp_sends_again_at_doubling_distances(healed_s, again_s):
    assert next_retransmission_s(0.0, healed_s, 0.1) == pytest.approx(again_s)


def test_the_distance_between_retransmissions_ends_at_120_s():
    # 0.3 × (2^9 - 1) = 153.3 s; the next timer would be 153.6 s.
    assert next_retransmission_s(0.0, 154.0, 0.1) == pytest.approx(153.3 + 120)
