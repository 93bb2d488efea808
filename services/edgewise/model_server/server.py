"""`edgewise serve`: puts the rooms together, starts them, and stops them in order.

Start: listen, load, say "ready" once every model that should serve is loaded and warm. Stop, on SIGTERM: not ready →
short wait → stop accepting → finish what is in flight (bounded) → batchers → backends → exit 0.
"""

import asyncio
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from edgewise.core.versions import ServerConfig
from edgewise.model_server.backends.memory import return_free_memory
from edgewise.model_server.batching.batcher import BatchStats
from edgewise.model_server.config.model_config import ModelConfig
from edgewise.model_server.doors.grpc_door import GrpcDoor
from edgewise.model_server.doors.grpc_listener import GrpcListener
from edgewise.model_server.doors.rest_door import RestDoor
from edgewise.model_server.metrics import ServerMetrics
from edgewise.model_server.options import ServeOptions, check_options
from edgewise.model_server.servable import make_servable
from edgewise.model_server.service import Service
from edgewise.model_server.tensorflow_metrics import TensorflowMetrics
from edgewise.model_server.versions.config_file import ConfigFile
from edgewise.model_server.versions.loader import load_version
from edgewise.model_server.versions.loading import Load, LoadedVersion
from edgewise.model_server.versions.repository import Repository, VersionChange
from edgewise.net.api_keys import ApiKeys
from edgewise.net.errors import ApiKeyFileError, TlsMaterialError
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.http_limits import HttpLimits
from edgewise.net.http_server import HttpServer
from edgewise.net.lifecycle import Shutdown, StopSignal, run
from edgewise.net.sd_notify import notifier
from edgewise.net.tls import TlsFiles

_log = logging.getLogger(__name__)

RELOAD_INTERVAL_S = 1.0


