"""A site that answers at once, and says how sure it is: `python -m bench_capture.site PORT`."""

import asyncio
import random
import sys

from edgewise.net.exchange import Exchange
from edgewise.net.http_server import HttpServer

_ANSWER = b'{"predictions": [{"label": "dog", "scores": [0.83, 0.11, 0.03, 0.02, 0.01]}]}'
_JSON = (b"content-type", b"application/json")


def main() -> None:
    """Serve until killed."""
    draws = random.Random(7)
    # One answer in twelve is unsure.
    said = [(b"x-edgewise-confidence", b"%.4f" % draws.betavariate(6, 2)) for _ in range(4096)]
    turn = 0

    def answer(exchange: Exchange) -> None:
        nonlocal turn
        turn = (turn + 1) % len(said)
        exchange.respond(200, (_JSON, said[turn]), _ANSWER)

    async def serve() -> None:
        server = HttpServer(answer)
        await server.start("127.0.0.1", int(sys.argv[1]))
        print("ready", flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
