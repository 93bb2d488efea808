"""Follows the file of canaries that an agent writes: what it says is in force within a tenth of a second.

A look is one question to the file system, which is the machine's own; the file is read when it was exchanged. Agents exchange it as a
whole (a new file, renamed). One that cannot be used is complained about once, and what was in force stays so.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.canaries import MAX_CANARIES_BYTES, NO_CANARIES, CanarySettings, decode_canaries

if TYPE_CHECKING:
    from edgewise.gateway.canaries import Canaries

_LOG: Final = logging.getLogger(__name__)
LOOK_S: Final = 0.05
_Stamp = tuple[int, int, int, int]


class CanaryFile:
    """The file.

    Args:
        path: where it is, or will be.
        canaries: take over what it says.
        sites: the names of the gateway's sites.
    """

    def __init__(self, path: Path, canaries: "Canaries", sites: Callable[[], Collection[str]]) -> None:
        self._path = path
        self._canaries = canaries
        self._sites = sites
        self._stamp: _Stamp | None = None
        self._refused = ""
        self._timer: asyncio.TimerHandle | None = None

    def follow(self) -> None:
        """Look now, and again and again until `close`."""
        self.look()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self.follow)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Take over what the file says, if that is something else than at the last look."""
        try:
            if _stamp(os.stat(self._path)) == self._stamp:  # noqa: PTH116 - a third of the time, twenty times a second
                return
            self._read()
        except FileNotFoundError:
            self._stamp = None
            self._refused = ""
            if self._canaries.settings is not NO_CANARIES:
                self._take_over(NO_CANARIES)
        except OSError as error:
            self._refuse(f"it cannot be read: {error.strerror}")
        except InvalidArgumentError as error:
            self._refuse(error.message)

    def _read(self) -> None:
        with self._path.open("rb") as file:
            # Of the very file that is read: another one may have taken its place since the look.
            self._stamp = _stamp(os.fstat(file.fileno()))
            content = file.read(MAX_CANARIES_BYTES + 1)
        self._refused = ""
        self._take_over(decode_canaries(content))

    def _take_over(self, settings: CanarySettings) -> None:
        self._canaries.take_over(settings)
        shares = [
            f"{one.model} at {one.site}: {one.share:.4g} of the requests to version {one.new}, the others to {one.old}"
            for one in settings.canaries
        ]
        _LOG.info("canaries, generation %d: %s", settings.generation, "; ".join(shares) or "none")
        unknown = sorted({one.site for one in settings.canaries}.difference(self._sites()))
        if unknown:
            _LOG.warning("%s names sites that this gateway does not have: %s", self._path, ", ".join(unknown))

    def _refuse(self, why: str) -> None:
        if why != self._refused:
            _LOG.warning("%s is not in force; what was stays so: %s", self._path, why)
        self._refused = why


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