class ModelServer:
    """One model server: a repository, its service, and the doors that are asked for.

    Attributes:
        rest_port, grpc_port: the ports that were bound; None while or where nothing listens.
    """

    def __init__(self, options: ServeOptions) -> None:
        check_options(options)
        self.options = options
        self.rest_port: int | None = None
        self.grpc_port: int | None = None
        self._http: HttpServer | None = None
        self._grpc_door: GrpcDoor
        self._grpc: GrpcListener | None = None
        self._tls: TlsFiles | None = None
        self._config_file: ConfigFile | None = None
        self._followers: list[asyncio.Task[None]] = []
        self.service: Service

    async def start(self) -> None:
        """Listen and begin to load.

        Raises:
            EdgewiseError: the options, a config file or a directory cannot be used.
        """
        options = self.options
        loop = asyncio.get_running_loop()
        tensorflow = TensorflowMetrics(options.batch_pool) if options.monitoring_path else None
        metrics = ServerMetrics(options.site, options.tier, tensorflow)
        load: Load = partial(load_version, adjust=partial(_adjust, options))
        repository = Repository(
            load if tensorflow is None else partial(_load_counted, load, tensorflow),
            partial(
                make_servable,
                loop=loop,
                on_batch=lambda model, stats: _note_batch(metrics, model, stats),
            ),
            poll_interval_s=options.poll_interval_s,
            allow_unavailable_labels=options.labels_for_unavailable,
            root=options.config.parent if options.config else None,
        )
        repository.on_change(_note_change)
        try:
            api_keys = ApiKeys(options.api_keys) if options.api_keys else None
            if options.tls_cert and options.tls_key:
                self._tls = TlsFiles(options.tls_cert, options.tls_key, options.tls_client_ca)
        except (ApiKeyFileError, TlsMaterialError) as error:
            raise FailedPreconditionError(str(error)) from None
        self.service = Service(options, repository, metrics, loop=loop, api_keys=api_keys)
        self._grpc_door = GrpcDoor(self.service)
        source = self._source()
        # Before the models, whose loading an error would have to wait for.
        await self._listen_rest()
        await self._listen_grpc()
        await repository.start(source)
        self._followers.append(loop.create_task(self._watch_files()))
        if self._config_file is not None:
            self._followers.append(loop.create_task(self._config_file.follow(repository)))

    def _source(self) -> ServerConfig | Path:
        options = self.options
        if options.config is not None:
            self._config_file = ConfigFile(
                options.config, _parse_config, poll_interval_s=options.config_poll_interval_s
            )
            return self._config_file.read()
        source = options.models or options.repository
        assert source is not None, "check_options saw to it"  # noqa: S101
        return source

    async def _listen_rest(self) -> None:
        options = self.options
        if options.rest_port is not None:
            door = RestDoor(self.service, self._grpc_door)
            self._http = HttpServer(
                door,
                HttpLimits(max_body_bytes=options.max_body_bytes),
                ssl_context=self._tls.context if self._tls else None,
                error_body=door.error_body,
                error_headers=door.error_headers,
            )
            try:
                self.rest_port = await self._http.start(options.host, options.rest_port)
            except OSError as error:
                raise _cannot_listen(options.host, options.rest_port, error) from None
            _count(self.service.metrics, self._http, "http")

    async def _listen_grpc(self) -> None:
        options = self.options
        if options.grpc_port is not None or options.grpc_socket_path:
            try:
                self._grpc = GrpcListener(self._grpc_door, options)
            except TlsMaterialError as error:
                raise FailedPreconditionError(str(error)) from None
            try:
                self.grpc_port = await self._grpc.start(options.host, options.grpc_port, options.grpc_socket_path)
            except OSError as error:
                place = options.grpc_port if self._grpc.port is None else options.grpc_socket_path
                raise _cannot_listen(options.host, place, error) from None
            _count(self.service.metrics, self._grpc.server, "grpc")

    async def ready(self) -> None:
        """Return once every model that should serve is loaded and warm."""
        await self.service.repository.wait_until(self.service.repository.ready)
        # What start and loading made stays for good: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        return_free_memory()
        self._grpc_door.health.say(serving=True)

    async def _watch_files(self) -> None:
        """Follow certificates and keys, which may be exchanged while the server runs."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL_S)
            grpc_tls = self._grpc.tls if self._grpc is not None else None
            for watched in (self._tls, grpc_tls, self.service.api_keys):
                if watched is None:
                    continue
                try:
                    if watched.reload_if_changed():
                        _log.info(
                            "new %s are in force", "API keys" if watched is self.service.api_keys else "certificates"
                        )
                except (ApiKeyFileError, TlsMaterialError) as error:
                    _log.error("%s; what was in force stays so", error)

    async def abandon(self) -> None:
        """Let go of what a start that failed had taken."""
        if self._http is not None:
            await self._http.close()
        if self._grpc is not None:
            await self._grpc.server.close()
        if hasattr(self, "service"):
            await self._close_models()

    def shutdown(self) -> Shutdown:
        """The steps of an orderly end."""
        options = self.options
        steps = Shutdown()
        steps.add("tell that this server is not ready", self._say_not_ready, timeout_s=5.0)
        steps.add("give balancers time to notice", self._settle, timeout_s=options.ready_settle_s + 5.0)
        steps.add("finish what is in flight", self._close_doors, timeout_s=options.drain_timeout_s + 5.0)
        steps.add("close the batchers and backends", self._close_models, timeout_s=options.drain_timeout_s + 5.0)
        return steps

    async def _say_not_ready(self) -> None:
        self.service.draining = True
        for follower in self._followers:
            follower.cancel()
        if self._http is not None:
            self._http.announce_close()
        self._grpc_door.health.say(serving=False)
        if self._grpc is not None:
            self._grpc.server.announce_close()

    async def _settle(self) -> None:
        await asyncio.sleep(self.options.ready_settle_s)

    async def _close_doors(self) -> None:
        async with asyncio.TaskGroup() as doors:
            if self._grpc is not None:
                doors.create_task(self._grpc.stop(self.options.drain_timeout_s))
            if self._http is not None:
                doors.create_task(_close_http(self._http, self.options.drain_timeout_s))

    async def _close_models(self) -> None:
        await self.service.repository.close(self.options.drain_timeout_s)
        self.service.dataplane.close()
        self.service.request_log.close()


async def _close_http(server: HttpServer, timeout_s: float) -> None:
    await server.stop_accepting()
    await server.drain(timeout_s)
    await server.close()


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns: the exit code; 0 after an orderly end.
    Raises:
        EdgewiseError: the server cannot start; the message says why.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for note in options.notes:
        _log.warning("%s", note)
    code = run(partial(_serve, options))
    if any(thread.name.startswith("edgewise-load-") for thread in threading.enumerate()):
        # A runtime that is stopped in the middle of a load takes the process down with an abort.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


async def _serve(options: ServeOptions, stop: StopSignal) -> int:
    server = ModelServer(options)
    try:
        await server.start()
    except EdgewiseError:
        await server.abandon()
        raise
    told = asyncio.get_running_loop().create_task(_say_ready(server))
    await stop.wait()
    told.cancel()
    results = await server.shutdown().run()
    return 1 if any(result.problem for result in results) else 0


async def _say_ready(server: ModelServer) -> None:
    await server.ready()
    options = server.options
    scheme = "https" if options.tls_cert else "http"
    listening = []
    if server.rest_port is not None:
        listening.append(f"rest={scheme}://{_address(options.host, server.rest_port)}")
    if server.grpc_port is not None:
        listening.append(f"grpc={_address(options.host, server.grpc_port)}")
    print(f"edgewise: ready {' '.join(listening)} site={options.site} tier={options.tier}", flush=True)  # noqa: T201
    notifier().ready(f"ready: {' '.join(listening)}")


def _parse_config(text: str, file: str) -> ServerConfig:
    from edgewise.protocols.server_config import parse_model_server_config  # noqa: PLC0415 - few servers have one

    return parse_model_server_config(text, file)


def _adjust(options: ServeOptions, config: ModelConfig) -> ModelConfig:
    """What the command line says of every model goes before model.toml."""
    return replace(
        config,
        threads=options.threads or config.threads,
        batching=options.batching or config.batching,
        warmup_replays=options.warmup_replays,
    )


def _load_counted(load: Load, tensorflow: TensorflowMetrics, name: str, version: int, directory: Path) -> LoadedVersion:
    """Load a version and count it, in the thread that loads."""
    started_s = time.monotonic()
    try:
        loaded = load(name, version, directory)
    except BaseException:
        tensorflow.failed_to_load(str(directory))
        raise
    replay_s = loaded.replay_s
    tensorflow.loaded(str(directory), time.monotonic() - started_s - (replay_s or 0.0), replay_s)
    return loaded


def _cannot_listen(host: str, port: int | str | None, error: OSError) -> FailedPreconditionError:
    # The loop's own text of the error repeats the address.
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    place = port if isinstance(port, str) else _address(host, port)
    return FailedPreconditionError(f"cannot listen on {place}: {why}; choose another port or --host")


def _address(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _note_batch(metrics: ServerMetrics, model: str, stats: BatchStats) -> None:
    metrics.batch(model, stats.rows, stats.compute_s)


def _note_change(change: VersionChange) -> None:
    status = change.status
    # The monotonic clock is shared by all processes of a machine, so a record of requests can be laid beside this log.
    why = f": {status.error_message}" if status.error_message else ""
    _log.log(
        logging.WARNING if status.error_code else logging.INFO,
        "model %s version %d is %s at monotonic %.6f%s",
        *(change.name, status.version, status.state.value, time.monotonic()),
        why,
    )
    notifier().status(f"model {change.name} version {status.version} is {status.state.value}{why}")


def _count(metrics: ServerMetrics, server: HttpServer | GrpcServer, protocol: str) -> None:
    """Show what a listening server counts, as `edgewise_server_<protocol>_...`."""
    readers: dict[str, tuple[str, Callable[[], float]]] = {
        "connections": ("Open connections.", lambda: server.open_connections),
        "protocol_errors_total": (
            "What clients did wrong before a request reached a front door.",
            lambda: sum(server.protocol_errors.values()),
        ),
        "handler_errors_total": ("Requests whose handling failed unforeseen.", lambda: server.handler_errors),
        "received_bytes_total": ("Bytes read.", lambda: server.bytes_in),
        "sent_bytes_total": ("Bytes written.", lambda: server.bytes_out),
    }
    for name, reader in readers.items():
        metrics.readings[f"edgewise_server_{protocol}_{name}"] = reader
