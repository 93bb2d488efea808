"""The archive door on a loop and a thread of its own: the agent's other threads wait for clusters and hubs, pods wait for files."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import uvloop

from edgewise.agent.kubernetes.archive_door import LIMITS, ArchiveDoor
from edgewise.core.errors import UnavailableError
from edgewise.net.http_server import HttpServer

_STOP_S: Final = 2.0


class ArchiveServer:
    """Gives out the versions of a directory from `start` to `close`.

    Args:
        models: DIR/MODEL/VERSION below it.
        is_ready: for the readiness probe.
    """

    def __init__(self, models: Path, is_ready: Callable[[], bool] = lambda: True) -> None:
        self._models = models
        self._is_ready = is_ready
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> int:
        """Listen.

        Args:
            port: 0 picks a free one.
        Returns: the port listened on.
        Raises: UnavailableError: the address cannot be used.
        """
        listening = threading.Event()
        outcome: list[int | OSError] = []
        self._thread = threading.Thread(
            target=self._run, args=(host, port, outcome, listening), name="edgewise-archives", daemon=True
        )
        self._thread.start()
        listening.wait()
        if isinstance(found := outcome[0], OSError):
            self._thread.join()
            raise UnavailableError(f"cannot listen on {host}:{port} for the pods: {found.strerror or found}")
        return found

    def close(self) -> None:
        """Stop; downloads that are under way are cut, and the pods take them up again."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._loop = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, host: str, port: int, outcome: list[int | OSError], listening: threading.Event) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(host, port, outcome, listening))

    async def _serve(self, host: str, port: int, outcome: list[int | OSError], listening: threading.Event) -> None:
        self._stop = asyncio.Event()
        door = ArchiveDoor(self._models, self._is_ready)
        server = HttpServer(door, LIMITS)
        try:
            outcome.append(await server.start(host, port))
            self._loop = asyncio.get_running_loop()
        except OSError as error:
            outcome.append(error)
            self._stop.set()
        listening.set()
        await self._stop.wait()
        await server.stop_accepting()
        await server.drain(_STOP_S)
        await server.close()
        door.close()
