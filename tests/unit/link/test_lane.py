"""What lanes do with bytes, on virtual time: delay, order, bandwidth, faults and their end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.link.faults import Direction, Fault, Held, Kind
from edgewise.link.lane import LANE_FULL, LANE_LIMIT_BYTES, WAY_FULL, Ending
from edgewise.link.wire import SEGMENT_BYTES


def blackhole(held=Held.DELIVER, direction=Direction.BOTH):
    return Fault(kind=Kind.BLACKHOLE, held=held, direction=direction)


def test_bytes_arrive_after_the_delay_of_their_direction(track, conditions):
    link = track(conditions(delay_s=0.03), conditions(delay_s=0.01))
    up, down, client, server = link.connect()
    up.take(b"question")
    down.take(b"answer")
    link.time.go_on(1)
    assert server.received == [(0.03, b"question")]
    assert client.received == [(0.01, b"answer")]


def test_without_conditions_bytes_pass_at_once(track, conditions):
    link = track(conditions())
    up, _, _, server = link.connect()
    up.take(b"now")
    assert server.received == [(0.0, b"now")]


def test_bytes_wait_for_the_connection_to_the_server(track, conditions):
    link = track(conditions())
    up, _, _, server = link.connect()
    up.block()
    up.take(b"early")
    assert server.text == b""
    up.unblock()
    assert server.text == b"early"


def test_all_connections_share_the_bandwidth(track, conditions):
    link = track(conditions(bytes_per_s=1000 * SEGMENT_BYTES))
    first, _, _, one = link.connect()
    second, _, _, two = link.connect()
    first.take(b"1" * 2 * SEGMENT_BYTES)
    second.take(b"2" * SEGMENT_BYTES)
    link.time.go_on(1)
    assert one.times[-1] == pytest.approx(0.002)
    assert two.times[-1] == pytest.approx(0.003)


def test_a_slow_link_lets_a_body_trickle(track, conditions):
    link = track(conditions(bytes_per_s=10 * SEGMENT_BYTES))
    up, _, _, server = link.connect()
    up.take(b"x" * 3 * SEGMENT_BYTES)
    link.time.go_on(1)
    assert server.times == pytest.approx([0.1, 0.2, 0.3])


def test_a_full_queue_lets_the_sender_wait_until_it_is_short_again(track, conditions):
    link = track(conditions(bytes_per_s=100 * SEGMENT_BYTES))
    up, _, client, server = link.connect()
    up.take(b"x" * 26 * SEGMENT_BYTES)
    assert client.reasons == WAY_FULL
    link.time.go_on(0.005)
    assert client.reasons == WAY_FULL
    link.time.go_on(0.02)
    assert client.reasons == 0
    link.time.go_on(1)
    assert len(server.text) == 26 * SEGMENT_BYTES


def test_one_connection_has_a_bounded_number_of_bytes_under_way(track, conditions):
    link = track(conditions(delay_s=10))
    up, _, client, _ = link.connect()
    up.take(b"x" * LANE_LIMIT_BYTES)
    assert client.reasons == 0
    up.take(b"x")
    assert client.reasons == LANE_FULL
    link.time.go_on(10)
    assert client.reasons == 0
    assert link.up.queued_bytes == 0


def test_a_receiver_that_does_not_read_gets_no_more(track, conditions):
    link = track(conditions(delay_s=0.01))
    up, _, _, server = link.connect()
    up.take(b"a")
    up.block()
    link.time.go_on(1)
    assert server.text == b""
    up.unblock()
    assert server.text == b"a"


def test_the_end_arrives_behind_the_last_byte(track, conditions):
    link = track(conditions(delay_s=0.01, bytes_per_s=10 * SEGMENT_BYTES))
    up, _, _, server = link.connect()
    up.take(b"x" * SEGMENT_BYTES)
    up.finish(Ending.FIN)
    link.time.go_on(0.109)
    assert not server.ended
    link.time.go_on(0.002)
    assert server.ended
    assert len(server.text) == SEGMENT_BYTES


def test_a_reset_may_follow_on_an_orderly_end(track, conditions):
    link = track(conditions())
    up, _, _, server = link.connect()
    up.finish(Ending.FIN)
    up.finish(Ending.FIN)
    up.finish(Ending.RESET)
    assert server.ended
    assert server.was_reset


def test_a_blackhole_swallows_what_is_under_way_and_what_comes(track, conditions):
    link = track(conditions(delay_s=0.02))
    up, _, _, server = link.connect()
    up.take(b"under way ")
    link.time.go_on(0.01)
    link.up.change(blackhole())
    up.take(b"later")
    link.time.go_on(10)
    assert server.text == b""
    link.up.change(None)
    link.time.go_on(1)
    assert server.text == b"under way later"
    assert server.times[0] == pytest.approx(10.03)


def test_a_blackhole_one_way_lets_the_other_way_pass(track, conditions):
    link = track(conditions())
    up, down, client, server = link.connect()
    link.down.change(blackhole(direction=Direction.DOWN))
    up.take(b"question")
    down.take(b"answer")
    assert (server.text, client.text) == (b"question", b"")


def test_backoff_sends_again_when_the_doubling_timer_of_tcp_would(track, conditions):
    link = track(conditions(delay_s=0.05, rtt_s=0.1))
    up, _, _, server = link.connect()
    link.up.change(blackhole(Held.BACKOFF))
    up.take(b"x")
    up.take(b"y")
    link.time.go_on(2.2)
    link.up.change(None)
    link.time.go_on(0.1)
    up.take(b"behind it")
    link.time.go_on(10)
    # The timer is 0.3 s, then 0.6, 1.2, 2.4: it runs out at 0.3, 0.9, 2.1 and 4.5 s.
    assert server.times == pytest.approx([4.55] * 3)
    assert server.text == b"xybehind it"


def test_dropped_bytes_are_lost_for_good_and_known_to_be(track, conditions):
    link = track(conditions(delay_s=0.02))
    up, down, _, server = link.connect()
    up.take(b"under way")
    link.up.change(blackhole(Held.DROP))
    up.take(b"later")
    link.up.change(None)
    link.time.go_on(1)
    assert server.text == b""
    assert up.lost
    assert not down.lost
    assert link.up.dropped_bytes == len(b"under waylater")
    assert link.up.queued_bytes == 0


def test_a_blackhole_that_takes_the_place_of_another_lets_nothing_slip_through(track, conditions):
    link = track(conditions())
    up, _, _, server = link.connect()
    link.up.change(blackhole())
    up.take(b"x")
    link.up.change(blackhole(direction=Direction.UP))
    link.time.go_on(1)
    assert server.text == b""
    link.up.change(None)
    assert server.text == b"x"


def test_after_a_freeze_everything_goes_on_where_it_was(track, conditions):
    link = track(conditions(delay_s=0.02))
    up, _, _, server = link.connect()
    up.take(b"a")
    link.up.change(Fault(kind=Kind.FREEZE))
    link.time.go_on(5)
    assert server.text == b""
    link.up.change(None)
    assert server.received == [(5.0, b"a")]


def test_drip_passes_a_few_bytes_in_each_interval(track, conditions):
    link = track(conditions())
    up, _, _, server = link.connect()
    link.up.change(Fault(kind=Kind.DRIP, bytes=2, interval_ms=100))
    up.take(b"abcde")
    link.time.go_on(0.3)
    assert server.received == [(0.0, b"ab"), (0.1, b"cd"), (0.2, b"e")]
    up.take(b"fgh")
    link.up.change(None)
    link.time.go_on(0.1)
    assert server.text == b"abcdefgh"


def test_stall_above_passes_small_messages_and_never_a_large_one(track, conditions):
    link = track(conditions())
    small, small_down, _, one = link.connect()
    large, _, _, two = link.connect()
    link.up.change(Fault(kind=Kind.STALL_ABOVE, bytes=100))
    for _ in range(5):
        small.take(b"x" * 80)
        small_down.take(b"answer")
    large.take(b"head")
    large.take(b"y" * 100)
    large.take(b"z")
    link.time.go_on(60)
    assert len(one.text) == 400
    assert two.text == b"head"
    link.up.change(None)
    assert two.text == b"head" + b"y" * 100 + b"z"
    link.up.change(Fault(kind=Kind.STALL_ABOVE, bytes=100_000))
    large.take(b"!")
    assert two.text.endswith(b"!")


def test_stall_above_lets_pass_what_was_sent_before(track, conditions):
    link = track(conditions(delay_s=0.01))
    up, _, _, server = link.connect()
    link.up.change(Fault(kind=Kind.STALL_ABOVE, bytes=10))
    up.take(b"head")
    up.take(b"y" * 100)
    link.time.go_on(1)
    assert server.received == [(0.01, b"head")]


def test_a_connection_that_is_gone_leaves_nothing_behind(track, conditions):
    link = track(conditions(delay_s=1))
    up, _, _, server = link.connect()
    up.take(b"x")
    up.discard()
    up.take(b"y")
    up.finish(Ending.FIN)
    link.time.go_on(10)
    assert server.text == b""
    assert not server.ended
    assert link.up.queued_bytes == 0
    assert up not in link.up.lanes


faults = st.sampled_from(
    [
        blackhole(),
        blackhole(Held.BACKOFF),
        Fault(kind=Kind.FREEZE),
        Fault(kind=Kind.DRIP, bytes=3, interval_ms=20),
        Fault(kind=Kind.STALL_ABOVE, bytes=50),
        None,
    ]
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 2), st.integers(1, 4000)),
        st.tuples(st.just("change"), faults),
        st.tuples(st.just("wait"), st.floats(0.0001, 0.5)),
        st.tuples(st.just("block"), st.integers(0, 2)),
        st.tuples(st.just("unblock"), st.integers(0, 2)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 99),
    rate=st.sampled_from([None, 5_000.0, 1_000_000.0]),
    delay_s=st.sampled_from([0.0, 0.02]),
    loss_ratio=st.sampled_from([0.0, 0.1]),
    plan=actions,
)
def test_whatever_happens_every_byte_arrives_once_and_in_order_after_the_heal(
    track, conditions, seed, rate, delay_s, loss_ratio, plan
):
    link = track(
        conditions(delay_s=delay_s, jitter_s=delay_s / 4, rtt_s=0.04, loss_ratio=loss_ratio, bytes_per_s=rate),
        seed=seed,
    )
    lanes = [link.connect() for _ in range(3)]
    sent = [b"", b"", b""]
    for what, *values in plan:
        if what == "take":
            which, size = values
            data = bytes((len(sent[which]) + place) % 251 for place in range(size))
            sent[which] += data
            lanes[which][0].take(data)
        elif what == "change":
            link.up.change(values[0])
        elif what == "wait":
            link.time.go_on(values[0])
        elif what == "block":
            lanes[values[0]][0].block()
        else:
            lanes[values[0]][0].unblock()
        for which, (_, _, _, server) in enumerate(lanes):
            assert sent[which].startswith(server.text)
        assert link.up.queued_bytes == sum(map(len, sent)) - link.up.passed_bytes
    for lane, _, _, _ in lanes:
        lane.unblock()
        lane.finish(Ending.FIN)
    link.up.change(None)
    link.time.go_on(10_000)
    for which, (_, _, client, server) in enumerate(lanes):
        assert server.text == sent[which]
        assert server.ended
        assert client.reasons == 0
    assert link.up.queued_bytes == 0
