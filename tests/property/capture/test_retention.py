"""Whatever lies in a spool: what is worth least goes, no more than has to, and nothing for what cannot be kept after all."""

from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.capture.retention import Held, Worth, closing_age_s, level_of, make_room, sending_key, worth_of

worths = st.builds(Worth, st.integers(-1, 3), st.integers(0, 7), st.integers(0, 20), st.integers(0, 1 << 33))
held = st.lists(st.tuples(worths, st.integers(1, 1000)), max_size=30, unique_by=lambda each: each[0]).map(
    lambda found: [Held(str(number), worth, size) for number, (worth, size) in enumerate(found)]
)
free = st.integers(-3000, 3000)


@given(held, free, st.integers(-5, 5), st.integers(1, 500), st.integers(0, 500), worths)
def test_what_goes_is_worth_less_than_what_comes_and_than_what_stays(
    segments, free_bytes, free_segments, needed, wanted, incoming
):
    room = make_room(
        segments,
        free_bytes=free_bytes,
        free_segments=free_segments,
        needed_bytes=needed,
        wanted_bytes=wanted,
        incoming=incoming,
    )
    stays = [each for each in segments if each not in room.dropped]
    assert all(each.worth < incoming for each in room.dropped)
    assert all(gone.worth < kept.worth for gone in room.dropped for kept in stays)
    after = free_bytes + sum(each.size_bytes for each in room.dropped)
    if not room.granted_bytes:
        assert not room.dropped
        # Whatever is worth less would not have made room, or what comes is itself what would go next.
        lower = [each for each in segments if each.worth < incoming]
        assert (
            free_bytes + sum(each.size_bytes for each in lower) < needed
            or free_segments + len(lower) < 0
            or (not lower and segments)
        )
        return
    assert needed <= room.granted_bytes <= after
    assert room.granted_bytes <= max(needed, wanted)
    if room.dropped:
        last = room.dropped[-1]
        enough = max(needed, wanted)
        assert after - last.size_bytes < enough or free_segments + len(room.dropped) - 1 < 0
    if room.floor is not None:
        assert room.floor == min(each.worth for each in stays)


@given(held, free, st.integers(-5, 5))
def test_a_bound_that_was_lowered_is_kept_at_any_price(segments, free_bytes, free_segments):
    room = make_room(segments, free_bytes=free_bytes, free_segments=free_segments, needed_bytes=0, wanted_bytes=0)
    after = free_bytes + sum(each.size_bytes for each in room.dropped)
    everything = len(room.dropped) == len(segments)
    assert everything or (after >= 0 and free_segments + len(room.dropped) >= 0)
    assert (free_bytes < 0 or free_segments < 0) or not room.dropped


@given(held, st.integers(1, 500), worths, worths)
def test_what_is_worth_more_is_refused_only_where_the_lesser_is(segments, needed, one, other):
    low, high = sorted((one, other))

    def granted(incoming):
        return make_room(
            segments, free_bytes=0, free_segments=1, needed_bytes=needed, wanted_bytes=0, incoming=incoming
        ).granted_bytes

    assert granted(high) or not granted(low)


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1))
def test_levels_are_leading_zeros(ids):
    for each in ids:
        assert level_of(each.hex()) == min(7, f"{each[0]:08b}".find("1") if each[0] else 7)


def test_half_of_all_ids_are_of_the_lowest_level_and_so_on():
    counts = [sum(1 for byte in range(256) if level_of(f"{byte:02x}") == level) for level in range(8)]
    assert counts == [128, 64, 32, 16, 8, 4, 2, 2]


def test_higher_priority_then_higher_level_then_older_is_sent_first():
    segments = [(0, 7, 1, "a"), (3, 0, 9, "b"), (3, 2, 8, "c"), (3, 2, 5, "d"), (1, 1, 2, "e")]
    assert [each[3] for each in sorted(segments, key=lambda each: sending_key(*each))] == ["d", "c", "b", "e", "a"]


def test_ranks_of_following_segments_have_nothing_to_do_with_each_other():
    # Half of a level goes: each tenth of it loses about half.
    ranks = [worth_of(f"0-0-w0.5f3a9c01-{number:010d}", 0, 0, number).rank for number in range(1000)]
    middle = sorted(ranks)[500]
    tenths = [sum(rank < middle for rank in ranks[start : start + 100]) for start in range(0, 1000, 100)]
    assert 35 < min(tenths) <= max(tenths) < 65


@given(st.floats(0.1, 1000), st.integers(0, 100_000))
def test_segments_are_closed_later_where_many_wait(age_s, segments):
    assert closing_age_s(age_s, segments) >= age_s
    assert closing_age_s(age_s, 256) == age_s
    assert closing_age_s(age_s, 512) == 2 * age_s
