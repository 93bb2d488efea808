"""Reports, several in one transaction: what comes while the disk is busy with one goes together with the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from edgewise.core.errors import EdgewiseError, ResourceExhaustedError

AT_ONCE: Final = 64
MOST_WAITING: Final = 4096
Reports: TypeAlias = Sequence[tuple[str, bytes]]


class ReportQueue:
    """Takes reports one by one, and passes them on as many at once as there are.

    Args:
        take: passes several on; for each, in order, what became of it.
    """

    def __init__(self, take: Callable[[Reports], Awaitable[Sequence[int | EdgewiseError]]]) -> None:
        self._take = take
        self._waiting: list[tuple[str, bytes, asyncio.Future[int]]] = []
        self._task: asyncio.Task[None] | None = None

    async def report(self, site: str, envelope: bytes) -> int:
        """Pass one on.

        Returns: see `ControlPlane.report`.
        Raises:
            ResourceExhaustedError: too many wait.
            EdgewiseError: as `ControlPlane.report`.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise ResourceExhaustedError("too many reports wait; try again", retry_after_s=5.0)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((site, envelope, done))
        if self._task is None:
            self._task = asyncio.create_task(self._pass_on())
        return await done

    async def _pass_on(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                await self._pass(batch)
        finally:
            self._task = None

    async def _pass(self, batch: Sequence[tuple[str, bytes, "asyncio.Future[int]"]]) -> None:
        try:
            found = await self._take([(site, envelope) for site, envelope, _ in batch])
        except BaseException as error:
            for _, _, done in batch:
                if not done.done():
                    done.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, _, done), one in zip(batch, found, strict=True):
            if done.done():
                # Who sent it has gone away; it was taken all the same.
                continue
            if isinstance(one, EdgewiseError):
                done.set_exception(one)
            else:
                done.set_result(one)
