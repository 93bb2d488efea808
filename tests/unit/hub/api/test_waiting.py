import asyncio

from starlette.requests import Request

from edgewise.hub.api.waiting import Waiting


def later(seconds):
    return asyncio.get_running_loop().time() + seconds


def request(gone):
    """A client that goes away when it is told to."""

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "headers": []}, receive)


def test_a_change_wakes_those_who_wait_for_it_and_no_others():
    async def run():
        waiting = Waiting()
        with waiting.watch("a") as first, waiting.watch("a") as second, waiting.watch("b") as other:
            waiting.wake(["a", "nobody"])
            assert await first.changed(later(30))
            assert await second.changed(later(30))
            assert not await other.changed(later(0))
            first.clear()
            assert not await first.changed(later(0))
        assert waiting.count == 0

    asyncio.run(run())


def test_what_happens_between_clear_and_wait_is_not_missed():
    async def run():
        waiting = Waiting()
        with waiting.watch("a") as watch:
            watch.clear()
            waiting.wake(["a"])
            assert await watch.changed(later(30))

    asyncio.run(run())


def test_a_client_that_goes_away_is_not_waited_for():
    async def run():
        waiting, gone = Waiting(), asyncio.Event()
        async with waiting.watching("a", request(gone)) as watch:
            gone.set()
            assert not await watch.changed(later(30))
        assert waiting.count == 0

    asyncio.run(run())


def test_a_hub_that_stops_answers_everybody():
    async def run():
        waiting = Waiting()
        with waiting.watch("a") as watch:
            waiting.close()
            assert not await watch.changed(later(30))
            watch.clear()
            assert not await watch.changed(later(30))
        with waiting.watch("a") as late:
            assert not await late.changed(later(30))

    asyncio.run(run())
