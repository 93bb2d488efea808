"""Listens for gRPC: the front door behind the server, with TLS and health."""

import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgewise.model_server.doors.grpc_door import GrpcDoor
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.tls import TlsFiles, server_context

if TYPE_CHECKING:
    from edgewise.model_server.options import ServeOptions

_log = logging.getLogger(__name__)

PROTOCOLS: Final = ("h2",)
# gRPC's own names of settings, with ours and the factor to its unit.
_ARGUMENTS: Final = {
    "grpc.max_receive_message_length": ("max_message_bytes", 1),
    "grpc.max_concurrent_streams": ("max_concurrent_streams", 1),
    "grpc.max_metadata_size": ("max_header_list_bytes", 1),
    "grpc.max_connection_idle_ms": ("idle_timeout_s", 1e-3),
    "grpc.keepalive_time_ms": ("keepalive_s", 1e-3),
    "grpc.keepalive_timeout_ms": ("keepalive_timeout_s", 1e-3),
}


class GrpcListener:
    """The gRPC side of a model server.

    Args:
        door: finds the methods.

    Attributes:
        tls: certificates that follow their files; None serves without, or with those of the options.
        port: the port listened on; None while or where there is none.

    Raises:
        TlsMaterialError: the certificates cannot be used.
    """

    def __init__(self, door: GrpcDoor, options: "ServeOptions") -> None:
        self.tls: TlsFiles | None = None
        context: ssl.SSLContext | None = None
        if options.tls_cert and options.tls_key:
            self.tls = TlsFiles(options.tls_cert, options.tls_key, options.tls_client_ca, protocols=PROTOCOLS)
            context = self.tls.context
        elif options.grpc_tls is not None:
            context = server_context(options.grpc_tls, PROTOCOLS)
        self.door = door
        self.server = GrpcServer(self.door, _limits(options), ssl_context=context)
        self.port: int | None = None

    async def start(self, host: str, port: int | None, socket_path: str = "") -> int | None:
        """Listen; what the health service tells is up to its owner.

        Args:
            port: None listens on `socket_path` alone.

        Returns: the port listened on.
        Raises:
            OSError: an address cannot be used; `port` tells whether the TCP one could.
        """
        if port is not None:
            self.port = await self.server.start(host, port)
        if socket_path:
            await self.server.start_unix(Path(socket_path))
        return self.port

    async def stop(self, timeout_s: float) -> None:
        """Refuse new calls and finish those in flight, at most for `timeout_s`."""
        await self.server.stop_accepting()
        self.door.health.end()
        await self.server.drain(timeout_s)
        await self.server.close()


def _limits(options: "ServeOptions") -> GrpcLimits:
    """The limits that the options set, in gRPC's words or in ours."""
    limits: dict[str, Any] = {"max_message_bytes": options.max_body_bytes}
    for name, value in options.grpc_arguments:
        known = _ARGUMENTS.get(name)
        if known is None or not isinstance(value, int) or value <= 0:
            _log.warning("the gRPC setting %s=%s has no effect in this server", name, value)
            continue
        field, factor = known
        limits[field] = value if factor == 1 else value * factor
    return GrpcLimits(**limits)
