"""What a request head of an app comes to: made once for heads that differ in a few values only."""

from typing import TYPE_CHECKING, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import Route, overridden
from edgewise.gateway.config import GatewayConfig
from edgewise.gateway.forwarding import CREDENTIALS, OWN_REQUEST_FIELDS, end_to_end
from edgewise.net.http_answer import encode_fields
from edgewise.net.http_client_connection import encode_start
from edgewise.net.http_head import RequestHead
from edgewise.protocols.answers import Form
from edgewise.protocols.deadline_header import DEADLINE_HEADER, parse_deadline_ms
from edgewise.protocols.preferred_version import PREFERRED_VERSION_HEADER, preferred_line
from edgewise.protocols.rest_paths import Action, Endpoint

if TYPE_CHECKING:
    from edgewise.gateway.capture import CaptureHead
    from edgewise.gateway.site import Site

_FORMS: Final = {Action.PREDICT: Form.TFS_REST, Action.INFER: Form.OIP_REST}
PREDICTIONS: Final = frozenset({Action.PREDICT, Action.CLASSIFY, Action.REGRESS, Action.INFER})
MAX_REQUEST_ID_BYTES: Final = 128


class RestRequest:
    """A request head, understood.

    Args:
        head: of the request; what varies in its shape is not looked at.
        endpoint: what its method and path ask.
        config: what is in force.

    Attributes:
        config: what it was understood under; another one wants another look.
        endpoint: as given.
        form: what its answers are, where two of them can be compared.
        model: whose latencies the answer belongs to; "" for questions, whose answers say nothing of predictions.
        pinned: it asks for a version or label.
        named: the model that is asked about, "" for none.
        route: the rule for it.
        timeout_s: from the head on, where the head does not say otherwise.
        idempotent: running it twice does no harm.
        preferred: the field with the version that the app prefers, with its end; b"" where it gave none or it varies.
        request_id: the app's; None where it gave none or it varies.
        head_only: HEAD.
        starts: what `start_for` made, by site.
        bodyless: there is no body, and nothing is said of its length.
        capture: takes what is to be kept of such requests; None for most. The door sets it.
        varies: more than the length differs between heads of this shape.

    Raises: InvalidArgumentError: a field says what it cannot.
    """

    __slots__ = (
        "_head",
        "bodyless",
        "capture",
        "config",
        "endpoint",
        "form",
        "head_only",
        "idempotent",
        "model",
        "named",
        "pinned",
        "preferred",
        "request_id",
        "route",
        "starts",
        "timeout_s",
        "varies",
    )

    def __init__(self, head: RequestHead, endpoint: Endpoint, config: GatewayConfig) -> None:
        headers = head.headers
        self._head = head
        self.starts: dict[Site, bytes] = {}
        self.config = config
        self.endpoint = endpoint
        self.capture: CaptureHead | None = None
        self.form: Form | None = _FORMS.get(endpoint.action)
        spec = endpoint.model
        self.pinned = spec is not None and (spec.version is not None or spec.label is not None)
        self.named = endpoint.model.name if endpoint.model is not None else ""
        predicts = endpoint.action in PREDICTIONS
        self.model = self.named if predicts else ""
        self.route = _route(config.routes.get(self.named, config.route), headers.get(b"x-edgewise-route"))
        varying = head.shape.names
        self.varies = any(name != b"content-length" for name in varying)
        deadline = None if DEADLINE_HEADER in varying else headers.get(DEADLINE_HEADER)
        self.timeout_s = self.route.deadline_s if deadline is None else parse_deadline_ms(deadline)
        self.idempotent = not predicts or _idempotent(headers.get(b"x-edgewise-idempotent"), self.route)
        request_id = None if b"x-request-id" in varying else headers.get(b"x-request-id")
        self.request_id = request_id[:MAX_REQUEST_ID_BYTES] if request_id else None
        wish = None if PREFERRED_VERSION_HEADER in varying else headers.get(PREFERRED_VERSION_HEADER)
        self.preferred = b"" if wish is None else preferred_line(wish)
        self.head_only = head.method == b"HEAD"
        self.bodyless = head.content_length == 0 and head.method != b"POST"

    def start_for(self, site: "Site") -> bytes:
        """The request line and header fields as they go to a site, without those that each request has its own of.

        Args:
            site: with a REST side.
        """
        head = self._head
        upstream = site.rest
        assert upstream is not None, "a site with a REST side"  # noqa: S101
        headers = head.headers
        dropped = OWN_REQUEST_FIELDS.union(head.shape.names)
        if site.authorization is not None or site.drops_credentials:
            dropped |= CREDENTIALS
        fields = end_to_end(headers.items(), headers.get(b"connection"), dropped)
        via = headers.get(b"via")
        fields = [field for field in fields if field[0] != b"via"]
        own = b"%b edgewise" % (b"1.0" if head.http_1_0 else b"1.1")
        fields.append((b"via", own if via is None else via + b", " + own))
        if site.authorization is not None:
            fields.append((b"authorization", site.authorization))
        target = upstream.base_path + head.path + (b"?" + head.query if head.query else b"")
        start = encode_start(head.method, target, upstream.host_field) + encode_fields(fields)
        self.starts[site] = start
        return start


def _route(route: Route, wish: bytes | None) -> Route:
    return route if wish is None else overridden(route, wish.decode("ascii", "replace").strip())


def _idempotent(value: bytes | None, route: Route) -> bool:
    if value is None:
        return route.idempotent
    said = value.lower()
    if said not in (b"true", b"false"):
        raise InvalidArgumentError("x-edgewise-idempotent is neither true nor false")
    return said == b"true"
