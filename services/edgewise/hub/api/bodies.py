"""Bodies that end: each has a longest length, and may not stop coming."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.types import Message, Receive

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.api.errors import TooLargeError, TooSlowError

STALL_S: Final = 30.0
SLOWEST_BYTES_PER_S: Final = 1024


def limited(request: Request, max_body_bytes: int) -> Request:
    """The same request, whose body is not longer than that.

    Raises: TooLargeError: it says by itself that it is.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_body_bytes:
        raise TooLargeError(max_body_bytes)
    return Request(request.scope, _Limited(request.receive, max_body_bytes), request._send)  # noqa: SLF001  Starlette has no public way


class _Limited:
    """Receives a body: so much of it at most, with so long a silence at most, and not slower than a modem."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._count = 0
        self._begun_s = asyncio.get_running_loop().time()
        self._has_ended = False

    async def __call__(self) -> Message:
        if self._has_ended:
            # What comes after the body is the client's going away, for which a long poll waits.
            return await self._receive()
        now_s = asyncio.get_running_loop().time()
        slowest_s = self._begun_s + STALL_S + self._count / SLOWEST_BYTES_PER_S
        try:
            async with asyncio.timeout_at(min(now_s + STALL_S, slowest_s)):
                message = await self._receive()
        except TimeoutError:
            raise TooSlowError from None
        self._count += len(message.get("body", b""))
        if self._count > self._most_bytes:
            raise TooLargeError(self._most_bytes)
        self._has_ended = not message.get("more_body", False)
        return message


async def whole_body(request: Request) -> bytes:
    """The body of a request that is no JSON of ours.

    Raises: InvalidArgumentError: there is none.
    """
    content = await request.body()
    if not content:
        raise InvalidArgumentError("the body is empty")
    return content
