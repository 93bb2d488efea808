"""`edgewise hub serve`: opens the hub, listens, and ends in order.

Stop, on SIGTERM: who waits is answered → stop accepting → finish what is in flight (bounded) → database → exit 0.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from functools import partial

from edgewise.core.errors import FailedPreconditionError
from edgewise.hub.api.app import create_app
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.publishing import catch_up
from edgewise.hub.background import Background
from edgewise.hub.listening import HubServer, listening_socket, server_config
from edgewise.hub.opening import opened_hub
from edgewise.hub.options import HubOptions
from edgewise.hub.pages.router import pages_router
from edgewise.hub.state_directory import StateDirectory
from edgewise.net.errors import TlsMaterialError
from edgewise.net.lifecycle import StopSignal, run
from edgewise.net.memory import keep_freed_memory
from edgewise.net.sd_notify import notifier
from edgewise.net.tls import TlsFiles

_log = logging.getLogger(__name__)


def serve(options: HubOptions) -> int:
    """Run a hub until SIGTERM or SIGINT.

    Returns: the exit code; 0 after an orderly end.
    Raises: EdgewiseError: it cannot start; the message says why.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What it tells of each connection and each start is told here already, or of no use.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    state = StateDirectory(options.state)
    state.url()
    with state.held():
        tls = _tls(options)
        return run(partial(_serve, options, state, tls))


async def _serve(options: HubOptions, state: StateDirectory, tls: TlsFiles | None, stop: StopSignal) -> int:
    if options.is_exposed:
        _log.warning(
            "tokens travel unencrypted to %s: give --tls-cert and --tls-key, or put a TLS proxy in front", options.host
        )
    async with _opened(options, state) as hub:
        await catch_up(hub)
        app = create_app(hub, (pages_router(hub),))
        bound = listening_socket(options.host, options.port)
        server = HubServer(server_config(app, proxies=options.trusted_proxies, tls=tls.context if tls else None))
        background = Background(hub, stop, tls)
        serving = asyncio.create_task(server.serve([bound]))
        await asyncio.wait(
            {serving, ready := asyncio.create_task(server.is_ready.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()
        background.start()
        _say_ready(options, bound.getsockname()[1])
        keep_freed_memory()
        await stop.wait()
        notifier().stopping(stop.reason)
        await background.end()
        hub.end_waiting()
        server.should_exit = True
        await serving
        return 1 if background.has_failed else 0


@contextlib.asynccontextmanager
async def _opened(options: HubOptions, state: StateDirectory) -> AsyncIterator[Hub]:
    hub = await asyncio.to_thread(opened_hub, options, state)
    try:
        yield hub
    finally:
        await asyncio.to_thread(hub.close)


def _tls(options: HubOptions) -> TlsFiles | None:
    if options.tls_cert is None or options.tls_key is None:
        return None
    try:
        return TlsFiles(options.tls_cert, options.tls_key)
    except TlsMaterialError as error:
        raise FailedPreconditionError(str(error)) from error


def _say_ready(options: HubOptions, port: int) -> None:
    scheme = "http" if options.tls_cert is None else "https"
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"edgewise: ready hub={scheme}://{host}:{port}", flush=True)  # noqa: T201  who started the hub waits for it
    notifier().ready(f"answers at {scheme}://{host}:{port}")
