"""Who is told of a site's endpoints, in tests."""

import asyncio
from typing import Any

from support.waiting import WAIT_S


class EndpointListener:
    """Keeps what it is told until the test asks for it."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()

    def found(self, found: Any) -> None:
        self.told.put_nowait(found)

    def failed(self, why: Any) -> None:
        self.told.put_nowait(why)

    async def next(self) -> Any:
        """What is told next, endpoints or a failure."""
        async with asyncio.timeout(WAIT_S):
            return await self.told.get()

    async def until(self, wanted: Any) -> list[Any]:
        """What was told before it, and it is told now."""
        before = []
        while (one := await self.next()) != wanted:
            before.append(one)
        return before
