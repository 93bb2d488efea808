"""gateway.toml and the command line, as one `GatewayConfig`.

[[site]]
name = "eu-west"
tier = "cloud"
rest = "https://models.example.com"
api_key_file = "eu-west.key"

[[site]]
name = "factory-7"
tier = "edge"
rest = "http://127.0.0.1:8501"

[[site]]
name = "cluster"
tier = "cloud"
rest = "http://model-server.edgewise.svc:8501"
discover = "kubernetes"     # each ready pod of the Service is asked; or "dns": each address of the name

[route]                     # for models without their own
kind = "prefer-cloud"
deadline_ms = 2000

[routes.pets]
kind = "cascade"
confidence = 0.6

[capture]                   # see `capture_config.py`
directory = "capture"
models = ["pets"]
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import DEFAULT_ROUTE, Route, RouteKind
from edgewise.gateway.address_text import grpc_address, rest_address
from edgewise.gateway.capture_config import read_capture
from edgewise.gateway.config import DNS, KUBERNETES, NOTHING, GatewayConfig, SiteConfig, SiteTls
from edgewise.gateway.endpoints import service_of
from edgewise.gateway.toml_tables import Table, boolean, file_in, label, number, one_of, table, text, whole
from edgewise.protocols.toml_files import parse_toml

if TYPE_CHECKING:
    from edgewise.gateway.options import GatewayOptions

TIERS: Final = ("cloud", "edge")
SOURCES: Final = (DNS, KUBERNETES)
MAX_SITES: Final = 256
_MAX_FILE_BYTES: Final = 1 << 20
_DAY_MS: Final = 86_400_000.0
_NEEDED_TIERS: Final = {
    RouteKind.CLOUD_ONLY: ("cloud",),
    RouteKind.EDGE_ONLY: ("edge",),
    RouteKind.CASCADE: ("edge", "cloud"),
}


def load_config(options: "GatewayOptions") -> GatewayConfig:
    """What the command line and the config file say together; the command line's sites come first.

    Raises: InvalidArgumentError: something cannot be used; the message says where and what would be right.
    """
    sites = command_line_sites(options)
    base = DEFAULT_ROUTE
    if options.config is None:
        return _checked(GatewayConfig(sites, _told(base, options)), "the command line")
    content = _read(options.config)
    return parse_config(content, options.config, sites=sites, options=options)


def command_line_sites(options: "GatewayOptions") -> tuple[SiteConfig, ...]:
    """The sites of `--cloud` and `--edge`.

    Raises: InvalidArgumentError: an address cannot be used.
    """
    sites = []
    for tier in TIERS:
        for number_in_tier, words in enumerate(getattr(options, tier), start=1):
            name = tier if number_in_tier == 1 else f"{tier}-{number_in_tier}"
            try:
                sites.append(_site_of_words(name, tier, words))
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"--{tier}: {error.message}") from None
    return tuple(sites)


def parse_config(
    content: str,
    file: Path,
    *,
    sites: Sequence[SiteConfig] = (),
    options: "GatewayOptions | None" = None,
) -> GatewayConfig:
    """Read gateway.toml.

    Args:
        content: what the file holds.
        file: its name, for messages; file names in it are relative to its directory.
        sites: the command line's, which come first.
        options: what of the command line goes before the file.
    Raises: InvalidArgumentError: it is not TOML, or says what cannot be used.
    """
    top = Table(parse_toml(content, str(file)), str(file))
    tables = top.take("site", _tables, ())
    found = [*sites, *(_site(values, file, place) for place, values in enumerate(tables, start=1))]
    if len(found) > MAX_SITES:
        raise top.error(f"there are {len(found)} sites; expected {MAX_SITES} at most")
    route = _route(Table(top.take("route", table, {}), f"{file}: [route]"), DEFAULT_ROUTE, found)
    if options is not None:
        route = _told(route, options)
    routes = {
        model: _route(_table_of_model(values, file, model), route, found)
        for model, values in top.take("routes", table, {}).items()
    }
    captured = top.take("capture", table, None)
    tiers = frozenset(site.tier for site in found)
    capture = read_capture(captured, file, tiers) if captured is not None else None
    top.finish()
    return _checked(GatewayConfig(tuple(found), route, MappingProxyType(routes), capture), str(file))


def _read(file: Path) -> str:
    try:
        with file.open("rb") as source:
            content = source.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"the config {file} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise InvalidArgumentError(f"the config {file} is larger than {_MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"the config {file} is not UTF-8 text") from None


def _told(route: Route, options: "GatewayOptions") -> Route:
    """What the command line says of the default route goes before the file."""
    if options.default_route is not None:
        route = replace(route, kind=RouteKind(options.default_route), weights=DEFAULT_ROUTE.weights)
    if options.deadline_ms is not None:
        route = replace(route, deadline_s=options.deadline_ms / 1e3)
    return route


def _site_of_words(name: str, tier: str, words: str) -> SiteConfig:
    first, *more = words.split(",")
    scheme, colon, rest_of_it = first.partition("://")
    scheme, _, discover = scheme.partition("+")
    if discover and discover not in SOURCES:
        raise InvalidArgumentError(f"{words!r} is no site; after http+ or https+ comes one of {', '.join(SOURCES)}")
    rest = rest_address(scheme + colon + rest_of_it)
    if len(more) > 1 or (more and not more[0].startswith(("grpc://", "grpcs://"))):
        raise InvalidArgumentError(
            f"{words!r} is no site; expected http://HOST:PORT or http://HOST:PORT,grpc://HOST:PORT"
        )
    site = SiteConfig(name, tier, rest, grpc_address(more[0]) if more else None, discover=discover)
    why_not = _cannot_be_found(site)
    if why_not:
        raise InvalidArgumentError(f"{words!r}: {why_not}")
    return site


def _cannot_be_found(site: SiteConfig) -> str:
    """Why its endpoints cannot be found as it says; "" where they can, or are not to be."""
    if site.discover == NOTHING:
        return "" if site.port_name is None else 'port_name goes with discover = "kubernetes"'
    host = site.address.host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return f"{host} is an address, of which there is nothing to find; give a name, or leave discover out"
    return _cannot_be_looked_up(site) if site.discover == DNS else _names_no_service(site)


def _cannot_be_looked_up(site: SiteConfig) -> str:
    if site.port_name is not None:
        return 'port_name goes with discover = "kubernetes"; over DNS, the port is that of the address'
    if site.rest is not None and site.grpc is not None and site.rest.host != site.grpc.host:
        return "discover looks up one name, and rest and grpc have two"
    return ""


def _names_no_service(site: SiteConfig) -> str:
    if site.rest is not None and site.grpc is not None:
        return 'discover = "kubernetes" takes rest or grpc, and not both; an Edgewise server needs rest alone'
    try:
        service_of(site.address.host)
    except ValueError as error:
        return str(error)
    return ""


def _tables(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("expected [[site]] tables, with two brackets")
    return value


def _site(values: Mapping[str, Any], file: Path, place: int) -> SiteConfig:
    named = values.get("name")
    site = Table(values, f"{file}: [[site]] {named if isinstance(named, str) else f'number {place}'}")
    path = file_in(file.parent)
    found = SiteConfig(
        name=site.take("name", label),
        tier=site.take("tier", one_of(*TIERS)),
        rest=site.take("rest", lambda value: rest_address(text(value)), None),
        grpc=site.take("grpc", lambda value: grpc_address(text(value)), None),
        tls=SiteTls(
            ca=site.take("ca", path, None),
            cert=site.take("cert", path, None),
            key=site.take("key", path, None),
            server_name=site.take("server_name", text, None),
        ),
        api_key_file=site.take("api_key_file", path, None),
        max_in_flight=site.take("max_in_flight", whole(1, 65_536), 256),
        max_queue=site.take("max_queue", whole(0, 1_000_000), 1024),
        health_path=site.take("health_path", _path, None),
        discover=site.take("discover", one_of(*SOURCES), NOTHING),
        port_name=site.take("port_name", text, None),
    )
    site.finish()
    if found.rest is None and found.grpc is None:
        raise site.error('there is no address; give rest = "http://HOST:PORT" or grpc = "HOST:PORT"')
    if (found.tls.cert is None) != (found.tls.key is None):
        raise site.error("a client certificate takes both cert and key")
    if found.tls != SiteTls() and not any(one is not None and one.tls for one in (found.rest, found.grpc)):
        raise site.error("ca, cert, key and server_name are for https:// and grpcs:// addresses")
    why_not = _cannot_be_found(found)
    if why_not:
        raise site.error(why_not)
    return found


def _path(value: Any) -> str:
    path = text(value)
    if not path.startswith("/") or not (path.isascii() and path.isprintable()) or " " in path:
        raise ValueError("expected a path such as /v2/health/ready")
    return path


def _table_of_model(values: Any, file: Path, model: str) -> Table:
    where = f"{file}: [routes.{model}]"
    if not isinstance(values, dict):
        raise InvalidArgumentError(f"{where}: expected a table")
    return Table(values, where)


def _route(found: Table, base: Route, sites: Sequence[SiteConfig]) -> Route:
    """A route; what it does not say is as in `base`."""
    kind = RouteKind(found.take("kind", one_of(*RouteKind), base.kind.value))
    weights = found.take("weights", _weights, base.weights if kind is base.kind else {})
    route = Route(
        kind=kind,
        weights=MappingProxyType(dict(weights)),
        confidence=found.take("confidence", number(0, 1), base.confidence),
        hedge_ratio=found.take("hedge_ratio", number(0, 1), base.hedge_ratio),
        deadline_s=found.take("deadline_ms", number(1, _DAY_MS), base.deadline_s * 1e3) / 1e3,
        max_queue_wait_s=found.take("max_queue_wait_ms", number(0, _DAY_MS), base.max_queue_wait_s * 1e3) / 1e3,
        idempotent=found.take("idempotent", boolean, base.idempotent),
    )
    found.finish()
    if kind is RouteKind.WEIGHTS:
        if not route.weights:
            raise found.error('weights is missing; kind = "weights" takes such as weights = {cloud = 0.9, edge = 0.1}')
        known = [site.name for site in sites]
        for name in route.weights:
            if name not in known:
                raise found.error(f"weights names the site {name!r}; the sites are {', '.join(known) or 'none'}")
    elif route.weights:
        raise found.error(f'weights goes with kind = "weights", and this is {kind.value!r}')
    _check_tiers(route, sites, found.where)
    return route


def _weights(value: Any) -> Mapping[str, float]:
    shares = {name: number(0, 1e6)(share) for name, share in table(value).items()}
    if not sum(shares.values()) > 0:
        raise ValueError("expected at least one share above 0")
    return shares


def _check_tiers(route: Route, sites: Sequence[SiteConfig], where: str) -> None:
    for tier in _NEEDED_TIERS.get(route.kind, ()):
        if not any(site.tier == tier for site in sites):
            raise InvalidArgumentError(f'{where}: the route {route.kind.value!r} takes a site with tier = "{tier}"')


def _checked(config: GatewayConfig, where: str) -> GatewayConfig:
    """Refuse what only shows when everything is together."""
    if not config.sites:
        raise InvalidArgumentError(f"{where}: there is no site; give --cloud, --edge or [[site]] tables")
    names: set[str] = set()
    for site in config.sites:
        if site.name in names:
            raise InvalidArgumentError(f"{where}: two sites have the name {site.name!r}; names are unique")
        names.add(site.name)
    _check_tiers(config.route, config.sites, where)
    return config
