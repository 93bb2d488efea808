"""`edgewise link`: runs one link with its control API until SIGTERM."""

import asyncio
import logging
import sys
from dataclasses import dataclass
from functools import partial
from typing import Final

from edgewise.core.errors import EdgewiseError
from edgewise.link.control import HEADERS, LIMITS, ControlDoor, error_body
from edgewise.link.emulator import LinkEmulator, cannot_listen, shown_address
from edgewise.link.schedule import Schedule
from edgewise.net.http_server import HttpServer
from edgewise.net.lifecycle import Shutdown, StopSignal, run

_STOP_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """What `edgewise link` is told.

    Attributes:
        listen, to: host and port for clients, and of the server.
        control: host and port of the control API; None is none.
        profile, seed, name, schedule: as `LinkEmulator`.
    """

    listen: tuple[str, int]
    to: tuple[str, int]
    control: tuple[str, int] | None
    profile: str = "none"
    seed: int | None = None
    name: str = "link"
    schedule: Schedule | None = None


def serve_link(options: LinkOptions) -> int:
    """Run a link until SIGTERM or SIGINT.

    Returns: the exit code; 0 after an orderly end.
    Raises: EdgewiseError: it cannot start; the message says why.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return run(partial(_serve, options))


async def _serve(options: LinkOptions, stop: StopSignal) -> int:
    link = LinkEmulator(
        options.listen,
        options.to,
        profile=options.profile,
        seed=options.seed,
        name=options.name,
        schedule=options.schedule,
    )
    control = HttpServer(ControlDoor(link), LIMITS, error_body=error_body, error_headers=HEADERS)
    try:
        shown = await _listen(options, link, control)
    except EdgewiseError:
        await control.close()
        await link.stop()
        raise
    print(f"edgewise: ready {shown}", flush=True)  # noqa: T201
    await stop.wait()
    shutdown = Shutdown()
    shutdown.add("stop the control API", control.close, timeout_s=_STOP_TIMEOUT_S)
    shutdown.add("close the connections", link.stop, timeout_s=_STOP_TIMEOUT_S)
    results = await shutdown.run()
    return 1 if any(result.problem for result in results) else 0


async def _listen(options: LinkOptions, link: LinkEmulator, control: HttpServer) -> str:
    """Start both; returns what the ready line says of them."""
    shown = []
    if options.control is not None:
        host, port = options.control
        try:
            port = await control.start(host, port)
        except OSError as error:
            raise cannot_listen(options.control, error, "--control") from None
        shown.append(f"control=http://{shown_address((host, port))}")
    try:
        await link.start()
    except OSError as error:
        raise cannot_listen(options.listen, error, "--listen") from None
    await asyncio.sleep(0)
    state = link.state()
    shown[:0] = [f"link={state['listen']}", f"to={state['to']}"]
    shown += [f"profile={link.profile}", f"seed={link.seed}", f"name={link.name}"]
    return " ".join(shown)
