"""Takes segments of sites' spools in: piece by piece to the disk, then as a whole into the books."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, UnavailableError
from edgewise.hub.api.hub import Hub
from edgewise.hub.samples.ingest import NewerSegmentError, SegmentFaultError, Taken, take_segment
from edgewise.hub.samples.pictures import keep
from edgewise.hub.samples.segment_files import SegmentFiles
from edgewise.hub.store.samples import SegmentDone

_AT_ONCE: Final = 2
"""So many segments are read at the same time: each keeps a thread, a record in memory and the disk busy."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a segment as it came.

    Attributes:
        sha256, length: of the whole segment.
    """

    site: str
    name: str
    sha256: str
    length: int
    offset: int
    content: bytes


class SegmentTaking:
    """One hub's.

    Args:
        files: where segments are until all of them is here.
    """

    def __init__(self, files: SegmentFiles) -> None:
        self.files = files
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: dict[str, int] = defaultdict(int)
        self._said_sites: dict[str, str] = {}
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def state(self, hub: Hub, site: str, name: str, sha256: str) -> tuple[int, SegmentDone | None]:
        """How much of a segment is here, and what became of it if it has come."""
        done = await hub.call(hub.plane.samples.segment, site, name, sha256)
        return (0 if done else await hub.in_files(self.files.offset, site, name, sha256)), done

    async def take(self, hub: Hub, piece: Piece) -> tuple[int, SegmentDone | None]:
        """Take a piece, and the whole segment with the last one.

        Returns: how much is here, and what became of the segment when it has come.
        Raises:
            OffsetError: another piece is wanted.
            SegmentFaultError: the segment is none; nothing of it is kept.
            NewerSegmentError: it is newer than this hub; it stays here, and is to be asked for again.
            UnavailableError: the disk or the database fails; what is here stays.
        """
        async with self._one_of(piece.site):
            done = await hub.call(hub.plane.samples.segment, piece.site, piece.name, piece.sha256)
            if done is not None:
                await hub.in_files(self.files.remove, piece.site, piece.name, piece.sha256)
                return piece.length, done
            append = partial(self.files.append, offset=piece.offset, length=piece.length)
            here = await hub.in_files(append, piece.site, piece.name, piece.sha256, piece.content)
            hub.metrics.sample_bytes.inc(len(piece.content))
            return here, (await self._finish(hub, piece) if here == piece.length else None)

    async def _finish(self, hub: Hub, piece: Piece) -> SegmentDone:
        """Pictures first, then their rows: should the hub be killed, no row is without its picture, and the segment is read again."""
        kept = set[str]()
        try:
            done = await self._taken(hub, piece, kept)
        except SegmentFaultError as error:
            _log.warning("segment %s of %s is refused: %s", piece.name, piece.site, error.message)
            hub.metrics.sample_segments.labels("refused").inc()
            await hub.in_files(self.files.remove, piece.site, piece.name, piece.sha256)
            raise
        except NewerSegmentError as error:
            _log.warning("segment %s of %s has to wait: %s", piece.name, piece.site, error.message)
            hub.metrics.sample_segments.labels("newer").inc()
            raise
        except EdgewiseError:
            # It may never be sent again.
            await _let_go(hub, kept)
            raise
        await hub.in_files(self.files.remove, piece.site, piece.name, piece.sha256)
        hub.metrics.sample_segments.labels("taken").inc()
        for outcome in ("samples", "doubled", "refused"):
            hub.metrics.samples.labels("received" if outcome == "samples" else outcome).inc(getattr(done, outcome))
        return done

    async def _taken(self, hub: Hub, piece: Piece, kept: set[str]) -> SegmentDone:
        async with self._reading:
            taken = await hub.in_files(self._read, hub, piece, kept)
        self._tell_site(piece.site, taken.said_site)
        coming = SegmentDone(piece.site, piece.name, piece.sha256, 0, 0, taken.refused, hub.clock())
        return await hub.call(hub.plane.samples.take, taken.samples, coming)

    def _read(self, hub: Hub, piece: Piece, kept: set[str]) -> Taken:
        def keep_picture(content: bytes) -> str:
            self.files.check_room(len(content))
            try:
                sha256 = keep(hub.blobs.upload, content)
            except InvalidArgumentError:
                # Not the segment's fault.
                raise UnavailableError("the hub's store did not keep a picture as it is") from None
            kept.add(sha256)
            return sha256

        with self.files.open(piece.site, piece.name, piece.sha256) as file:
            return take_segment(file, piece.site, keep_picture, hub.clock())

    def _tell_site(self, site: str, said: str) -> None:
        """Once, while it stays so: samples that call their site otherwise are this one's nevertheless."""
        if said and self._said_sites.get(site) != said:
            self._said_sites[site] = said
            _log.warning(
                "samples of %s say that they were captured at %r; they are kept as those of %s. Let the gateway's [capture] site be %r, "
                "or leave it out",
                site,
                said[:100],
                site,
                site,
            )

    @contextlib.asynccontextmanager
    async def _one_of(self, site: str) -> AsyncIterator[None]:
        """One call of a site at a time."""
        self._waiting[site] += 1
        try:
            async with self._locks[site]:
                yield
        finally:
            self._waiting[site] -= 1
            if not self._waiting[site]:
                del self._waiting[site], self._locks[site]


async def _let_go(hub: Hub, kept: set[str]) -> None:
    """Have pictures that no row names looked at by the sweep. Not removed here: the same one may be on its way into a sample of another site, or
    into a release, at this moment.
    """
    if kept:
        with contextlib.suppress(EdgewiseError):
            await hub.call(hub.plane.samples.let_go, kept)
