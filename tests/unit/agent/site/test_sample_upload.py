"""What an agent does with a spool and a hub, whatever those say."""

import hashlib

import pytest

from edgewise.agent.site.allowance import DailyQuota
from edgewise.agent.site.sample_hub import SegmentFaultError, SegmentWaitsError
from edgewise.agent.site.sample_turns import ASIDE_S
from edgewise.agent.site.sample_upload import MOST_ANEW, PIECE_BYTES
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.core.rollout.reports import SampleBacklog
from support.played_upload import PlayedHub, PlayedSpool, World, failing


@pytest.fixture
def make(tmp_path):
    return lambda spool, hub=None, **options: World(tmp_path, hub or PlayedHub(), spool, **options)


def test_segments_go_in_order_and_leave_the_spool_when_they_have_arrived(make):
    big = bytes(range(256)) * 3000
    world = make(PlayedSpool(a=big, b=b"small"))
    assert world.upload.once() == 2
    assert world.hub.parts == {"a": big, "b": b"small"}
    assert [offset for name, offset, _ in world.hub.sent if name == "a"] == [0, PIECE_BYTES, 2 * PIECE_BYTES]
    assert world.spool.contents == {}
    assert world.spool.adopted == 1


def test_it_goes_on_where_the_hub_says_that_it_ends(make):
    hub = PlayedHub()
    hub.parts["a"] = b"0123"
    world = make(PlayedSpool(a=b"0123456789"), hub)
    world.upload.once()
    assert hub.sent == [("a", 4, 6)]


def test_what_has_arrived_already_is_not_sent_again(make):
    hub = PlayedHub()
    hub.done["a"] = hashlib.sha256(b"0123").hexdigest()
    world = make(PlayedSpool(a=b"0123"), hub)
    assert world.upload.once() == 1
    assert hub.sent == []


def test_a_hub_that_is_away_is_tried_later_and_later_and_nothing_is_lost(make):
    world = make(PlayedSpool(a=b"0123"))
    tries = []

    def away(_name):
        tries.append(world.now_s)
        world.stopped = len(tries) >= 12
        raise UnavailableError("away")

    world.hub.before = away
    world.upload.run()
    assert world.spool.contents == {"a": b"0123"}
    assert world.upload.failures == 12
    assert 60.0 >= max(world.pauses) > 10.0


def test_a_segment_that_the_hub_calls_damaged_is_set_aside_and_the_next_one_goes(make):
    world = make(PlayedSpool(a=b"0123", b=b"4567"))

    def refuse(name):
        if name == "a":
            raise SegmentFaultError("record 0 of the segment has a wrong checksum")

    world.hub.before_piece = refuse
    assert world.upload.once() == 1
    assert (world.spool.aside, world.hub.parts) == (["a"], {"b": b"4567"})


@pytest.mark.parametrize("when", ["before", "before_piece"])
def test_a_segment_that_the_hub_refuses_for_another_reason_is_kept_and_the_next_one_goes(make, when, caplog):
    world = make(PlayedSpool(a=b"0123", b=b"4567"))

    def refuse(name):
        if name == "a":
            raise InvalidArgumentError("Upload-Length: found 0, expected 1 or more")

    setattr(world.hub, when, refuse)
    assert world.upload.once() == 1
    assert (world.spool.aside, list(world.spool.contents)) == ([], ["a"])
    assert world.upload.backlog == SampleBacklog(1, 4, held_up=1)
    assert "the segment a of samples is sent again later: Upload-Length" in caplog.text
    setattr(world.hub, when, lambda _name: None)
    world.now_s += ASIDE_S
    assert world.upload.once() == 1


def test_what_has_to_wait_for_another_hub_is_kept_and_that_is_said_once(make, caplog):
    world = make(PlayedSpool(**{f"s{number}": b"0123" for number in range(9)}))

    def newer(_name):
        raise SegmentWaitsError("bring the hub up to date")

    world.hub.before_piece = newer
    assert world.upload.once() == 0
    assert (world.spool.aside, len(world.spool.contents), world.upload.failures) == ([], 9, 0)
    assert world.upload.backlog == SampleBacklog(9, 36, held_up=9)
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [
        "the segment s0 of samples is sent again later: bring the hub up to date"
    ]
    world.hub.before_piece = lambda _name: None
    world.now_s += ASIDE_S
    assert world.upload.once() == 9


def full_disk(*_):
    raise UnavailableError("the disk of the state is full")


def test_a_state_disk_that_is_full_holds_up_no_samples_and_the_quota_counts(make, monkeypatch, caplog):
    world = make(PlayedSpool(a=bytes(3 << 20), b=bytes(3 << 20)), quota=5 << 20)
    monkeypatch.setattr(StateDirectory, "write", full_disk)
    world.pause = lambda _seconds: setattr(world, "stopped", True)
    world.upload._pause = world.pause
    assert world.upload.once() == 1
    assert list(world.spool.contents) == ["b"]
    assert sum(count for _, _, count in world.hub.sent) == 5 << 20
    assert caplog.text.count("cannot be written down, and is kept in memory") == 1


def test_a_full_state_disk_hides_nothing_that_a_hub_says(make, monkeypatch):
    world = make(PlayedSpool(a=bytes(3 << 20)), quota=5 << 20)
    monkeypatch.setattr(StateDirectory, "write", full_disk)

    def away(_name):
        raise UnavailableError("the hub is away")

    world.hub.before_piece = away
    for _ in range(5):
        with pytest.raises(UnavailableError, match="the hub is away"):
            world.upload.once()


