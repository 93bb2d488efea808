"""What the head of an app's gRPC call comes to: made once for each head that a client repeats.

Ids and deadlines differ from call to call, so what they say is kept apart from the rest.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import Route, overridden
from edgewise.gateway.capture_fields import opted_out
from edgewise.gateway.config import GatewayConfig
from edgewise.gateway.forwarding import CREDENTIALS, OWN_REQUEST_FIELDS, end_to_end
from edgewise.gateway.grpc_methods import ForwardedMethod
from edgewise.net.exchange import Header
from edgewise.net.grpc_client_head import encode_metadata
from edgewise.net.grpc_exchange import Field
from edgewise.net.grpc_head import CallHead
from edgewise.net.grpc_over_http import CONTENT_TYPE
from edgewise.net.http_answer import encode_fields
from edgewise.net.http_client_connection import encode_start
from edgewise.protocols.deadline_header import DEADLINE_HEADER, parse_deadline_ms
from edgewise.protocols.preferred_version import PREFERRED_VERSION_HEADER

if TYPE_CHECKING:
    from edgewise.gateway.capture import Capture, CaptureHead
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
_MAX_KNOWN: Final = 256
# Larger heads are not kept, so that memory is bounded.
_MAX_KEPT_BYTES: Final = 4096
_EACH_ITS_OWN: Final = frozenset(
    {b"grpc-timeout", b"x-edgewise-deadline-ms", PREFERRED_VERSION_HEADER, b"x-request-id"}
)


class GrpcRequest:
    """What calls of a method with the same metadata have in common.

    Args:
        method: what is called.
        fields: the metadata, but for those that each call has its own of.
        config: what is in force.

    Attributes:
        config: what it was understood under; another one wants another look.
        idempotent: what the metadata say of that; None where they say nothing.

    Raises: InvalidArgumentError: a field says what it cannot, or cannot be passed on.
    """

    __slots__ = (
        "_captures",
        "_fields",
        "_http2_heads",
        "_http_heads",
        "_metadata",
        "_method",
        "_routes",
        "_wish",
        "config",
        "idempotent",
    )

    def __init__(self, method: ForwardedMethod, fields: Iterable[Field], config: GatewayConfig) -> None:
        metadata = dict(fields)
        opted_out(metadata)  # it says so in words that are known
        self.config = config
        self._metadata = metadata
        self._captures: dict[str, CaptureHead | None] = {}
        self._method = method
        self._http_heads: dict[Site, bytes] = {}
        self._http2_heads: dict[Site, bytes] = {}
        self._routes: dict[str, Route] = {}
        self._fields = end_to_end(metadata.items(), metadata.get(b"connection"), _OWN_METADATA)
        for field in self._fields:
            _check_printable(*field)
        wish = metadata.get(b"x-edgewise-route")
        self._wish = None if wish is None else wish.decode("ascii", "replace").strip()
        self.idempotent = _idempotent(metadata.get(b"x-edgewise-idempotent"))

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

    def capture_of(self, model: str, capture: "Capture") -> "CaptureHead | None":
        """What takes samples of such calls for a model; None where there are to be none.

        Args:
            capture: that goes with the config.
        """
        captures = self._captures
        if model in captures:
            return captures[model]
        found = capture.head(model, self._method.form, self._metadata)
        if len(captures) >= _MAX_ROUTES:
            captures.clear()
        captures[model] = found
        return found

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
        if site.authorization is None and not site.drops_credentials:
            return self._fields
        fields = [field for field in self._fields if field[0] not in CREDENTIALS]
        if site.authorization is not None:
            fields.append((b"authorization", site.authorization))
        return fields


class GrpcHead:
    """What one head of a call comes to.

    Attributes:
        asked: what it has in common with others.
        request_id: the app's; None where it gave none.
        timeout_s: what `x-edgewise-deadline-ms` gives it; None without.
        preferred: the version that the app prefers, as it says so; None without.
    """

    __slots__ = ("asked", "preferred", "request_id", "timeout_s")

    def __init__(
        self, asked: GrpcRequest, request_id: bytes | None, timeout_s: float | None, preferred: bytes | None
    ) -> None:
        self.asked = asked
        self.request_id = request_id
        self.timeout_s = timeout_s
        self.preferred = preferred


class GrpcHeads:
    """Understands heads."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[bytes | Field, ...], GrpcRequest] = {}

    def read(self, head: CallHead, method: ForwardedMethod, config: GatewayConfig) -> GrpcHead:
        """What a head comes to.

        Raises: InvalidArgumentError: a field says what it cannot, or cannot be passed on.
        """
        metadata = head.metadata
        fields = [field for field in metadata.items() if field[0] not in _EACH_ITS_OWN]
        key: tuple[bytes | Field, ...] = (method.path, *fields)
        asked = self._known.get(key)
        if asked is None or asked.config is not config:
            asked = GrpcRequest(method, fields, config)
            if head.size_bytes <= _MAX_KEPT_BYTES:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known[key] = asked
        request_id = metadata.get(b"x-request-id")
        if request_id:
            _check_printable(b"x-request-id", request_id)
            request_id = request_id[:MAX_REQUEST_ID_BYTES]
        deadline = metadata.get(DEADLINE_HEADER)
        timeout_s = None if deadline is None else parse_deadline_ms(deadline)
        preferred = metadata.get(PREFERRED_VERSION_HEADER)
        if preferred is not None:
            _check_printable(PREFERRED_VERSION_HEADER, preferred)
        return GrpcHead(asked, request_id or None, timeout_s, preferred)


def _check_printable(name: bytes, value: bytes) -> None:
    if not _PRINTABLE.fullmatch(value):
        raise InvalidArgumentError(
            f"the metadata {name.decode('ascii', 'replace')} are not printable ASCII; names in -bin take bytes"
        )


def _idempotent(value: bytes | None) -> bool | None:
    if value is None:
        return None
    said = value.lower()
    if said not in (b"true", b"false"):
        raise InvalidArgumentError("x-edgewise-idempotent is neither true nor false")
    return said == b"true"
