"""What the worker processes of one gateway tell one another, over Unix sockets in a directory of their own.

A change of a link goes to the others as a datagram at once: nobody waits, and one that cannot be delivered is dropped.
Whoever is asked for the numbers or the links asks the others over a stream socket, within a short time; one that does
not answer is left out.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from edgewise.core.routing.calls import LinkChanged

_LOG: Final = logging.getLogger(__name__)
_ANSWER_TIMEOUT_S: Final = 0.5
_MAX_ANSWER_BYTES: Final = 16 << 20
_MAX_DATAGRAM_BYTES: Final = 4096
_QUESTION_BYTES: Final = 64

Told = Callable[[str, str], None]
Answers = Mapping[str, Callable[[], dict[str, Any]]]


class Siblings:
    """One worker's way to the others.

    Args:
        directory: where the sockets are; nobody else may get in.
        worker: which one this is, from 0 on.
        count: how many there are.
        told: is called with the link's name and its state when another worker saw a link change.
        answers: what others may ask, by name.
    """

    def __init__(self, directory: Path, worker: int, count: int, *, told: Told, answers: Answers) -> None:
        self._directory = directory
        self._worker = worker
        self._others = [number for number in range(count) if number != worker]
        self._told = told
        self._answers = answers
        self._datagrams: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._telling = True

    @property
    def count(self) -> int:
        """How many other workers there are."""
        return len(self._others)

    async def start(self) -> None:
        """Listen.

        Raises: OSError: the directory cannot be used.
        """
        loop = asyncio.get_running_loop()
        own = self._datagram_path(self._worker)
        own.unlink(missing_ok=True)
        self._datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._datagrams.setblocking(False)
        self._datagrams.bind(str(own))
        loop.add_reader(self._datagrams, self._receive)
        stream = self._stream_path(self._worker)
        stream.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, str(stream))

    def close(self) -> None:
        """Listen no more."""
        if self._datagrams is not None:
            asyncio.get_running_loop().remove_reader(self._datagrams)
            self._datagrams.close()
            self._datagrams = None
        if self._server is not None:
            self._server.close()
            self._server = None

    # --- links ---

    def tell(self, change: LinkChanged) -> None:
        """Tell the others what this worker saw."""
        if self._datagrams is None or not self._telling:
            return
        message = orjson.dumps([change.link.name, str(change.after)])
        for other in self._others:
            # One that is being restarted, or is behind, learns it by itself.
            with contextlib.suppress(OSError):
                self._datagrams.sendto(message, str(self._datagram_path(other)))

    def _receive(self) -> None:
        assert self._datagrams is not None, "it is read only while it is open"  # noqa: S101
        while True:
            try:
                message = self._datagrams.recv(_MAX_DATAGRAM_BYTES)
            except OSError:
                return
            try:
                site, state = orjson.loads(message)
            except ValueError:
                _LOG.warning("a sibling's message is malformed; it is left out")
                continue
            # What is heard is not told on: everybody was told by the one who saw it.
            self._telling = False
            try:
                self._told(site, state)
            finally:
                self._telling = True

    # --- questions ---

    async def ask(self, question: str) -> list[dict[str, Any]]:
        """What the others answer, without those who do not in time."""
        answers = await asyncio.gather(*(self._ask_one(other, question) for other in self._others))
        return [answer for answer in answers if answer is not None]

    async def _ask_one(self, other: int, question: str) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(
                    str(self._stream_path(other)), limit=_MAX_ANSWER_BYTES
                )
                try:
                    writer.write(question.encode() + b"\n")
                    content = await reader.read(_MAX_ANSWER_BYTES)
                    while chunk := await reader.read(_MAX_ANSWER_BYTES):
                        content += chunk
                        if len(content) > _MAX_ANSWER_BYTES:
                            return None
                finally:
                    writer.close()
            answer: dict[str, Any] = orjson.loads(content)
        except (OSError, TimeoutError, ValueError):
            return None
        return answer

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                question = (await reader.readline()).strip().decode("ascii", "replace")[:_QUESTION_BYTES]
                make = self._answers.get(question)
                if make is not None:
                    writer.write(orjson.dumps(make()))
                    await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()

    def _datagram_path(self, worker: int) -> Path:
        return self._directory / f"{worker}.links"

    def _stream_path(self, worker: int) -> Path:
        return self._directory / f"{worker}.questions"
