"""Gives the versions on the agent's volume to the pods: GET and HEAD of archives, whole or from where a download broke off.

    /releases/MODEL/VERSION.tar    the version's files (`version_archive`)
    /v2/health/live, /ready        for the probes of the agent's own pod

Whoever can reach the port may read: it is the cluster's business who can (the component's NetworkPolicy lets model servers in). Nobody has
to be believed either, since a pod compares what it got with the SHA-256 in its own pod template.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.agent.kubernetes.version_archive import VersionArchive, archive_of
from edgewise.core.errors import EdgewiseError, NotFoundError
from edgewise.core.versions import MODEL_NAME
from edgewise.net.http_answer import encode_fields, reason_phrase
from edgewise.net.http_exchange import HttpExchange
from edgewise.net.http_limits import HttpLimits

LIMITS: Final = HttpLimits(max_connections=512, max_body_bytes=1024)
_LOG: Final = logging.getLogger(__name__)
_PATH: Final = re.compile(rb"/releases/([^/]{1,128})/([1-9][0-9]{0,18})\.tar")
_RANGE: Final = re.compile(rb"bytes=([0-9]{1,18})-([0-9]{0,18})")
_READERS: Final = 4


@dataclass(frozen=True, slots=True)
class Part:
    """What is sent of an archive: the bytes from `start` up to and without `end`."""

    status: int
    start: int
    end: int


def archive_path(model: str, version: int) -> str:
    """Where a version's archive is."""
    return f"/releases/{model}/{version}.tar"


def part_of(asked: bytes, validator: bytes, tag: bytes, size_bytes: int) -> Part:
    """Which part of an archive a request means (RFC 9110, sections 13.1.5 and 14.2).

    Args:
        asked: the header Range; what is not `bytes=FIRST-[LAST]` asks for everything.
        validator: the header If-Range.
        tag: the archive's ETag.
        size_bytes: of the archive.
    """
    found = _RANGE.fullmatch(asked) if not validator or validator == tag else None
    if found is None:
        return Part(200, 0, size_bytes)
    start, last = int(found[1]), int(found[2] or size_bytes - 1)
    if last < start and found[2]:
        return Part(200, 0, size_bytes)
    if start >= size_bytes:
        return Part(416, 0, 0)
    return Part(206, start, min(last + 1, size_bytes))


class ArchiveDoor:
    """Answers requests for archives; files are read in threads of its own, and no faster than they are taken.

    Args:
        models: DIR/MODEL/VERSION below it.
        is_ready: whether the agent does its work.
    """

    def __init__(self, models: Path, is_ready: Callable[[], bool]) -> None:
        self._models = models
        self._is_ready = is_ready
        self._threads = ThreadPoolExecutor(_READERS, "edgewise-archive")
        # The loop itself keeps weak references only.
        self._answering: set[asyncio.Task[None]] = set()

    def __call__(self, exchange: HttpExchange) -> None:
        """Answer a request."""
        if exchange.method not in (b"GET", b"HEAD"):
            _say(exchange, 405, (b"allow", b"GET, HEAD"))
        elif exchange.path == b"/v2/health/live":
            _tell(exchange, 200, b'{"live": true}')
        elif exchange.path == b"/v2/health/ready":
            ready = self._is_ready()
            _tell(exchange, 200 if ready else 503, b'{"ready": %s}' % (b"true" if ready else b"false"))
        elif found := _PATH.fullmatch(exchange.path):
            task = asyncio.get_running_loop().create_task(
                self._answer(exchange, found[1].decode("ascii", "replace"), int(found[2]))
            )
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            _say(exchange, 404)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, exchange: HttpExchange, model: str, version: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            archive = await loop.run_in_executor(self._threads, self._archive, model, version)
        except NotFoundError:
            _say(exchange, 404)
            return
        except EdgewiseError as error:
            _LOG.error("%s version %s cannot be given out: %s", model, version, error.message)
            _say(exchange, 503)
            return
        tag = b'"%b"' % archive.tag.encode()
        headers = exchange.headers
        part = part_of(headers.get(b"range", b""), headers.get(b"if-range", b""), tag, archive.size_bytes)
        fields = [(b"content-type", b"application/x-tar"), (b"accept-ranges", b"bytes"), (b"etag", tag)]
        if part.status == 416:
            _say(exchange, 416, (b"content-range", b"bytes */%d" % archive.size_bytes))
            return
        if part.status == 206:
            fields.append((b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, archive.size_bytes)))
        start = b"HTTP/1.1 %d %b\r\n%b" % (part.status, reason_phrase(part.status).encode(), encode_fields(fields))
        if exchange.method == b"HEAD":
            exchange.respond_encoded(start, b"", length_bytes=part.end - part.start)
            return
        exchange.begin(start, part.end - part.start)
        try:
            await self._send(exchange, archive.read(part.start, part.end))
        except EdgewiseError as error:
            _LOG.error("%s version %s: %s", model, version, error.message)
            exchange.abort()
            return
        exchange.end()

    def _archive(self, model: str, version: int) -> VersionArchive:
        if not MODEL_NAME.fullmatch(model) or model.startswith("."):
            raise NotFoundError("no model is called so")
        return archive_of(self._models / model / str(version))

    async def _send(self, exchange: HttpExchange, pieces: Iterator[bytes]) -> None:
        loop = asyncio.get_running_loop()
        drained = asyncio.Event()
        # A client that goes away drains nothing any more.
        exchange.on_drained = exchange.on_cancel = drained.set
        while piece := await loop.run_in_executor(self._threads, next, pieces, b""):
            drained.clear()
            if not exchange.write(piece):
                await drained.wait()
            if exchange.closed:
                return


def _tell(exchange: HttpExchange, status: int, body: bytes) -> None:
    exchange.respond(status, ((b"content-type", b"application/json"),), body)


def _say(exchange: HttpExchange, status: int, *fields: tuple[bytes, bytes]) -> None:
    text = f"{status} {reason_phrase(status)}\n".encode()
    exchange.respond(status, ((b"content-type", b"text/plain; charset=utf-8"), *fields), text)
