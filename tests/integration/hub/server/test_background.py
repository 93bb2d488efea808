"""What the hub does by itself, with time as the test says."""

import asyncio
import logging
import time

import pytest

from edgewise.core.errors import UnavailableError
from edgewise.hub import background
from edgewise.hub.background import Background
from edgewise.net.lifecycle import StopSignal
from support.api_world import ApiWorld

DAY_S = 86400.0


@pytest.fixture
def hub(tmp_path):
    world = ApiWorld(tmp_path)
    yield world.hub
    world.hub.close()


def run(hub, until, monkeypatch, **every_s):
    """Let it work until something holds."""
    for name, value in every_s.items():
        monkeypatch.setattr(background, name, value)

    async def work():
        stop = StopSignal()
        one = Background(hub, stop, None)
        one.start()
        async with asyncio.timeout(30):
            while not until(stop):  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.01)
        await one.end()
        return one

    return asyncio.run(work())


def test_metadata_is_signed_anew_at_half_of_its_life(hub, monkeypatch):
    before = hub.repository.versions()
    hub.repository._clock = lambda: time.time() + 0.6 * DAY_S
    run(hub, lambda _stop: hub.repository.versions()["timestamp"] > before["timestamp"], monkeypatch)
    assert hub.repository.versions()["snapshot"] == before["snapshot"]
    hub.repository._clock = lambda: time.time() + 4 * DAY_S
    run(hub, lambda _stop: hub.repository.versions()["snapshot"] > before["snapshot"], monkeypatch)


@pytest.mark.parametrize(("days", "told"), [(300, False), (340, True)])
def test_signatures_of_a_year_are_warned_of_a_month_before(hub, monkeypatch, caplog, days, told):
    hub.clock = lambda: time.time() + days * DAY_S
    looked = []
    expiries_s = background.expiries_s
    monkeypatch.setattr(background, "expiries_s", lambda repository: looked.append(1) or expiries_s(repository))
    with caplog.at_level(logging.WARNING):
        run(hub, lambda _stop: len(looked) > 1, monkeypatch, _EXPIRY_S=0.01)
    assert ("edgewise hub trust renew" in caplog.text) == told


def test_what_fails_is_told_once_and_tried_again(hub, monkeypatch, caplog):
    ticks = []

    def failing(_now_s):
        ticks.append(1)
        if len(ticks) < 5:
            raise UnavailableError("the database is away")
        if len(ticks) < 10:
            raise RuntimeError("a fault")

    monkeypatch.setattr(hub.plane, "tick", failing)
    with caplog.at_level(logging.ERROR):
        run(hub, lambda _stop: len(ticks) > 12, monkeypatch, _TICK_S=0.001)
    assert caplog.text.count("the database is away") == 1
    assert caplog.text.count("it is tried again") == 1


def test_versions_that_sites_have_seen_are_gone_beyond(hub, monkeypatch):
    monkeypatch.setattr(
        hub.plane, "trusted_versions", lambda: {"timestamp": 50, "snapshot": 20, "root": 1, "targets": 1}
    )
    run(hub, lambda _stop: hub.repository.versions()["timestamp"] > 50, monkeypatch)
    assert hub.repository.versions()["snapshot"] > 20
