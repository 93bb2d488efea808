"""Link emulators in front of a site's two ports, told what to be like by lines of JSON on standard input.

    python link_host.py '{"rtt_ms": 60, "ways": [[listen_port, to_port], ...]}'

Commands: `{"fault": "blackhole", "direction": "up"}` as `LinkEmulator.set_fault` takes it, `{"conditions": {...}}`,
`{"heal": true}`; each is confirmed by a line with the time at which it holds.
"""

import asyncio
import functools
import json
import sys
import time
from typing import Any

import uvloop

from edgewise.link.emulator import LinkEmulator


def _change(links: list[LinkEmulator], command: dict[str, Any]) -> None:
    for link in links:
        if "fault" in command:
            link.set_fault(**command)
        if "conditions" in command:
            link.set_conditions(**command["conditions"])
        if command.get("heal"):
            link.heal()


async def relay(rtt_ms: float, ways: list[tuple[int, int]]) -> None:
    """Relay until standard input ends."""
    links = [LinkEmulator(("127.0.0.1", listen), ("127.0.0.1", to), seed=1) for listen, to in ways]
    for link in links:
        await link.start()
        link.set_conditions(delay_up_ms=rtt_ms / 2, delay_down_ms=rtt_ms / 2)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        functools.partial(asyncio.StreamReaderProtocol, reader), sys.stdin
    )
    print(json.dumps({"ready": True}), flush=True)
    while line := await reader.readline():
        _change(links, json.loads(line))
        print(json.dumps({"at_s": time.monotonic()}), flush=True)
    for link in links:
        await link.stop()


if __name__ == "__main__":
    uvloop.run(relay(**json.loads(sys.argv[1])))
