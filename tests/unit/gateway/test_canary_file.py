"""The file is followed: exchanged, broken, gone."""

import asyncio
import json
import os

import pytest

from edgewise.gateway.canary_file import CanaryFile
from edgewise.protocols.canaries import NO_CANARIES, CanarySetting, CanarySettings, encode_canaries
from support.waiting import until


class Taken:
    def __init__(self):
        self.settings = NO_CANARIES
        self.generations = []

    def take_over(self, settings):
        self.settings = settings
        self.generations.append(settings.generation)


def content(generation, *, site="edge", share=0.1):
    setting = CanarySetting(site, "pets", 1, 2, share, 0.0, None, "k")
    return encode_canaries(CanarySettings(generation, (setting,)))


def exchange(path, data):
    aside = path.with_name("aside")
    aside.write_bytes(data)
    aside.replace(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "canaries.json"


@pytest.fixture
def taken():
    return Taken()


@pytest.fixture
def file(path, taken):
    return CanaryFile(path, taken, lambda: {"edge", "cloud"})


def test_what_it_says_is_taken_over_once(file, path, taken, caplog):
    file.look()
    assert taken.generations == []
    exchange(path, content(1))
    for _ in range(3):
        file.look()
    assert taken.generations == [1]
    exchange(path, content(2, share=0.5))
    file.look()
    assert taken.generations == [1, 2]
    assert taken.settings.canaries[0].share == 0.5
    assert caplog.messages == []
    path.unlink()
    for _ in range(3):
        file.look()
    assert taken.generations == [1, 2, 0]
    assert taken.settings is NO_CANARIES
    # The same again is something new.
    exchange(path, content(2))
    file.look()
    assert taken.generations[-1] == 2


@pytest.mark.parametrize(
    ("spoiled", "part"),
    [
        (b"{", "the canary file is not JSON"),
        (b"", "is not JSON"),
        (b"[]", "is no JSON object"),
        (b'{"format": "edgewise-canaries/2"}', "expected edgewise-canaries/1"),
        (content(2)[:-20], "is not JSON"),
        (content(2).replace(b'"share":0.1', b'"share":1.1'), "canaries[0].share: found 1.1, expected a number in 0..1"),
        (content(2) + b" " * (1 << 20), "1048576 is the most"),
    ],
)
def test_one_that_cannot_be_used_changes_nothing_and_is_told_once(file, path, taken, caplog, spoiled, part):
    exchange(path, content(1))
    file.look()
    exchange(path, spoiled)
    for _ in range(3):
        file.look()
    assert taken.generations == [1]
    (message,) = caplog.messages
    assert part in message
    assert "what was stays so" in message
    # The same mistake in another file is told no second time, until it was right in between.
    exchange(path, spoiled)
    file.look()
    exchange(path, content(3))
    file.look()
    exchange(path, spoiled)
    file.look()
    assert taken.generations == [1, 3]
    assert len([one for one in caplog.messages if part in one]) == 3


def test_one_that_cannot_be_read_changes_nothing(file, path, taken, caplog):
    exchange(path, content(1))
    file.look()
    path.unlink()
    path.mkdir()
    for _ in range(3):
        file.look()
    assert taken.generations == [1]
    (message,) = caplog.messages
    assert "it cannot be read" in message


def test_sites_that_are_not_there_are_named(file, path, taken, caplog):
    exchange(path, content(1, site="moon"))
    file.look()
    assert taken.generations == [1]
    assert "names sites that this gateway does not have: moon" in caplog.text


def test_it_is_followed_until_it_is_closed(path, taken):
    async def main():
        file = CanaryFile(path, taken, lambda: {"edge"})
        exchange(path, content(1))
        file.follow()
        # Before anything else happens on the loop.
        assert taken.generations == [1]
        for generation in range(2, 6):
            exchange(path, content(generation))
            await until(lambda generation=generation: taken.generations[-1] == generation)
        file.close()
        file.close()
        path.unlink()
        await asyncio.sleep(0)
        assert taken.generations[-1] == 5

    asyncio.run(main())


def test_a_file_of_the_same_size_and_time_is_another_one(file, path, taken):
    exchange(path, content(1))
    file.look()
    status = path.stat()
    exchange(path, json.dumps(json.loads(content(2)), separators=(",", ":")).encode())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    file.look()
    assert taken.generations == [1, 2]
