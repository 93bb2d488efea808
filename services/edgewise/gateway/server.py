"""`edgewise gateway`: puts the rooms together, starts them, and stops them in order.

Start: look sites up, listen, probe, say "ready". Stop, on SIGTERM: not ready → short wait → stop accepting → finish what
is in flight (bounded) → connections to sites → exit 0. SIGHUP: read the config again.
"""

import asyncio
import gc
import logging
import signal
import sys
from dataclasses import replace
from functools import partial

from edgewise.core.errors import EdgewiseError
from edgewise.gateway.assembly import Assembly
from edgewise.gateway.canary_file import CanaryFile
from edgewise.gateway.config import KUBERNETES, GatewayConfig
from edgewise.gateway.discovery import import_package
from edgewise.gateway.listeners import Listeners
from edgewise.gateway.options import GatewayOptions, check_options
from edgewise.gateway.siblings import Siblings
from edgewise.gateway.toml_config import load_config
from edgewise.gateway.workers import Workers, WorkerSeat, cannot_listen, hold_port, host_and_port
from edgewise.net.errors import ApiKeyFileError, TlsMaterialError
from edgewise.net.lifecycle import Shutdown, StopSignal, run
from edgewise.net.memory import keep_freed_memory
from edgewise.net.sd_notify import notifier

_log = logging.getLogger(__name__)

_WATCH_INTERVAL_S = 1.0


class Gateway:
    """One gateway process.

    Args:
        options: checked here.
        seat: its place among the worker processes; None when it is the only one.

    Attributes:
        assembly: everything behind the doors; there after `start`.
        listeners: the doors and their ports; there after `start`.
    """

    assembly: Assembly
    listeners: Listeners

    def __init__(self, options: GatewayOptions, seat: WorkerSeat | None = None) -> None:
        check_options(options)
        self.options = options
        self._seat = seat
        self._siblings: Siblings | None = None
        self._followers: list[asyncio.Task[None]] = []
        self._canary_file: CanaryFile | None = None

    async def start(self) -> None:
        """Look sites up, listen and begin to probe.

        Raises:
            EdgewiseError: the options, the config or a file they name cannot be used.
        """
        loop = asyncio.get_running_loop()
        self.assembly = Assembly(self.options, self._load_config(), worker=self._seat.number if self._seat else 0)
        await self.assembly.start()
        service = self.assembly.service
        if self._seat is not None and self._seat.count > 1:
            await self._join(self._seat)
        if self.options.canaries is not None:
            # In force before the first request comes.
            self._canary_file = CanaryFile(self.options.canaries, service.canaries, self._site_names)
            self._canary_file.follow()
        self.listeners = Listeners(service)
        await self.listeners.start(reuse_port=self._seat is not None)
        # What the start made stays for good: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        keep_freed_memory()
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        self._followers.append(loop.create_task(self._follow()))

    async def _join(self, seat: WorkerSeat) -> None:
        service = self.assembly.service
        self._siblings = Siblings(
            seat.directory, seat.number, seat.count, told=self.assembly.told, answers=service.pages.answers
        )
        await self._siblings.start()
        service.metrics.on_link_changed = self._siblings.tell
        service.pages.siblings = self._siblings

    def _site_names(self) -> set[str]:
        return {site.name for site in self.assembly.service.config.sites}

    def _reload_soon(self) -> None:
        if self.assembly.service.draining:
            return
        task = asyncio.get_running_loop().create_task(self._reload())
        self._followers.append(task)
        task.add_done_callback(self._followers.remove)

    def _load_config(self) -> GatewayConfig:
        config = load_config(self.options)
        return config if self._seat is None else config.share_of(self._seat.number, self._seat.count)

    async def _reload(self) -> None:
        status = "the config was read again"
        notifier().reloading("reading the config again")
        try:
            await self.assembly.reload(self._load_config())
        except EdgewiseError as error:
            status = f"{error.message}; the config that was in force stays so"
            _log.error("%s", status)
        except Exception:  # noqa: BLE001 - the gateway goes on with what it has
            status = "the config could not be taken over; what was in force stays so"
            _log.exception("%s", status)
        notifier().ready(status)

    async def _follow(self) -> None:
        """Each second: the history, and certificates and keys, which may be exchanged while the gateway runs."""
        assembly = self.assembly
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            assembly.service.sample()
            try:
                await assembly.reload_changed_files()
                self.listeners.reload_changed_files()
            except EdgewiseError as error:
                _log.error("%s; what was in force stays so", error.message)
            except (ApiKeyFileError, TlsMaterialError) as error:
                _log.error("%s; what was in force stays so", error)
            except Exception:  # noqa: BLE001 - the next look may go well
                _log.exception("looking at the files failed")

    async def abandon(self) -> None:
        """Let go of what a start that failed had taken."""
        if hasattr(self, "listeners"):
            await self.listeners.close()
        if hasattr(self, "assembly"):
            await self._close_sites()

    def shutdown(self) -> Shutdown:
        """The steps of an orderly end."""
        options = self.options
        steps = Shutdown()
        steps.add("tell that this gateway is not ready", self._say_not_ready, timeout_s=5.0)
        steps.add("give balancers time to notice", self._settle, timeout_s=options.ready_settle_s + 5.0)
        steps.add("finish what is in flight", self._drain, timeout_s=options.drain_timeout_s + 5.0)
        steps.add("close the connections to the sites", self._close_sites, timeout_s=10.0)
        return steps

    async def _say_not_ready(self) -> None:
        self.assembly.service.draining = True
        for follower in list(self._followers):
            follower.cancel()
        self.listeners.announce_close()

    async def _settle(self) -> None:
        await asyncio.sleep(self.options.ready_settle_s)

    async def _drain(self) -> None:
        await self.listeners.stop(self.options.drain_timeout_s)

    async def _close_sites(self) -> None:
        if self._canary_file is not None:
            self._canary_file.close()
        if self._siblings is not None:
            self._siblings.close()
        await self.assembly.close()


