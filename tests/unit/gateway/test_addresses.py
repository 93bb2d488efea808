import asyncio
import socket
import threading

import pytest

from edgewise.gateway.addresses import Addresses, look_up

ONE = (socket.AF_INET, ("192.0.2.1", 80))
TWO = (socket.AF_INET, ("192.0.2.2", 80))


def test_numbers_are_never_looked_up():
    def lookup(host, port):
        raise AssertionError("asked")

    async def main():
        four = Addresses("127.0.0.1", 80, lookup=lookup)
        six = Addresses("::1", 80, lookup=lookup)
        assert four.known == ((socket.AF_INET, ("127.0.0.1", 80)),)
        assert six.known == ((socket.AF_INET6, ("::1", 80, 0, 0)),)
        four.refresh(asyncio.get_running_loop())
        assert await four.resolve(1.0)

    asyncio.run(main())


def test_a_name_is_looked_up_away_from_the_loop_and_kept_when_that_fails_later():
    threads = []
    answers = [[ONE, TWO], OSError("no such host"), [TWO, ONE]]

    def lookup(host, port):
        threads.append(threading.current_thread())
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def again(addresses):
        done = asyncio.Event()
        addresses._asked_s = float("-inf")
        addresses.refresh(asyncio.get_running_loop(), done.set)
        await asyncio.wait_for(done.wait(), 10)

    async def main():
        addresses = Addresses("cloud.example", 80, lookup=lookup)
        assert await addresses.resolve(10.0)
        assert addresses.known == (ONE, TWO)
        addresses.worked(TWO)
        assert addresses.known == (TWO, ONE)
        await again(addresses)
        assert addresses.known == (TWO, ONE), "the last good ones stay"
        addresses.worked(ONE)
        await again(addresses)
        assert addresses.known == (ONE, TWO), "the one in use stays in front"
        assert threading.main_thread() not in threads

    asyncio.run(main())


def test_a_lookup_that_hangs_holds_up_nobody_and_is_the_only_one():
    release = threading.Event()
    asked = []

    def lookup(host, port):
        asked.append(host)
        release.wait(10)
        return [ONE]

    async def main():
        addresses = Addresses("cloud.example", 80, lookup=lookup)
        assert not await addresses.resolve(0.01)
        for _ in range(5):
            addresses._asked_s = float("-inf")
            addresses.refresh(asyncio.get_running_loop())
        assert asked == ["cloud.example"]
        assert addresses.known == ()
        release.set()
        async with asyncio.timeout(10):
            while not addresses.known:  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_lookups_are_not_repeated_at_once():
    asked = []

    def lookup(host, port):
        asked.append(host)
        return [ONE]

    async def main():
        addresses = Addresses("cloud.example", 80, lookup=lookup)
        await addresses.resolve(10.0)
        addresses.refresh(asyncio.get_running_loop())
        assert addresses._thread is None
        assert asked == ["cloud.example"]

    asyncio.run(main())


@pytest.mark.parametrize("host", ["models..svc", "x" * 70])
def test_what_can_be_no_name_is_not_found(host):
    with pytest.raises(OSError, match="can be no name"):
        look_up(host, 80)