def test_a_segment_that_comes_as_another_one_is_set_aside_after_some_tries(make):
    world = make(PlayedSpool(a=b"0123", b=b"4567"))
    world.spool.digest = lambda segment: "0" * 64 if segment.name == "a" else hashlib.sha256(b"4567").hexdigest()
    world.upload.once()
    assert world.spool.aside == ["a"]
    assert len([name for name, *_ in world.hub.sent if name == "a"]) == MOST_ANEW
    assert world.hub.parts["b"] == b"4567"


def test_what_dead_writers_left_is_looked_for_while_there_is_a_backlog(make):
    world = make(PlayedSpool(**dict.fromkeys("bcdefgh", b"0123")))

    def slow(_name):
        world.now_s += 6.0

    def adopt():
        world.spool.adopted += 1
        if world.spool.adopted == 2:
            # Of the highest priority, and its writer has died.
            world.spool.contents = {"a": b"dead", **world.spool.contents}
        return 1

    world.hub.before_piece = slow
    world.spool.adopt = adopt
    assert world.upload.once() == 8
    assert [name for name, *_ in world.hub.sent] == list("bcadefgh")
    assert world.spool.adopted == 5


def test_what_the_spool_dropped_meanwhile_is_no_error(make):
    world = make(PlayedSpool(a=b"0123", b=b"4567"))
    world.hub.before = lambda _name: world.spool.contents.pop("a", None)
    assert world.upload.once() == 1
    assert world.hub.parts == {"b": b"4567"}


def test_a_hub_without_samples_is_an_error_and_no_segment_goes(make):
    world = make(PlayedSpool(a=b"0123"))

    def unknown(_name):
        raise NotFoundError("there is no /api/v1/sites/alpha/segments/a")

    world.hub.before = unknown
    with pytest.raises(NotFoundError):
        world.upload.once()
    assert world.spool.contents == {"a": b"0123"}


def test_no_more_is_sent_than_the_rate_and_the_quota_of_a_day_allow(make):
    world = make(PlayedSpool(a=b"x" * 300_000), rate=100_000.0, quota=200_000)
    world.upload.once()
    # 200,000 bytes at 100,000 a second, then the next day.
    assert world.now_s >= 86400.0
    day_one = [size for _, offset, size in world.hub.sent if offset < 200_000]
    assert sum(day_one) == 200_000
    assert max(day_one) <= 25_000
    assert world.hub.done


def test_what_was_sent_in_vain_counts_as_well(make):
    world = make(PlayedSpool(a=b"x" * 100_000), rate=100_000.0, quota=60_000)

    def cut(_name):
        raise UnavailableError("the connection broke")

    world.hub.before_piece = cut
    for _ in range(3):
        with pytest.raises(UnavailableError):
            world.upload.once()
    assert [size for *_, size in world.hub.sent] == [25_000, 25_000, 10_000]
    # A quarter of a second's bytes may go at once.
    assert world.now_s == pytest.approx(0.35)
    world.hub.before_piece = lambda _name: None
    assert world.upload.once() == 1
    assert world.now_s >= 86400.0


def kept_bytes(world):
    """What an agent that is started now knows to have been sent today."""
    return world.quota_bytes - DailyQuota(*world.quota_words, path=world.quota_path).left_bytes()


def test_what_was_sent_is_written_down_with_each_segment_and_whenever_one_fails(make):
    world = make(PlayedSpool(a=b"x" * 1000, b=b"y" * 500), quota=10_000)
    found = []
    world.hub.before_piece = lambda _name: found.append(kept_bytes(world))
    world.upload.once()
    assert (found, kept_bytes(world)) == ([0, 1000], 1500)
    world.spool.contents["c"] = b"z" * 200
    world.hub.before_piece = failing("c")
    with pytest.raises(UnavailableError):
        world.upload.once()
    assert kept_bytes(world) == 1700


def test_a_quota_that_is_used_up_is_written_down_before_the_next_day_is_waited_for(make):
    world = make(PlayedSpool(a=b"x" * 1000), quota=600)
    found = []
    pause = world.upload._pause
    backlogs = []

    def look(seconds):
        found.append(kept_bytes(world))
        backlogs.append(world.upload.backlog.segments)
        world.spool.contents["b"] = b"comes meanwhile"
        pause(seconds)

    world.upload._pause = look
    world.upload.once()
    assert (found[0], backlogs[:2]) == (600, [1, 2])


def test_what_is_so_again_is_told_again_after_it_went_well(make, caplog):
    world = make(PlayedSpool(a=b"x" * 2500), quota=1000)
    world.upload.once()
    # Two days were used up, in the midst of one segment.
    assert caplog.messages == ["the quota of samples of this day is used up; it goes on tomorrow (UTC)"] * 2
    caplog.clear()
    caplog.set_level("INFO")
    world = make(PlayedSpool(a=b"0123", b=b"4567"))
    waits = [False, True, True, False, True]
    world.upload._is_fetching = lambda: bool(waits and waits.pop())
    world.upload.once()
    assert caplog.messages == ["samples wait while a release is fetched or checked"] * 2


def test_releases_come_first_and_that_is_told_once(make, caplog):
    caplog.set_level("INFO")
    world = make(PlayedSpool(a=b"0123"))
    world.fetching = [True] * 5
    world.upload.once()
    assert world.pauses[:5] == [1.0] * 5
    assert caplog.messages == ["samples wait while a release is fetched or checked"]
    assert world.hub.done


def test_a_fault_ends_nothing(make):
    world = make(PlayedSpool(a=b"0123"))
    faults = [RuntimeError("odd"), OSError("the disk")]

    def odd(_name):
        if faults:
            raise faults.pop()
        world.stopped = True

    world.hub.before = odd
    world.upload.run()
    assert not faults