def gateway(options: GatewayOptions) -> int:
    """Run a gateway until SIGTERM or SIGINT.

    Returns: the exit code; 0 after an orderly end.
    Raises:
        EdgewiseError: the gateway cannot start; the message says why.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    check_options(options)
    # Until there is something to read again; by default it would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if options.workers == 1:
        return run(partial(_serve, options))
    return _serve_with_workers(options)


async def _serve(options: GatewayOptions, stop: StopSignal) -> int:
    one = Gateway(options)
    await _start(one)
    _say_ready(
        options,
        one.listeners.rest_port,
        one.listeners.grpc_port,
        [site.name for site in one.assembly.service.config.sites],
    )
    return await _until_stopped(one, stop)


async def _start(one: Gateway) -> None:
    try:
        await one.start()
    except EdgewiseError:
        await one.abandon()
        raise


async def _until_stopped(one: Gateway, stop: StopSignal) -> int:
    await stop.wait()
    results = await one.shutdown().run()
    return 1 if any(result.problem for result in results) else 0


def _serve_with_workers(options: GatewayOptions) -> int:
    # What the workers would all stumble over is told once.
    config = load_config(options)
    if any(site.discover == KUBERNETES for site in config.sites):
        # What every worker would import by itself they share.
        import_package()
    held = []
    ports = []
    for port in (options.rest_port, options.grpc_port):
        try:
            bound, sockets = hold_port(options.host, port)
        except OSError as error:
            raise cannot_listen(options.host, port, error) from None
        held += sockets
        ports.append(bound)
    options = replace(options, rest_port=ports[0], grpc_port=ports[1])
    names = [site.name for site in config.sites]
    workers = Workers(
        options.workers,
        lambda seat: run(partial(_work, options, seat)),
        on_ready=lambda: _say_ready(options, options.rest_port, options.grpc_port, names),
        drain_timeout_s=options.drain_timeout_s + options.ready_settle_s,
    )
    try:
        return workers.run()
    finally:
        for one in held:
            one.close()


async def _work(options: GatewayOptions, seat: WorkerSeat, stop: StopSignal) -> int:
    """What one worker does."""
    loop = asyncio.get_running_loop()

    def parent_ended() -> None:
        loop.remove_reader(seat.stop_fd)
        stop.set("the parent is stopping")

    loop.add_reader(seat.stop_fd, parent_ended)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Whoever signals every process of the group does not mean it twice; the parent ends those who linger.
        loop.add_signal_handler(number, stop.set, number.name)
    one = Gateway(options, seat)
    await _start(one)
    seat.keep_beating(loop)
    return await _until_stopped(one, stop)


def _say_ready(options: GatewayOptions, rest_port: int | None, grpc_port: int | None, sites: list[str]) -> None:
    scheme = "https" if options.tls_cert else "http"
    listening = []
    if rest_port is not None:
        listening.append(f"rest={scheme}://{host_and_port(options.host, rest_port)}")
    if grpc_port is not None:
        listening.append(f"grpc={host_and_port(options.host, grpc_port)}")
    print(f"edgewise: ready {' '.join(listening)} sites={','.join(sites)}", flush=True)  # noqa: T201
    notifier().ready(f"ready: {' '.join(listening)}")
