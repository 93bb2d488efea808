"""The event loop that the servers use, for one test."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on a fresh uvloop; an exception that reached the loop fails the test."""
    reached: list[dict[str, Any]] = []

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reached.append(context))
        await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())
    assert reached == [], reached
