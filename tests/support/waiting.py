"""Waiting on the thing itself: in a thread, or on the event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

WAIT_S = 30.0
LOOP_WAIT_S = 20.0
Found = TypeVar("Found")


def wait_for(predicate: Callable[[], Found], timeout_s: float = WAIT_S) -> Found:
    """The first true value of `predicate()`, asked again and again."""
    ends_s = time.monotonic() + timeout_s
    while not (found := predicate()):
        assert time.monotonic() < ends_s, "it did not come about"
        time.sleep(0.005)
    return found


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(LOOP_WAIT_S):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
