"""One site as the gateway reaches it: its pools, its probes, and what answers say of it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from edgewise.core.routing.calls import Failure, Probe, SiteSpec
from edgewise.gateway.addresses import Addresses, EndpointAddresses
from edgewise.gateway.config import SiteConfig
from edgewise.gateway.endpoints import Endpoint
from edgewise.gateway.site_files import SiteFiles, read_files
from edgewise.gateway.upstream import HttpUpstream
from edgewise.gateway.upstream_warming import UpstreamWarming
from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body, Header
from edgewise.net.http_client_connection import encode_request
from edgewise.net.http_response_head import ResponseHead

PROBE_PATH: Final = b"/edgewise/v1/probe"
"""Where an Edgewise server takes a body and answers with one of `?answer_bytes=N`."""
MAX_PROBE_BYTES: Final = 1 << 20
# What large questions consist of; nobody makes copies of it.
_ZEROS: Final = memoryview(bytes(MAX_PROBE_BYTES))
_HEALTH_PATH: Final = b"/v2/health/ready"
_NOT_READY: Final = frozenset({500, 502, 503, 504})


class ProbeEvents(Protocol):
    """Who is told what came of a probe; the carrier."""

    def probe_answered(self, probe: Probe, *, ready: bool = True) -> None:
        """The site answered, and whether it says that it is ready."""
        ...

    def probe_failed(self, probe: Probe, *, refused: bool = False) -> None:
        """No answer; `refused` when its host said so at once."""
        ...


class GrpcUpstream(Protocol):
    """A site's HTTP/2 side, where it has one.

    Attributes:
        busy: a call or a probe is in flight.
    """

    @property
    def busy(self) -> bool: ...  # noqa: D102 - told above

    async def start(self) -> bool:
        """Look the name up; whether an address is known."""
        ...

    def send_probe(self, probe: Probe, events: ProbeEvents) -> None:
        """Ask, and tell `events` once unless the probe is over before (`probe.open`)."""
        ...

    def warm(self, connections: int) -> None:
        """Have at least so many connections open."""
        ...

    def close_connections(self) -> None:
        """Drop the connections that carry no request, and what is unsent in them."""
        ...

    async def close(self) -> None:
        """Drop everything, for good."""
        ...


class Site:
    """The connections to a site, or to one endpoint of a site that has several.

    Args:
        config: what is known of the site.
        files: what the files that it names hold; they are read when None.
        endpoint: the one that is meant. Certificates and the Host field are still those of the address in `config`.
        look_sooner: is called when no connection to the endpoint can be made.
        max_answer_bytes: a larger answer is given up.
        drops_credentials: apps' keys are meant for the gateway, which checked them, and are not passed on.

    Attributes:
        name: of the link: the site's, or SITE/HOST:PORT for an endpoint.
        site, tier: as configured; they replace what the site says of itself.
        who: the header fields that name the site.
        endpoint, files: as given, or read.
        authorization: the value to send as Authorization, None where the site has no key of its own.
        rest: its HTTP/1.1 side, None without a REST address.
        grpc: its HTTP/2 side; whoever makes the site sets it before `start` where `config.grpc` is given.

    Raises: FailedPreconditionError: a file it names cannot be used.
    """

    def __init__(
        self,
        config: SiteConfig,
        *,
        files: SiteFiles | None = None,
        endpoint: Endpoint | None = None,
        look_sooner: Callable[[], None] | None = None,
        max_answer_bytes: int = 256 * 1024 * 1024,
        drops_credentials: bool = False,
    ) -> None:
        files = files if files is not None else read_files(config)
        self.config = config
        self.files = files
        self.endpoint = endpoint
        self.site = config.name
        self.name = config.name if endpoint is None else f"{config.name}/{endpoint}"
        self._look_sooner = look_sooner
        self.tier = config.tier
        self.who: tuple[Header, ...] = (
            (b"x-edgewise-site", config.name.encode()),
            (b"x-edgewise-tier", config.tier.encode()),
        )
        self.drops_credentials = drops_credentials
        self.authorization = files.authorization
        self.rest: HttpUpstream | None = None
        self.grpc: GrpcUpstream | None = None
        self._warming: UpstreamWarming | None = None
        if config.rest is not None:
            self.rest = HttpUpstream(
                config.rest,
                ssl_context=files.rest,
                server_hostname=config.tls.server_name,
                # Probes and connections that are being given up need room beside the requests.
                max_connections=2 * config.max_in_flight + 64,
                max_body_bytes=max_answer_bytes,
                addresses=self.addresses(endpoint.port) if endpoint is not None else None,
            )
            self._warming = UpstreamWarming(self.rest, self._warming_question, max_question_bytes=MAX_PROBE_BYTES)

    def spec(self) -> SiteSpec:
        """The site as the router knows it."""
        return SiteSpec(
            self.name,
            self.config.tier,
            site=self.config.name,
            max_in_flight=self.config.max_in_flight,
            max_queue=self.config.max_queue,
            probe_payload=self.rest is not None,  # nothing in HTTP/2 is asked of every server alike
        )

    @property
    def busy(self) -> bool:
        """Whether a request or a probe is in flight here."""
        return any(side is not None and side.busy for side in (self.rest, self.grpc))

    def addresses(self, port: int) -> Addresses | None:
        """Where connections to a port of the endpoint lead; None for a site without endpoints of its own."""
        if self.endpoint is None:
            return None
        return EndpointAddresses(self.endpoint.host, port, self._look_sooner)

    def begin(self) -> None:
        """Keep house, without looking anything up: what is enough for an endpoint."""
        if self.rest is not None:
            self.rest.begin()

    async def start(self) -> bool:
        """Look names up.

        Returns: whether at least one address is known. Others are looked for with each request that needs them.
        """
        sides = [side.start() for side in (self.rest, self.grpc) if side is not None]
        return any(await asyncio.gather(*sides))

    def send_probe(self, probe: Probe, events: ProbeEvents) -> None:
        """Ask the site for the link's sake; `events` is told once, not later than `probe.timeout_s`."""
        if self.rest is not None:
            _RestProbe(self, self.rest, probe, events).begin()
        elif self.grpc is not None:
            self.grpc.send_probe(probe, events)
        else:
            asyncio.get_running_loop().call_soon(events.probe_failed, probe)

    def close_connections(self) -> None:
        """Drop the connections that carry no request, so that nothing given up is run later."""
        if self._warming is not None:
            self._warming.give_up()
        if self.rest is not None:
            self.rest.close_connections()
        if self.grpc is not None:
            self.grpc.close_connections()

    async def close(self) -> None:
        """Drop everything, for good."""
        if self._warming is not None:
            self._warming.give_up()
        for side in (self.rest, self.grpc):
            if side is not None:
                await side.close()

    def warm(self, connections: int, payload_bytes: int = 0, *, at_once: int = 0, lasts_s: float = 0.0) -> None:
        """Have at least so many connections open, and fit for requests of a size; see `Warm`.

        Over HTTP/2 the calls share few connections, and nothing is there to make them fit with.
        """
        if self._warming is not None and payload_bytes:
            self._warming.warm(connections, payload_bytes, at_once=at_once, lasts_s=lasts_s)
        elif self.rest is not None:
            self.rest.warm(connections)
        if self.grpc is not None:
            self.grpc.warm(connections)

    def probe_request(self, probe: Probe, host: bytes, base_path: bytes) -> list[Body]:
        """What a probe sends over HTTP/1.1."""
        if probe.payload_bytes:
            size_bytes = min(probe.payload_bytes, MAX_PROBE_BYTES)
            return self._payload_request(host, base_path, size_bytes, size_bytes)
        path = base_path + (self.config.health_path.encode() if self.config.health_path else _HEALTH_PATH)
        return encode_request(b"GET", path, host, self._credentials(), b"")

    def _payload_request(self, host: bytes, base_path: bytes, question_bytes: int, answer_bytes: int) -> list[Body]:
        # Sites that are not ours do not have the page. They read the question all the same, and say so.
        path = b"%b%b?answer_bytes=%d" % (base_path, PROBE_PATH, answer_bytes)
        return encode_request(b"POST", path, host, self._credentials(), _ZEROS[:question_bytes])

    def _warming_question(self, question_bytes: int) -> list[Body]:
        upstream = cast("HttpUpstream", self.rest)
        return self._payload_request(upstream.host_field, upstream.base_path, question_bytes, 0)

    def _credentials(self) -> tuple[Header, ...]:
        return ((b"authorization", self.authorization),) if self.authorization is not None else ()


