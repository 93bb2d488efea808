"""Clients that send exactly the bytes they are told to."""

import asyncio
import contextlib
import re
from dataclasses import dataclass

from support.waiting import LOOP_WAIT_S


class RawPeer:
    """One TCP connection, as the test holds it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await asyncio.wait_for(self.writer.drain(), LOOP_WAIT_S)

    async def rest(self) -> bytes:
        """All bytes until the other side closes."""
        return await asyncio.wait_for(self.reader.read(), LOOP_WAIT_S)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@dataclass
class RawAnswer:
    """An answer over HTTP/1.1; of fields with the same name, `headers` has the last."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    fields: list[tuple[bytes, bytes]]


class HttpPeer(RawPeer):
    """Reads answers over HTTP/1.1."""

    async def answer(self, *, to_head: bool = False) -> RawAnswer:
        """The next answer, interim ones included."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), LOOP_WAIT_S)
        line, *lines = head[:-4].split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [A-Za-z' -]+", line)
        assert match, line
        fields = [(name, value) for name, _, value in (field.partition(b": ") for field in lines)]
        headers = dict(fields)
        length = 0 if to_head else int(headers.get(b"content-length", b"0"))
        body = await asyncio.wait_for(self.reader.readexactly(length), LOOP_WAIT_S)
        return RawAnswer(int(match[1]), headers, body, fields)
