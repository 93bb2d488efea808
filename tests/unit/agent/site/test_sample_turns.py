"""Whose turn it is among segments, where the hub takes some of them, or any, not in."""

import contextlib
import itertools
from collections import Counter

import pytest

from edgewise.agent.site.sample_turns import ASIDE_MOST_S, ASIDE_S, FRUITLESS, NEXT_S, SUSPECTS
from edgewise.core.errors import UnavailableError
from edgewise.core.rollout.reports import SampleBacklog
from support.played_upload import PlayedHub, PlayedSpool, World, failing


@pytest.fixture
def make(tmp_path):
    return lambda spool: World(tmp_path, PlayedHub(), spool)


def tried(world, times):
    """Sends so often, as if each try came a second after the one before. Returns: how many segments have arrived."""
    arrived = 0
    for _ in range(times):
        world.now_s += 1.0
        with contextlib.suppress(UnavailableError):
            arrived += world.upload.once()
    return arrived


@pytest.mark.parametrize("bad", ["a", "abc", "abcd"])
def test_segments_that_the_hub_fails_for_good_hold_up_no_others(make, bad):
    world = make(PlayedSpool(**{name: name.encode() for name in "abcdefgh"}))
    world.hub.before_piece = failing(*bad)
    for _ in range(5 * FRUITLESS):
        tried(world, 1)
    if len(bad) == SUSPECTS:
        # Nothing has told yet that the hub takes others in.
        assert world.hub.done == {}
        world.now_s += NEXT_S
        tried(world, 1)
    assert set(world.hub.done) == set("abcdefgh") - set(bad)
    assert world.upload.backlog == SampleBacklog(len(bad), len(bad), held_up=len(bad))
    world.hub.before_piece = failing()
    world.now_s += ASIDE_S
    assert world.upload.once() == len(bad)
    assert world.upload.backlog == SampleBacklog(0, 0, held_up=0)


def test_a_segment_that_stays_bad_is_sent_less_and_less_often_and_waited_for_by_nobody(make):
    world = make(PlayedSpool(a=b"bad"))
    world.hub.before_piece = failing("a")
    sent = []
    # A day on which another segment comes each minute.
    for minute in range(1440):
        world.now_s = 60.0 * minute
        world.spool.contents[f"b{minute}"] = b"good"
        tries = len(world.hub.sent)
        tried(world, 4)
        assert list(world.spool.contents) == ["a"]
        sent += [minute] * [name for name, *_ in world.hub.sent[tries:]].count("a")
    assert len(sent) < 20
    assert max(later - sooner for sooner, later in itertools.pairwise(sent)) >= ASIDE_MOST_S / 60.0


def test_only_a_few_take_turns_while_the_hub_takes_nothing_in(make):
    # It keeps four of a site that have begun: were there more, each would have to be sent again from its start.
    contents = {name: name.encode() for name in "abcdefgh"}
    world = make(PlayedSpool(**contents))
    world.hub.before_piece = failing(*contents)
    assert tried(world, 50) == 0
    assert {name for name, *_ in world.hub.sent} == set("abcd")
    assert max(Counter(name for name, *_ in world.hub.sent).values()) < 20
    # After a long time, another one: those may be at fault.
    world.now_s += NEXT_S
    tried(world, 50)
    assert {name for name, *_ in world.hub.sent} == set("abcde")
    world.hub.before_piece = failing()
    # What had failed arrives, so it was the hub; nobody steps aside for that.
    assert world.upload.once() == len(contents)
