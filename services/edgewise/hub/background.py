"""What the hub does by itself: judging each second, signing metadata anew, and going beyond what sites have seen."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.publishing import expiries_s
from edgewise.hub.api.sweeping import sweep
from edgewise.net.errors import TlsMaterialError
from edgewise.net.lifecycle import StopSignal
from edgewise.net.tls import TlsFiles
from edgewise.protocols.documents import time_text

_TICK_S: Final = 1.0
_DATABASE_S: Final = 5.0
_RENEW_S: Final = 60.0
_VERSIONS_S: Final = 5.0
_FILES_S: Final = 5.0
_EXPIRY_S: Final = 86400.0
_SAMPLES_S: Final = 600.0
_WARN_S: Final = 30 * 86400.0
_log = logging.getLogger(__name__)


class Background:
    """Tasks that go on until they are cancelled; what fails is told in the log once, and tried again.

    Args:
        stop: is set when the hub cannot go on.
        tls: certificates to follow.

    Attributes:
        has_failed: the hub cannot go on.
    """

    def __init__(self, hub: Hub, stop: StopSignal, tls: TlsFiles | None) -> None:
        self.has_failed = False
        self._hub = hub
        self._stop = stop
        self._tls = tls
        self._seen: Mapping[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        steps = [
            (_TICK_S, self._tick),
            (_DATABASE_S, self._look_at_database),
            (_RENEW_S, self._renew),
            (_VERSIONS_S, self._raise_versions),
            (_EXPIRY_S, self._look_at_expiry),
            (_SAMPLES_S, self._sweep_samples),
        ]
        if self._tls is not None:
            steps.append((_FILES_S, self._follow_files))
        self._tasks = [asyncio.create_task(self._each(every_s, step)) for every_s, step in steps]

    async def end(self) -> None:
        """Stop, and wait for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _each(self, every_s: float, step: Callable[[], Awaitable[None]]) -> None:
        told = ""
        while True:
            try:
                await step()
                told = ""
            except (EdgewiseError, TlsMaterialError) as error:
                if str(error) != told:
                    told = str(error)
                    _log.error("%s", told)
            except Exception as error:  # noqa: BLE001 - the next try may go well
                if repr(error) != told:
                    told = repr(error)
                    _log.exception("a task of the hub's own failed; it is tried again")
            await asyncio.sleep(every_s)

    async def _tick(self) -> None:
        await self._hub.call(self._hub.plane.tick, self._hub.clock())

    async def _look_at_database(self) -> None:
        """A hub that has nothing to write would never learn that another one has its database."""
        try:
            await self._hub.call(self._hub.plane.audit, None, 1)
        except FailedPreconditionError as error:
            # Another process has the database: this one would only answer what is no longer so.
            _log.critical("%s: this hub stops", error.message)
            self.has_failed = True
            self._stop.set("another hub has the database")

    async def _renew(self) -> None:
        async with self._hub.publishing:
            if await self._hub.in_files(self._hub.repository.renew):
                _log.info("signed metadata anew: %s", await self._hub.in_files(self._hub.repository.versions))

    async def _look_at_expiry(self) -> None:
        expires_s = await self._hub.in_files(expiries_s, self._hub.repository)
        for role, moment_s in expires_s.items():
            if moment_s - self._hub.clock() < _WARN_S:
                _log.warning(
                    "what the offline keys signed (%s) expires at %s, and sites install nothing from then on: edgewise hub trust renew",
                    role,
                    time_text(moment_s),
                )

    async def _sweep_samples(self) -> None:
        await sweep(self._hub)

    async def _raise_versions(self) -> None:
        seen = await self._hub.call(self._hub.plane.trusted_versions)
        if seen == self._seen:
            return
        async with self._hub.publishing:
            remark = await self._hub.in_files(self._hub.repository.raise_versions, seen)
        self._seen = dict(seen)
        if remark:
            _log.warning("%s", remark)

    async def _follow_files(self) -> None:
        if self._tls is not None and await self._hub.in_files(self._tls.reload_if_changed):
            _log.info("took over new TLS files")
