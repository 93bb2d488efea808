"""What holds of every wire, whatever is sent over it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from edgewise.link.profiles import PROFILES
from edgewise.link.wire import SEGMENT_BYTES, Wire, WireConditions, both_ways, next_retransmission_s

conditions = st.one_of(
    st.builds(
        WireConditions,
        delay_s=st.floats(0, 1),
        jitter_s=st.floats(0, 0.5),
        rtt_s=st.floats(0, 2),
        loss_ratio=st.sampled_from([0.0, 0.01, 0.5]),
        bytes_per_s=st.one_of(st.none(), st.floats(1_000, 1e9)),
    ),
    st.sampled_from([way for profile in PROFILES.values() for way in both_ways(profile.conditions)]),
)
sends = st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 100_000), st.integers(0, 2)), max_size=30)


def run(wire_conditions, plan, seed):
    """Each send: connection, when, and the pieces in which it arrives."""
    wire = Wire(wire_conditions, random.Random(seed).random)
    now_s, last_s, done = 0.0, [0.0, 0.0, 0.0], []
    for wait_s, size, connection in plan:
        now_s += wait_s
        arrivals = wire.send(now_s, size, last_s[connection])
        last_s[connection] = arrivals[-1][1]
        done.append((connection, now_s, size, arrivals))
    return done


@given(conditions, sends, st.integers(0, 99))
def test_every_byte_arrives_once_in_order_and_not_before_it_is_sent(wire_conditions, plan, seed):
    last_s = {}
    for connection, sent_s, size, arrivals in run(wire_conditions, plan, seed):
        assert sum(piece for piece, _ in arrivals) == size
        times = [last_s.get(connection, 0.0), *(at_s for _, at_s in arrivals)]
        assert times == sorted(times)
        assert arrivals[0][1] >= sent_s
        last_s[connection] = times[-1]


@given(conditions, sends, st.integers(0, 99))
def test_a_seed_and_the_same_sends_give_the_same_arrivals(wire_conditions, plan, seed):
    assert run(wire_conditions, plan, seed) == run(wire_conditions, plan, seed)


@given(st.floats(0, 1), st.floats(0, 0.5), sends, st.integers(0, 99))
def test_without_bandwidth_and_loss_the_delay_is_within_the_jitter(delay_s, jitter_s, plan, seed):
    apart = [(wait_s + 2.0, size, connection) for wait_s, size, connection in plan]
    for _, sent_s, _, arrivals in run(WireConditions(delay_s=delay_s, jitter_s=jitter_s), apart, seed):
        late_s = arrivals[-1][1] - sent_s
        assert max(0.0, delay_s - jitter_s) - 1e-9 <= late_s <= delay_s + jitter_s + 1e-9


@given(st.floats(1_000, 1e7), sends, st.integers(0, 99))
def test_no_more_arrives_in_any_time_than_the_bandwidth_lets_through(rate, plan, seed):
    done = run(WireConditions(bytes_per_s=rate, delay_s=0.1), plan, seed)
    pieces = sorted((at_s, size) for _, _, _, arrivals in done for size, at_s in arrivals)
    most = max(SEGMENT_BYTES, int(rate * 0.002))
    assert all(size <= most for _, size in pieces)
    for begin, (begin_s, _) in enumerate(pieces):
        passed = 0
        for at_s, size in pieces[begin:]:
            passed += size
            assert passed <= (at_s - begin_s) * rate + most + 1e-3


@given(conditions, st.integers(1, 100_000), st.integers(0, 99))
def test_an_unused_wire_is_free_at_once(wire_conditions, size, seed):
    wire = Wire(wire_conditions, random.Random(seed).random)
    assert wire.queued_bytes(0.0) == 0
    wire.send(0.0, size)
    rate = wire_conditions.bytes_per_s
    assert wire.queued_bytes(0.0) <= size * (1 + 1e-9) + 1e-6
    assert wire.queued_bytes(1.0 + (size / rate if rate else 0.0)) == 0


@given(st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0, 10))
def test_tcp_sends_again_after_the_heal_and_not_long_after(sent_s, cut_s, rtt_s):
    again_s = next_retransmission_s(sent_s, sent_s + cut_s, rtt_s)
    assert again_s >= sent_s + cut_s
    assert again_s - (sent_s + cut_s) <= min(max(rtt_s + 0.2, cut_s + rtt_s + 0.2), max(120.0, rtt_s + 0.2)) + 1e-6
