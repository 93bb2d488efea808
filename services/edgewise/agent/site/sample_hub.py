"""The hub's API for segments of samples, as a site uses it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

from edgewise.agent.site.hub_client import HubClient
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, InvalidArgumentError, UnavailableError
from edgewise.protocols.documents import Document, read_document
from edgewise.protocols.segment_faults import NEWER, SegmentFault

_CONNECT_S: Final = 10.0
_STALL_S: Final = 30.0
_TAKING_S: Final = 300.0
"""After the last piece the hub reads the whole segment and keeps its pictures before it answers."""
_MAX_BYTES: Final = 65536
_MOST: Final = 1 << 60
_FAULTS: Final = frozenset(SegmentFault)


class SegmentFaultError(InvalidArgumentError):
    """The segment itself is at fault; to send it again is in vain."""


class SegmentWaitsError(FailedPreconditionError):
    """The hub can take the segment only once something has changed there; the message says what."""


@dataclass(frozen=True, slots=True)
class SegmentState:
    """How far a segment has come.

    Attributes:
        offset: where the next piece begins.
        done: the hub has it for good.
        samples, doubled, refused: what became of its samples, once it is done.
    """

    offset: int
    done: bool
    samples: int = 0
    doubled: int = 0
    refused: int = 0


class SampleHub:
    """One hub.

    Args:
        url: of the hub.
        token: the site's.
        site: its name.
        ca: certificates (PEM) to trust in place of the system's.
    """

    def __init__(self, url: str, token: str, site: str, *, ca: Path | None = None) -> None:
        self._url = url
        self._site = quote(site, safe="")
        self._hub = HubClient(url, token, ca=ca)

    def state(self, name: str, sha256: str) -> SegmentState:
        """How far a segment has come.

        Raises:
            InvalidArgumentError: the hub refuses this one as it is.
            EdgewiseError: it refuses, or is away.
        """
        with self._hub.stream("GET", self._path(name), headers={"Upload-SHA256": sha256}) as answer:
            self._hub.check(answer)
            return self._state(answer)

    def send(self, name: str, sha256: str, piece: bytes, *, offset: int, length: int) -> SegmentState:
        """Send the next piece; an empty one at the end asks for the taking in once more.

        Args:
            offset: where it begins.
            length: of the whole segment, in bytes.
        Returns: how far it has come; elsewhere than behind the piece where the hub wants another one.
        Raises:
            SegmentFaultError: the hub calls the segment damaged.
            SegmentWaitsError: it cannot read this one yet.
            InvalidArgumentError: it refuses this one as it is, and says nothing like that.
            EdgewiseError: it refuses, or is away.
        """
        headers = {
            "Content-Type": "application/octet-stream",
            "Upload-Offset": str(offset),
            "Upload-Length": str(length),
            "Upload-SHA256": sha256,
        }
        is_last = offset + len(piece) == length
        timeout = httpx.Timeout(_STALL_S, connect=_CONNECT_S, read=_TAKING_S if is_last else _STALL_S)
        with self._hub.stream("PATCH", self._path(name), content=piece, headers=headers, timeout=timeout) as answer:
            if answer.status_code == httpx.codes.CONFLICT:
                return self._wanted(answer)
            if answer.status_code == httpx.codes.BAD_REQUEST:
                raise self._refusal(answer)
            self._hub.check(answer)
            return self._state(answer)

    def close(self) -> None:
        """Ask no more."""
        self._hub.close()

    def _path(self, name: str) -> str:
        return f"/api/v1/sites/{self._site}/segments/{quote(name, safe='')}"

    def _wanted(self, answer: httpx.Response) -> SegmentState:
        """Where the hub wants another piece. Raises: EdgewiseError: it says no such thing, and refuses for another reason."""
        content = self._hub.content(answer, _MAX_BYTES)
        try:
            top: Document = read_document(content, "the hub's answer", max_bytes=_MAX_BYTES)
            return SegmentState(top.integer("offset", 0, _MOST), done=False)
        except InvalidArgumentError:
            refusal = self._hub.refusal(answer.status_code, content)
            raise (SegmentWaitsError(refusal.message) if _reason(content) == NEWER else refusal) from None

    def _refusal(self, answer: httpx.Response) -> EdgewiseError:
        """What a 400 means. Only what the hub itself says by `reason` is the segment's fault."""
        content = self._hub.content(answer, _MAX_BYTES)
        refusal = self._hub.refusal(answer.status_code, content)
        return SegmentFaultError(refusal.message) if _reason(content) in _FAULTS else refusal

    def _state(self, answer: httpx.Response) -> SegmentState:
        with self._readable():
            top: Document = read_document(
                self._hub.content(answer, _MAX_BYTES), "the hub's answer", max_bytes=_MAX_BYTES
            )
            return SegmentState(
                offset=top.integer("offset", 0, _MOST),
                done=top.flag("done", default=False),
                **{name: top.optional_integer(name, _MOST) or 0 for name in ("samples", "doubled", "refused")},
            )

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except InvalidArgumentError:
            # Not the segment's fault.
            raise UnavailableError(
                f"the hub at {self._url} gave an answer about samples that cannot be read; is it a hub?"
            ) from None


def _reason(content: bytes) -> str:
    """The word beside an error; "" where there is none."""
    with contextlib.suppress(InvalidArgumentError):
        return read_document(content, "the hub's answer", max_bytes=_MAX_BYTES).text("reason", "")
    return ""
