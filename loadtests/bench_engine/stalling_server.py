"""An HTTP server that answers at once, and freezes from time to time: `python stalling_server.py STALL_S EVERY_S`.

While it is frozen it does nothing at all, as a process in a long garbage collection or on a core that was taken away. When it
was, it says itself: GET /stalls answers with [[begin_ns, end_ns], ...] of the monotonic clock.
"""

import asyncio
import json
import sys
import time

import uvloop

from edgewise.net.http_exchange import HttpExchange
from edgewise.net.http_server import HttpServer

TEXT = ((b"content-type", b"text/plain"),)


async def serve(stall_s: float, every_s: float) -> None:
    stalls: list[tuple[int, int]] = []
    loop = asyncio.get_running_loop()

    def handle(exchange: HttpExchange) -> None:
        exchange.respond(200, TEXT, json.dumps(stalls).encode() if exchange.path == b"/stalls" else b"ok")

    def freeze() -> None:
        begin_ns = time.monotonic_ns()
        time.sleep(stall_s)
        stalls.append((begin_ns, time.monotonic_ns()))
        loop.call_later(every_s - stall_s, freeze)

    server = HttpServer(handle)
    port = await server.start("127.0.0.1", 0)
    print(port, flush=True)
    loop.call_later(every_s, freeze)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(float(sys.argv[1]), float(sys.argv[2])))
