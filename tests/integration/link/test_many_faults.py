"""Clients come and go while one fault follows another: no byte is wrong, and nothing is left behind."""

import asyncio
import os
import random

import pytest

from edgewise.link.faults import Held, Kind, Newcomers


def some_fault(draws):
    """A kind of fault with options, or None to heal."""
    kind = draws.choice([*Kind, None, None])
    options = {}
    if kind is Kind.BLACKHOLE:
        options["newcomers"] = draws.choice(list(Newcomers)).value
        options["direction"] = draws.choice(["up", "down", "both"])
    if kind in (Kind.BLACKHOLE, Kind.STALL_ABOVE):
        options["held"] = draws.choice(list(Held)).value
    return kind, options


@pytest.mark.parametrize("profile", ["none", "cable"])
def test_no_byte_is_wrong_and_nothing_is_left_behind(links, profile):
    async def main():
        draws = random.Random(7)
        ending = False
        answered = 0

        async def client(place):
            nonlocal answered
            while not ending:
                writer = None
                try:
                    async with asyncio.timeout(0.3):
                        reader, writer = await asyncio.open_connection("127.0.0.1", place.link.port)
                        for _ in range(draws.randint(1, 4)):
                            question = os.urandom(draws.choice([10, 1000, 20_000]))
                            writer.write(question)
                            assert await reader.readexactly(len(question)) == question
                            answered += 1
                except (OSError, RuntimeError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.005)
                finally:
                    if writer is not None and draws.random() < 0.5:
                        writer.transport.abort()
                    elif writer is not None:
                        writer.close()

        async with links.linked(profile=profile) as place:
            place.link.set_conditions(up_kbit_s=20_000, down_kbit_s=20_000)
            clients = [asyncio.create_task(client(place)) for _ in range(20)]
            for _ in range(25):
                kind, options = some_fault(draws)
                if kind is None:
                    place.link.heal()
                else:
                    place.link.set_fault(kind.value, **options)
                await asyncio.sleep(draws.random() * 0.05)
            place.link.heal()
            after = answered + 100
            await place.until(lambda: answered > after)
            ending = True
            await asyncio.gather(*clients)
            await place.until(lambda: place.link.open_connections == 0)
            for way in (place.link.up, place.link.down):
                assert way.queued_bytes == 0
                assert way.lanes == set()

    links.run(main)
