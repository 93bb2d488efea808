"""Those who wait for a change: agents for another desired state, people for news of a rollout.

A wait holds no thread and no database connection: an event of the loop, and a task that notices when the client goes away.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator

from starlette.exceptions import HTTPException
from starlette.requests import Request


class Watch:
    """One who waits.

    What happens between `clear` and `changed` is not missed: clear first, look then, and wait when nothing is new.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.is_over = False

    def clear(self) -> None:
        """What has happened so far is about to be looked at."""
        if not self.is_over:
            self.event.clear()

    async def changed(self, until_s: float) -> bool:
        """Wait until something happens.

        Args:
            until_s: on the clock of the loop.
        Returns: whether to look again; False when the time is over, the client has gone or the hub stops.
        """
        try:
            async with asyncio.timeout_at(until_s):
                await self.event.wait()
        except TimeoutError:
            return False
        return not self.is_over

    def end(self) -> None:
        """Nobody waits any more."""
        self.is_over = True
        self.event.set()


class Waiting:
    """All who wait for one kind of thing, by its name."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self._is_closed = False
        self.count = 0

    @contextlib.asynccontextmanager
    async def watching(self, name: str, request: Request) -> AsyncIterator[Watch]:
        """Wait inside; ends when the client goes away."""
        with self.watch(name) as watch:
            gone = asyncio.create_task(_end_when_gone(request, watch))
            try:
                yield watch
            finally:
                gone.cancel()

    @contextlib.contextmanager
    def watch(self, name: str) -> Iterator[Watch]:
        """Wait inside."""
        watch = Watch()
        if self._is_closed:
            watch.end()
        self._watches.setdefault(name, set()).add(watch)
        self.count += 1
        try:
            yield watch
        finally:
            self.count -= 1
            here = self._watches[name]
            here.discard(watch)
            if not here:
                del self._watches[name]

    def wake(self, names: Iterable[str]) -> None:
        """Something has changed."""
        for name in names:
            for watch in self._watches.get(name, ()):
                watch.event.set()

    def close(self) -> None:
        """The hub stops: who waits is answered at once, now and later."""
        self._is_closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.end()


async def _end_when_gone(request: Request, watch: Watch) -> None:
    # A client that announced a body and does not send it is not waited for either.
    with contextlib.suppress(HTTPException):
        while (await request.receive())["type"] != "http.disconnect":
            pass
    watch.end()
