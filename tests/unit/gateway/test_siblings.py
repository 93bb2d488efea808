"""What worker processes tell one another, and what they leave out."""

import asyncio
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgewise.core.routing.calls import LinkChanged
from edgewise.gateway.siblings import Siblings
from support.waiting import until

CLOUD = SimpleNamespace(name="cloud")


@pytest.fixture
def directory():
    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        yield Path(name)


def change(after, link=CLOUD):
    return LinkChanged(link, "UP", after, "silence", 1.0)


async def started(directory, count, told=lambda *_: None):
    found = [
        Siblings(directory, number, count, told=told, answers={"number": lambda number=number: {"number": number}})
        for number in range(count)
    ]
    for one in found:
        await one.start()
    return found


def test_a_change_reaches_the_others_and_goes_no_further(directory):
    async def scenario():
        heard = []
        siblings = []

        def told_of(number):
            def told(site, state):
                heard.append((number, site, state))
                # What a worker hears changes its own link, which it would tell of.
                siblings[number].tell(change(state))

            return told

        for number in range(3):
            siblings.append(Siblings(directory, number, 3, told=told_of(number), answers={}))
            await siblings[-1].start()
        for state in ("DOWN", "UP"):
            siblings[0].tell(change(state))
        await until(lambda: sum(state == "UP" for _, _, state in heard) == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        for one in siblings:
            one.close()
        return heard

    heard = asyncio.run(scenario())
    assert sorted(heard) == [(number, "cloud", state) for number in (1, 2) for state in ("DOWN", "UP")]


def test_questions(directory):
    async def scenario():
        siblings = await started(directory, 3)
        found = await siblings[1].ask("number")
        nothing = await siblings[1].ask("something else")
        siblings[2].close()
        left = await siblings[1].ask("number")
        for one in siblings[:2]:
            one.close()
        return found, nothing, left

    found, nothing, left = asyncio.run(scenario())
    assert [answer["number"] for answer in found] == [0, 2]
    assert nothing == []
    assert [answer["number"] for answer in left] == [0]


def test_whoever_does_not_answer_is_left_out(directory, monkeypatch):
    monkeypatch.setattr("edgewise.gateway.siblings._ANSWER_TIMEOUT_S", 0.05)

    async def scenario():
        first, second = await started(directory, 2)
        second.close()
        path = directory / "1.questions"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(path))
            silent.listen()
            found = await first.ask("number")
        first.close()
        return found

    assert asyncio.run(scenario()) == []


def test_what_is_malformed_is_left_out(directory, caplog):
    async def scenario():
        heard = []
        first, second = await started(directory, 2, lambda *words: heard.append(words))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            for message in (b"", b"{", b"[1]", b"3", b'["a", "b", "c"]'):
                stranger.sendto(message, str(directory / "1.links"))
        first.tell(change("DOWN"))
        await until(lambda: heard)
        first.close()
        second.close()
        return heard

    assert asyncio.run(scenario()) == [("cloud", "DOWN")]
    assert "malformed" in caplog.text


def test_sockets_left_by_a_dead_worker_are_replaced(directory):
    async def scenario():
        siblings = await started(directory, 2)
        # Nothing is cleaned up, as after kill -9.
        again = Siblings(directory, 1, 2, told=lambda *_: None, answers={"number": lambda: {"number": 11}})
        await again.start()
        found = await siblings[0].ask("number")
        for one in (*siblings, again):
            one.close()
        return found

    assert asyncio.run(scenario()) == [{"number": 11}]