class _RestProbe:
    """One probe on its way."""

    __slots__ = ("carrier", "connection", "events", "probe", "sent_s", "site", "timer", "upstream")

    def __init__(self, site: Site, upstream: HttpUpstream, probe: Probe, events: ProbeEvents) -> None:
        self.site = site
        self.upstream = upstream
        self.probe = probe
        self.events = events
        self.sent_s = probe.sent_s
        self.carrier: Any = None
        self.connection: Any = None
        self.timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(self.probe.timeout_s, self._time_out)
        self._send()

    def _send(self) -> None:
        upstream = self.upstream
        parts = self.site.probe_request(self.probe, upstream.host_field, upstream.base_path)
        upstream.send(parts, self, self, fresh=self.probe.fresh)

    def _time_out(self) -> None:
        self.timer = None
        if self.carrier is not None:
            self.carrier.cancel()
        self.events.probe_failed(self.probe)

    def _end(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def sent(self, ticket: Any) -> None:
        # A small question leaves a new connection as slow for large ones as it was.
        if not self.probe.payload_bytes and self.probe.fresh:
            self.connection = ticket.carrier

    def bytes_came(self, ticket: Any) -> None:
        pass

    def site_answered(self, ticket: Any, head: ResponseHead, body: bytes | bytearray) -> None:
        del ticket, body
        if self.connection is not None:
            self.upstream.use_last(self.connection)
        if self.timer is None:
            return
        self._end()
        self.events.probe_answered(self.probe, ready=head.status not in _NOT_READY)

    def failed(self, ticket: Any, failure: Failure, error: HttpClientError) -> None:
        del ticket, failure
        if self.timer is None:
            return
        self._end()
        self.events.probe_failed(self.probe, refused=isinstance(error.__cause__, ConnectionRefusedError))
