import asyncio

import pytest

from edgewise.core.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from edgewise.hub.api import report_queue
from edgewise.hub.api.report_queue import ReportQueue


class Taker:
    """Takes reports when it is let."""

    def __init__(self):
        self.batches = []
        self.may = asyncio.Event()
        self.fault = None

    async def __call__(self, said):
        self.batches.append([site for site, _ in said])
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        return [InvalidArgumentError("no report") if envelope == b"bad" else len(envelope) for _, envelope in said]


async def begun(queue, *reports):
    tasks = [asyncio.create_task(queue.report(site, envelope)) for site, envelope in reports]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_what_comes_meanwhile_goes_together():
    async def run():
        taker = Taker()
        queue = ReportQueue(taker)
        first = await begun(queue, ("a", b"1"))
        rest = await begun(queue, ("b", b"22"), ("c", b"bad"), ("d", b"4444"))
        taker.may.set()
        found = await asyncio.gather(*first, *rest, return_exceptions=True)
        assert taker.batches == [["a"], ["b", "c", "d"]]
        assert [found[0], found[1], found[3]] == [1, 2, 4]
        assert isinstance(found[2], InvalidArgumentError)
        # And it begins again when something comes.
        assert await queue.report("e", b"55555") == 5

    asyncio.run(run())


def test_a_store_that_fails_fails_all_of_them_and_no_later_one():
    async def run():
        taker = Taker()
        taker.may.set()
        taker.fault = UnavailableError("the database fails")
        queue = ReportQueue(taker)
        for found in await asyncio.gather(*await begun(queue, ("a", b"1"), ("b", b"2")), return_exceptions=True):
            assert isinstance(found, UnavailableError)
        taker.fault = None
        assert await queue.report("a", b"1") == 1

    asyncio.run(run())


def test_who_goes_away_keeps_nobody_waiting():
    async def run():
        taker = Taker()
        queue = ReportQueue(taker)
        gone, there = await begun(queue, ("a", b"1"), ("b", b"22"))
        gone.cancel()
        taker.may.set()
        assert await there == 2
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(run())


def test_not_too_many_wait(monkeypatch):
    monkeypatch.setattr(report_queue, "MOST_WAITING", 2)

    async def run():
        taker = Taker()
        queue = ReportQueue(taker)
        first = await begun(queue, ("a", b"1"))
        rest = await begun(queue, ("b", b"1"), ("c", b"1"))
        with pytest.raises(ResourceExhaustedError):
            await queue.report("d", b"1")
        taker.may.set()
        assert await asyncio.gather(*first, *rest) == [1, 1, 1]

    asyncio.run(run())
