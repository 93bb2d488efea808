"""What the head of an app's gRPC call comes to: made once for each head that a client repeats."""

import re
from typing import TYPE_CHECKING, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import Route, overridden
from edgewise.gateway.config import GatewayConfig
from edgewise.gateway.forwarding import CREDENTIALS, OWN_REQUEST_FIELDS
from edgewise.gateway.grpc_methods import ForwardedMethod
from edgewise.net.exchange import Header
from edgewise.net.grpc_client import encode_metadata
from edgewise.net.grpc_head import CallHead
from edgewise.net.http_answer import encode_fields
from edgewise.net.http_client_connection import encode_start
from edgewise.protocols.deadline_header import DEADLINE_HEADER, parse_deadline_ms
from edgewise.protocols.grpc_over_http import CONTENT_TYPE

if TYPE_CHECKING:
    from edgewise.gateway.grpc_upstream import Http2Upstream
    from edgewise.gateway.site import Site

MAX_REQUEST_ID_BYTES: Final = 128
# Said anew by us or by gRPC itself at each hop.
_OWN_METADATA: Final = OWN_REQUEST_FIELDS | {
    b"content-type",
    b"grpc-accept-encoding",
    b"grpc-encoding",
    b"grpc-message",
    b"grpc-status",
    b"grpc-timeout",
    b"user-agent",
    b"via",
}
_PRINTABLE: Final = re.compile(rb"[ -~]*")
_VIA: Final[Header] = (b"via", b"2.0 edgewise")
_MAX_ROUTES: Final = 64


class GrpcRequest:
    """A call's head, understood.

    Args:
        head: of the call.
        method: what it calls.
        config: what is in force.

    Attributes:
        config: what it was understood under; another one wants another look.
        timeout_s: what `x-edgewise-deadline-ms` gives it; None without.
        idempotent: what it says of that; None where it says nothing.
        request_id: the app's; None where it gave none.

    Raises: InvalidArgumentError: a field says what it cannot, or cannot be passed on.
    """

    __slots__ = ("_fields", "_http2_heads", "_http_heads", "_method", "_routes", "_wish", "config", "idempotent",
                 "request_id", "timeout_s")  # fmt: skip

    def __init__(self, head: CallHead, method: ForwardedMethod, config: GatewayConfig) -> None:
        metadata = head.metadata
        self.config = config
        self._method = method
        self._http_heads: dict[Site, bytes] = {}
        self._http2_heads: dict[Site, bytes] = {}
        self._routes: dict[str, Route] = {}
        self._fields = [field for field in metadata.items() if field[0] not in _OWN_METADATA]
        for name, value in (*self._fields, (b"x-request-id", metadata.get(b"x-request-id", b""))):
            if not _PRINTABLE.fullmatch(value):
                raise InvalidArgumentError(
                    f"the metadata {name.decode('ascii', 'replace')} are not printable ASCII; names in -bin take bytes"
                )
        wish = metadata.get(b"x-edgewise-route")
        self._wish = None if wish is None else wish.decode("ascii", "replace").strip()
        deadline = metadata.get(DEADLINE_HEADER)
        self.timeout_s = None if deadline is None else parse_deadline_ms(deadline)
        self.idempotent = _idempotent(metadata.get(b"x-edgewise-idempotent"))
        request_id = metadata.get(b"x-request-id")
        self.request_id = request_id[:MAX_REQUEST_ID_BYTES] if request_id else None

    def route_for(self, model: str) -> Route:
        """The rule for a model, with what the call wishes.

        Raises: InvalidArgumentError: there is no such route.
        """
        route = self._routes.get(model)
        if route is None:
            config = self.config
            route = config.routes.get(model, config.route)
            if self._wish is not None:
                route = overridden(route, self._wish)
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            self._routes[model] = route
        return route

    def http_head(self, site: "Site") -> bytes:
        """The request line and header fields as they go to a site's HTTP/1.1 side, without those that each call has
        its own of.
        """
        start = self._http_heads.get(site)
        if start is None:
            upstream = site.rest
            assert upstream is not None, "a site with a REST side"  # noqa: S101
            fields = [(b"content-type", CONTENT_TYPE), _VIA, *self._fields_for(site)]
            target = upstream.base_path + self._method.path
            start = encode_start(b"POST", target, upstream.host_field) + encode_fields(fields)
            self._http_heads[site] = start
        return start

    def http2_head(self, site: "Site", upstream: "Http2Upstream") -> bytes:
        """The header block as it goes to a site's HTTP/2 side, without what each call has its own of."""
        block = self._http2_heads.get(site)
        if block is None:
            block = upstream.head(self._method.path) + encode_metadata(self._fields_for(site))
            self._http2_heads[site] = block
        return block

    def _fields_for(self, site: "Site") -> list[Header]:
        if site.authorization is None:
            return self._fields
        fields = [field for field in self._fields if field[0] not in CREDENTIALS]
        fields.append((b"authorization", site.authorization))
        return fields


def _idempotent(value: bytes | None) -> bool | None:
    if value is None:
        return None
    said = value.lower()
    if said not in (b"true", b"false"):
        raise InvalidArgumentError("x-edgewise-idempotent is neither true nor false")
    return said == b"true"
