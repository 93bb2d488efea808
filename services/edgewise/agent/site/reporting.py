"""What the hub is told: where each rollout is, and what the site has."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise import __version__
from edgewise.agent.site.allowance import DailyQuota
from edgewise.agent.site.board import Shown
from edgewise.agent.site.identity import Identity
from edgewise.agent.site.port import SiteActuator, Trust
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import EdgewiseError
from edgewise.core.rollout.reports import Inventory, SampleBacklog, Served, SiteReport
from edgewise.protocols.documents import time_text
from edgewise.protocols.site_report import PAYLOAD_TYPE, encode_report
from edgewise.trust.envelopes import seal

_RESERVED: Final = 1000
_MAX_BYTES: Final = 64
_log = logging.getLogger(__name__)


class Sequence:
    """Numbers that grow, also over restarts: they are taken from the disk by the thousand.

    Args:
        wall_s: seconds since the epoch; a file that is lost is made up for by the clock, so that numbers do not begin anew.
    """

    def __init__(self, state: StateDirectory, wall_s: Callable[[], float] = time.time) -> None:
        self._state = state
        content = state.read(state.sequence, _MAX_BYTES) or b""
        text = content.strip()
        self._next = int(text) if text.isdigit() else int(wall_s())
        self._reserved = self._next

    def next(self) -> int:
        """Greater than every one before.

        Raises: EdgewiseError: the disk refuses.
        """
        if self._next >= self._reserved:
            self._state.write(self._state.sequence, b"%d\n" % (self._next + _RESERVED))
            self._reserved = self._next + _RESERVED
        self._next += 1
        return self._next


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes reports.

    Attributes:
        bytes_per_s: how fast releases came lately; None before any did.
        samples: what waits to be sent; None where no samples are.
        wall_s: seconds since the epoch.
    """

    identity: Identity
    state: StateDirectory
    trust: Trust
    actuator: SiteActuator
    quota: DailyQuota
    sequence: Sequence
    bytes_per_s: Callable[[], float | None]
    samples: Callable[[], SampleBacklog | None] = lambda: None
    wall_s: Callable[[], float] = time.time

    def report(self, shown: Shown, generation: int) -> bytes:
        """A report of now, signed.

        Args:
            shown: how far the site is.
            generation: of the desired state that it follows.
        Raises: EdgewiseError: the disk refuses.
        """
        report = SiteReport(
            site=self.identity.site,
            sequence=self.sequence.next(),
            generation=generation,
            trusted=self.trust.versions(),
            inventory=self._inventory(shown),
            rollouts=shown.progress,
        )
        return seal(encode_report(report), PAYLOAD_TYPE, self.identity.key)

    def _inventory(self, shown: Shown) -> Inventory:
        cloud, edge = self._served()
        return Inventory(
            agent=__version__,
            clock=time_text(self.wall_s()),
            disk_free_bytes=self._disk_free_bytes(),
            memory_free_bytes=_memory_free_bytes(),
            bandwidth_bytes_per_s=self.bytes_per_s(),
            quota_left_bytes=self.quota.left_bytes(),
            runtimes=self._runtimes(),
            models=dict(shown.loaded),
            serving=dict(shown.serving),
            cloud=dict(cloud),
            edge=dict(edge),
            samples=self.samples(),
        )

    def _disk_free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self.state.root).free
        except OSError:
            return None

    def _served(self) -> tuple[Mapping[str, Served], Mapping[str, Served]]:
        try:
            return self.actuator.served()
        except EdgewiseError:
            return {}, {}

    def _runtimes(self) -> Mapping[str, str]:
        try:
            return self.actuator.runtimes()
        except EdgewiseError:
            return {}


def _memory_free_bytes() -> int | None:
    """Memory that could be had without swapping; None where the system does not say.

    Source: proc(5), MemAvailable.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith("MemAvailable:")), [])
    return int(found[1]) * 1024 if len(found) > 1 else None
