"""The gateway's ports: the doors behind their servers, with TLS, and how they end."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.core.errors import FailedPreconditionError
from edgewise.gateway.grpc_door import GrpcDoor
from edgewise.gateway.rest_door import RestDoor
from edgewise.gateway.rest_upload import KEPT_BODY_BYTES
from edgewise.gateway.workers import cannot_listen
from edgewise.net.errors import TlsMaterialError
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_over_http import GrpcOverHttp
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.http_limits import HttpLimits
from edgewise.net.http_server import HttpServer
from edgewise.net.tls import TlsFiles
from edgewise.protocols.grpc_over_http import HTTP_STATUS

if TYPE_CHECKING:
    from edgewise.gateway.metrics import GatewayMetrics
    from edgewise.gateway.service import GatewayService

_log = logging.getLogger(__name__)


class Listeners:
    """The doors of one process.

    Attributes:
        rest_port, grpc_port: the ports that were bound; None while or where nothing listens.

    Raises: FailedPreconditionError: the certificates cannot be used.
    """

    def __init__(self, service: "GatewayService") -> None:
        self.rest_port: int | None = None
        self.grpc_port: int | None = None
        self._service = service
        self._http: HttpServer | None = None
        self._grpc: GrpcServer | None = None
        self._grpc_door: GrpcDoor | None = None
        self._tls: list[TlsFiles] = []

    async def start(self, *, reuse_port: bool) -> None:
        """Listen.

        Raises: FailedPreconditionError: an address or the certificates cannot be used.
        """
        service, options = self._service, self._service.options
        self._grpc_door = calls = GrpcDoor(service)
        if options.rest_port is not None:
            door = RestDoor(service, GrpcOverHttp(calls, HTTP_STATUS))
            tls = self._follow_tls("http/1.1")
            self._http = HttpServer(
                door,
                HttpLimits(max_body_bytes=options.max_body_bytes, stream_over_bytes=KEPT_BODY_BYTES),
                ssl_context=tls.context if tls else None,
                error_body=door.error_body,
                error_headers=door.error_headers,
            )
            try:
                self.rest_port = await self._http.start(options.host, options.rest_port, reuse_port=reuse_port)
            except OSError as error:
                raise cannot_listen(options.host, options.rest_port, error) from None
            _count(service.metrics, self._http, "http")
        if options.grpc_port is not None:
            tls = self._follow_tls("h2")
            self._grpc = GrpcServer(
                calls,
                GrpcLimits(max_message_bytes=options.max_body_bytes),
                ssl_context=tls.context if tls else None,
            )
            try:
                self.grpc_port = await self._grpc.start(options.host, options.grpc_port, reuse_port=reuse_port)
            except OSError as error:
                raise cannot_listen(options.host, options.grpc_port, error) from None
            _count(service.metrics, self._grpc, "grpc")

    def _follow_tls(self, protocol: str) -> TlsFiles | None:
        options = self._service.options
        if not (options.tls_cert and options.tls_key):
            return None
        try:
            tls = TlsFiles(options.tls_cert, options.tls_key, options.tls_client_ca, protocols=(protocol,))
        except TlsMaterialError as error:
            raise FailedPreconditionError(str(error)) from None
        self._tls.append(tls)
        return tls

    def reload_changed_files(self) -> None:
        """Take over new certificates.

        Raises: TlsMaterialError: they cannot be used; those in force stay so.
        """
        for tls in self._tls:
            if tls.reload_if_changed():
                _log.info("new certificates are in force")

    # --- ending ---

    def announce_close(self) -> None:
        """Tell clients to go elsewhere; what they ask is still answered."""
        if self._http is not None:
            self._http.announce_close()
        if self._grpc_door is not None:
            self._grpc_door.health.say(serving=False)
        if self._grpc is not None:
            self._grpc.announce_close()

    async def stop(self, timeout_s: float) -> None:
        """Refuse new connections and finish what is in flight, at most for so long."""
        if self._grpc_door is not None:
            self._grpc_door.health.end()
        async with asyncio.TaskGroup() as doors:
            for server in (self._http, self._grpc):
                if server is not None:
                    doors.create_task(_stop(server, timeout_s))

    async def close(self) -> None:
        """Cut everything."""
        for server in (self._http, self._grpc):
            if server is not None:
                await server.close()


async def _stop(server: HttpServer | GrpcServer, timeout_s: float) -> None:
    await server.stop_accepting()
    await server.drain(timeout_s)
    await server.close()


def _count(metrics: "GatewayMetrics", server: HttpServer | GrpcServer, protocol: str) -> None:
    """Show what a listening server counts, as `edgewise_gateway_<protocol>_...`."""
    readers: dict[str, tuple[str, Callable[[], float]]] = {
        "connections": ("Open connections of apps.", lambda: server.open_connections),
        "protocol_errors_total": (
            "What apps did wrong before a request reached a door.",
            lambda: sum(server.protocol_errors.values()),
        ),
        "handler_errors_total": ("Requests whose handling failed unforeseen.", lambda: server.handler_errors),
        "received_bytes_total": ("Bytes read from apps.", lambda: server.bytes_in),
        "sent_bytes_total": ("Bytes written to apps.", lambda: server.bytes_out),
    }
    for name, reader in readers.items():
        metrics.readings[f"edgewise_gateway_{protocol}_{name}"] = reader
