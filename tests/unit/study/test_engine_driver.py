"""A run that is cancelled ends, at whatever moment: whoever asked for it has gone."""

import asyncio
import contextlib
import gc
import os

import numpy as np
import pytest

from edgewise.study.engine.columns import Columns, create
from edgewise.study.engine.driver import Driver, resolve
from edgewise.study.engine.job import Asking, Job, Question
from support.event_loop import run
from support.waiting import WAIT_S

TURNS = 15
ROWS = 10
AN_HOUR_NS = 3_600_000_000_000


@contextlib.asynccontextmanager
async def server():
    """Takes connections and says nothing; the port, and how many it has."""
    taken = []
    listening = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], taken
    finally:
        listening.close()
        for writer in taken:
            writer.close()


def driver_at(transport, port):
    due_ns = np.arange(1, ROWS + 1, dtype=np.int64) * AN_HOUR_NS
    asking = Asking(transport, "127.0.0.1", port, "/test.Echo/Echo", (Question(b"question"),))
    fd = create(ROWS)
    try:
        columns = Columns(fd, ROWS)
    finally:
        os.close(fd)
    columns.arrays["due_ns"][:] = due_ns
    return Driver(Job(asking, due_ns, np.zeros(ROWS, np.uint16), 5.0), columns, resolve("127.0.0.1", port))


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_it_ends_where_it_is_cancelled_in_whatever_turn_of_the_loop(transport, monkeypatch):
    # What a run tidies up before it begins takes most of a second each time.
    monkeypatch.setattr(gc, "collect", lambda: 0)

    async def main():
        async with server() as (port, taken):
            turns, ends = 0, None
            while ends is None or turns < ends:
                running = asyncio.ensure_future(driver_at(transport, port).run())
                for _ in range(turns):
                    await asyncio.sleep(0)
                assert running.cancel()
                await asyncio.wait([running], timeout=WAIT_S)
                assert running.cancelled()
                if taken and ends is None:
                    # From the moment on in which the connections are there.
                    ends = turns + TURNS
                # How many turns that takes is the machine's affair: each of the first ones, then fewer and fewer.
                turns += 1 if ends is not None else 1 + turns // TURNS

    run(main)
