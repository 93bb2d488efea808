"""The hub as its API and its pages use it: the control plane on its one thread, files on others, and who waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, ParamSpec, TypeAlias, TypeVar

from fastapi import Depends
from starlette.requests import Request

from edgewise.core.errors import EdgewiseError, UnavailableError
from edgewise.hub.api.access import Guard, address_of
from edgewise.hub.api.failed_attempts import FailedAttempts
from edgewise.hub.api.metrics import HubMetrics
from edgewise.hub.api.report_queue import ReportQueue, Reports
from edgewise.hub.api.waiting import Waiting
from edgewise.hub.blobs.port import BlobStore
from edgewise.hub.control.actors import Role
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.samples.shown import DEFAULT_RETENTION, Retention
from edgewise.hub.trust.repository import Repository

if TYPE_CHECKING:
    from edgewise.hub.api.segment_taking import SegmentTaking

_FILE_THREADS: Final = 8
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_Piece = TypeVar("_Piece")


class Hub:
    """One hub.

    Args:
        open_plane: makes the control plane, on the thread that is to call it; is given what to tell changes to.
        segments: takes in what sites captured.
        url: under which sites reach the hub; "" for whatever a request came to.
        retention: how long samples are kept.
        clock: seconds since the epoch.

    Attributes:
        sites, rollouts: those who wait for changes.
        reports: takes reports of sites.
        publishing: held while metadata changes, so that releases are taken in the order in which they were signed.
    """

    def __init__(
        self,
        open_plane: Callable[[Callable[[frozenset[str], frozenset[str]], None]], ControlPlane],
        repository: Repository,
        blobs: BlobStore,
        segments: "SegmentTaking",
        *,
        url: str = "",
        retention: Retention = DEFAULT_RETENTION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, "control-plane")
        self._files = ThreadPoolExecutor(_FILE_THREADS, "hub-files")
        self._loop: asyncio.AbstractEventLoop | None = None
        self.sites = Waiting()
        self.rollouts = Waiting()
        self.metrics = HubMetrics()
        self.repository = repository
        self.blobs = blobs
        self.segments = segments
        self.url = url
        self.retention = retention
        self.clock = clock
        self.publishing = asyncio.Lock()
        self._plane = self._thread.submit(open_plane, self._changed).result()
        self.reports = ReportQueue(self._take_reports)
        self.guard = Guard(self._plane, FailedAttempts(time.monotonic))

    @property
    def plane(self) -> ControlPlane:
        """Whose methods are called through `call`."""
        return self._plane

    async def call(
        self, function: Callable[_Arguments, _Answer], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Answer:
        """Have the control plane's thread call one of its methods."""
        self._loop = loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, partial(function, *arguments, **named))
        except UnavailableError:
            self.metrics.database_errors.inc()
            raise

    async def in_files(
        self, function: Callable[_Arguments, _Answer], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Answer:
        """Have a thread do something with files."""
        return await asyncio.get_running_loop().run_in_executor(self._files, partial(function, *arguments, **named))

    async def pieces(self, source: Iterator[_Piece]) -> AsyncIterator[_Piece]:
        """What an iterator over files gives."""
        nothing = object()
        while (piece := await self.in_files(next, source, nothing)) is not nothing:
            yield piece  # type: ignore[misc]  # it is no `nothing`

    def log_in(self, token: str, request: Request) -> tuple[str, Role]:
        """Whose token it is.

        Raises:
            UnauthenticatedError: nobody's; that is counted against the address.
            ResourceExhaustedError: too many from this address were wrong.
        """
        return self.guard.person(token, request)

    def address(self, request: Request) -> str:
        """Where a request came from, for the audit log."""
        return address_of(request)

    async def changed(self, rollout: str, after: int, wait_s: float) -> None:
        """Wait until a rollout has a greater revision, so long at most."""
        until_s = asyncio.get_running_loop().time() + wait_s
        with self.rollouts.watch(rollout) as watch:
            while True:
                watch.clear()
                if (await self.call(self._plane.rollout, rollout)).revision > after or not await watch.changed(until_s):
                    return

    def end_waiting(self) -> None:
        """Answer everybody who waits: the hub stops."""
        self.sites.close()
        self.rollouts.close()

    def close(self) -> None:
        """Finish what was asked for, and let database and files go."""
        self._thread.submit(self._plane.close).result()
        self._thread.shutdown()
        self._files.shutdown()

    async def _take_reports(self, said: Reports) -> Sequence[int | EdgewiseError]:
        return await self.call(self._plane.reports, said, self.clock())

    def _changed(self, sites: frozenset[str], rollouts: frozenset[str]) -> None:
        """On the control plane's thread, after a commit."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake, sites, rollouts)

    def _wake(self, sites: frozenset[str], rollouts: frozenset[str]) -> None:
        self.sites.wake(sites)
        self.rollouts.wake(rollouts)


async def hub_of(request: Request) -> Hub:
    """The hub; a dependency, async so that no thread is taken for it."""
    hub: Hub = request.app.state.hub
    return hub


TheHub: TypeAlias = Annotated[Hub, Depends(hub_of)]
