"""gateway.toml and the command line: what they come to, and one clear message for each mistake."""

from pathlib import Path

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import RouteKind
from edgewise.gateway.config import Address, SiteConfig
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.toml_config import load_config, parse_config

SITES = """
[[site]]
name = "eu-west"
tier = "cloud"
rest = "https://models.example.com/v0"
grpc = "models.example.com:8500"
max_in_flight = 32
max_queue = 0
health_path = "/healthz"

[[site]]
name = "factory-7"
tier = "edge"
rest = "http://[::1]:8501"
"""


def found(discover, address):
    return f'[[site]]\nname = "s"\ntier = "edge"\ndiscover = "{discover}"\n{address}'


def parse(text, directory=Path("/nowhere"), **words):
    return parse_config(text, directory / "gateway.toml", **words)


def test_sites_as_written():
    cloud, edge = parse(SITES).sites
    assert cloud == SiteConfig(
        "eu-west",
        "cloud",
        Address("models.example.com", 443, tls=True, base_path="/v0"),
        Address("models.example.com", 8500),
        max_in_flight=32,
        max_queue=0,
        health_path="/healthz",
    )
    assert edge == SiteConfig("factory-7", "edge", Address("::1", 8501))


@pytest.mark.parametrize(
    ("words", "discover", "port_name"),
    [
        ('rest = "http://a:1"', "", None),
        ('rest = "http://a:1"\ndiscover = "dns"', "dns", None),
        ('rest = "https://a:1"\ngrpc = "grpcs://a:2"\ndiscover = "dns"', "dns", None),
        ('grpc = "a:2"\ndiscover = "dns"', "dns", None),
        ('rest = "http://a.b.svc:1"\ndiscover = "kubernetes"', "kubernetes", None),
        ('rest = "http://a.b.svc:1"\ndiscover = "kubernetes"\nport_name = "http"', "kubernetes", "http"),
        ('grpc = "a.b:2"\ndiscover = "kubernetes"', "kubernetes", None),
    ],
)
def test_sites_whose_endpoints_are_found(words, discover, port_name):
    (site,) = parse(f'[[site]]\nname = "s"\ntier = "cloud"\n{words}').sites
    assert (site.discover, site.port_name) == (discover, port_name)
    assert site.address is (site.rest or site.grpc)


@pytest.mark.parametrize(
    ("words", "discover", "tls", "grpc"),
    [
        ("http://a:1", "", False, None),
        ("http+dns://a:1/base", "dns", False, None),
        ("https+dns://a:1,grpcs://a:2", "dns", True, Address("a", 2, tls=True)),
        ("http+kubernetes://a.b.svc:1", "kubernetes", False, None),
    ],
)
def test_the_command_line_finds_endpoints_too(words, discover, tls, grpc):
    (site,) = load_config(GatewayOptions(cloud=(words,))).sites
    assert (site.name, site.discover, site.rest.tls, site.grpc) == ("cloud", discover, tls, grpc)


def test_files_are_relative_to_the_config(tmp_path):
    for name in ("cloud.key", "ca.pem", "me.pem", "me.key"):
        (tmp_path / name).write_text("x")
    text = """
    [[site]]
    name = "cloud"
    tier = "cloud"
    grpc = "grpcs://h:443"
    api_key_file = "cloud.key"
    ca = "ca.pem"
    cert = "me.pem"
    key = "me.key"
    server_name = "models"
    """
    (site,) = parse(text, tmp_path).sites
    assert site.api_key_file == tmp_path / "cloud.key"
    assert (site.tls.ca, site.tls.cert, site.tls.key) == tuple(
        tmp_path / name for name in ("ca.pem", "me.pem", "me.key")
    )
    assert site.tls.server_name == "models"
    assert site.grpc == Address("h", 443, tls=True)


def test_a_models_route_begins_with_the_default_one():
    config = parse(
        SITES
        + """
        [route]
        kind = "fastest"
        deadline_ms = 1500
        hedge_ratio = 0.05
        max_queue_wait_ms = 20
        idempotent = false
        [routes.pets]
        kind = "cascade"
        confidence = 0.6
        idempotent = true
        [routes."a.b"]
        kind = "weights"
        weights = {eu-west = 0.9, factory-7 = 0}
        """
    )
    assert config.route.kind is RouteKind.FASTEST
    assert config.route.deadline_s == 1.5
    pets = config.routes["pets"]
    assert (pets.kind, pets.confidence, pets.deadline_s, pets.hedge_ratio, pets.max_queue_wait_s, pets.idempotent) == (
        *(RouteKind.CASCADE, 0.6, 1.5, 0.05, 0.02, True),
    )
    assert dict(config.routes["a.b"].weights) == {"eu-west": 0.9, "factory-7": 0.0}


def test_the_command_line_goes_first(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(SITES + '[route]\nkind = "fastest"\ndeadline_ms = 1500\n[routes.pets]\nhedge_ratio = 1\n')
    options = GatewayOptions(
        cloud=("http://a:1", "https://b,grpc://b:2"),
        edge=("http://c:3/base",),
        config=file,
        default_route="edge-only",
        deadline_ms=250,
    )
    config = load_config(options)
    assert [site.name for site in config.sites] == ["cloud", "cloud-2", "edge", "eu-west", "factory-7"]
    assert config.sites[1].rest == Address("b", 443, tls=True)
    assert config.sites[1].grpc == Address("b", 2)
    assert config.sites[2].rest == Address("c", 3, base_path="/base")
    assert (config.route.kind, config.route.deadline_s) == (RouteKind.EDGE_ONLY, 0.25)
    assert (config.routes["pets"].kind, config.routes["pets"].deadline_s) == (RouteKind.EDGE_ONLY, 0.25)


def test_a_named_default_goes_before_weights(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(SITES + '[route]\nkind = "weights"\nweights = {eu-west = 1}\n')
    config = load_config(GatewayOptions(config=file, default_route="prefer-edge"))
    assert config.route.kind is RouteKind.PREFER_EDGE
    assert not config.route.weights


SITE = '[[site]]\nname = "s"\ntier = "edge"\nrest = "http://h:1"\n'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[[site", ["not TOML"]),
        ("site = " + "[" * 5000, ["nested too deep"]),
        ("", ["there is no site", "[[site]]"]),
        (f"{SITE}[site.x]\ny = 1", ["[[site]] s", "there is no key 'x'", "api_key_file, ca, cert"]),
        (f"{SITE}\n[other]\n", ["there is no key 'other'", "route, routes, site"]),
        ('[site]\nname = "s"', ["site", "[[site]] tables"]),
        ('[[site]]\ntier = "edge"', ["[[site]] number 1", "name is missing"]),
        ('[[site]]\nname = "s"\nrest = "http://h:1"', ["[[site]] s", "tier is missing"]),
        ('[[site]]\nname = "s"\ntier = "fog"\nrest = "http://h:1"', ["tier is 'fog'", "cloud, edge"]),
        ('[[site]]\nname = " "\ntier = "edge"\nrest = "http://h:1"', ["name is ' '", "printable ASCII"]),
        ('[[site]]\nname = "s"\ntier = "edge"', ["no address", "rest ="]),
        ('[[site]]\nname = "a/b"\ntier = "edge"\nrest = "http://h:1"', ["name is 'a/b'", "without slashes"]),
        (f'{SITE}discover = "consul"', ["discover is 'consul'", "expected one of dns, kubernetes"]),
        (f'{SITE}port_name = "rest"', ["port_name goes with", "kubernetes"]),
        (f'{SITE}discover = "dns"\nport_name = "rest"', ["port_name goes with", "kubernetes", "the port is that"]),
        (found("dns", 'rest = "http://10.1.2.3:1"'), ["10.1.2.3 is an address", "give a name, or leave discover out"]),
        (found("kubernetes", 'rest = "http://[fd00::1]:1"'), ["fd00::1 is an address"]),
        (found("dns", 'grpc = "127.0.0.1:1"'), ["127.0.0.1 is an address"]),
        (found("dns", 'rest = "http://a:1"\ngrpc = "b:1"'), ["one name", "rest and grpc have two"]),
        (found("kubernetes", 'rest = "http://a:1"\ngrpc = "a:2"'), ["takes rest or grpc, and not both"]),
        (found("kubernetes", 'rest = "http://models.example.com:1"'), ["names no Service", "SERVICE.NAMESPACE.svc"]),
        (f"{SITE}max_in_flight = 0", ["[[site]] s", "max_in_flight is 0", "from 1 to"]),
        (f"{SITE}max_in_flight = true", ["max_in_flight is true", "whole number"]),
        (f'{SITE}max_queue = "9"', ["max_queue is '9'", "whole number"]),
        (f"{SITE}api_key_file = 'no.key'", ["api_key_file", "there is no file", "no.key"]),
        (f"{SITE}cert = '/etc/hostname'", ["both cert and key"]),
        (f"{SITE}server_name = 'x'", ["https://"]),
        (f"{SITE}health_path = 'up'", ["health_path is 'up'", "/v2/health/ready"]),
        (SITE.replace("http://h:1", "h:1"), ["rest: 'h:1' is no address", "http://HOST:PORT"]),
        (SITE.replace("http://h:1", "ftp://h:1"), ["'ftp://h:1'", "http://HOST:PORT"]),
        (SITE.replace("http://h:1", "http://h:99999"), ["'http://h:99999'"]),
        (SITE.replace("http://h:1", "http://h:0"), ["'http://h:0'"]),
        (SITE.replace("http://h:1", "http://me:word@h:1"), ["no user or password", "api_key_file"]),
        (SITE.replace("http://h:1", "http://h:1/?x=1"), ["query"]),
        (SITE.replace("http://h:1", "http://h:1/a b"), ["path"]),
        (f"{SITE}grpc = 'h'", ["grpc: ", "HOST:PORT"]),
        (f"{SITE}grpc = 'grpc://h:1/x'", ["gRPC does not take"]),
        (f"{SITE}{SITE}", ["two sites have the name 's'"]),
        (f'{SITE}[route]\nkind = "best"', ["[route]", "kind is 'best'", "prefer-cloud"]),
        (f"{SITE}[route]\nkind = []", ["kind is []", "prefer-cloud"]),
        (f'{SITE}[route]\nkind = "cloud-only"', ["[route]", "'cloud-only'", 'tier = "cloud"']),
        (f'{SITE}[routes.m]\nkind = "cascade"', ["[routes.m]", 'tier = "cloud"']),
        (f'{SITE}[routes.m]\nkind = "weights"', ["[routes.m]", "weights is missing", "cloud = 0.9"]),
        (f'{SITE}[routes.m]\nkind = "weights"\nweights = {{t = 1}}', ["the site 't'", "the sites are s"]),
        (f'{SITE}[routes.m]\nkind = "weights"\nweights = {{s = 0}}', ["at least one share above 0"]),
        (f'{SITE}[routes.m]\nkind = "weights"\nweights = {{s = -1}}', ["a number from 0"]),
        (f'{SITE}[routes.m]\nkind = "weights"\nweights = {{s = nan}}', ["a number from 0"]),
        (f"{SITE}[routes.m]\nweights = {{s = 1}}", ['kind = "weights"', "prefer-cloud"]),
        (f"{SITE}[routes]\nm = 1", ["[routes.m]", "a table"]),
        (f"{SITE}[route]\ndeadline_ms = 0", ["deadline_ms is 0", "from 1 to"]),
        (f"{SITE}[route]\nhedge_ratio = 2", ["hedge_ratio is 2", "from 0 to 1"]),
        (f"{SITE}[route]\nidempotent = 1", ["idempotent is 1", "true or false"]),
        (f"{SITE}[route]\ndeadline = 1", ["there is no key 'deadline'", "deadline_ms"]),
    ],
)
def test_each_mistake_is_told(text, parts):
    with pytest.raises(InvalidArgumentError) as raised:
        parse(text)
    message = raised.value.message
    assert message.startswith("/nowhere/gateway.toml: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (GatewayOptions(cloud=("h:1",)), ["--cloud", "'h:1'", "http://HOST:PORT"]),
        (GatewayOptions(edge=("http://h:1,http://h:2",)), ["--edge", "grpc://HOST:PORT"]),
        (GatewayOptions(edge=("http+consul://h:1",)), ["--edge", "after http+ or https+", "dns, kubernetes"]),
        (GatewayOptions(edge=("http+dns://10.0.0.1:1",)), ["--edge", "10.0.0.1 is an address"]),
        (GatewayOptions(cloud=("http+kubernetes://a.b:1,grpc://a.b:2",)), ["--cloud", "rest or grpc, and not both"]),
        (GatewayOptions(cloud=("http+kubernetes://a.example.com:1",)), ["--cloud", "names no Service"]),
        (GatewayOptions(cloud=("ftp+dns://h:1",)), ["--cloud", "http://HOST:PORT"]),
        (GatewayOptions(edge=("http://h:1,grpc://h:2,grpc://h:3",)), ["--edge", "grpc://HOST:PORT"]),
        (GatewayOptions(cloud=("http://h:1",), default_route="edge-only"), ["edge-only", 'tier = "edge"']),
        (GatewayOptions(config=Path("/nowhere/at/all")), ["/nowhere/at/all", "No such file"]),
    ],
)
def test_mistakes_on_the_command_line(options, parts):
    with pytest.raises(InvalidArgumentError) as raised:
        load_config(options)
    for part in parts:
        assert part in raised.value.message


def test_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgumentError, match="not UTF-8"):
        load_config(GatewayOptions(config=file))
    file.write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(InvalidArgumentError, match="larger than"):
        load_config(GatewayOptions(config=file))


def test_a_name_of_the_config_may_not_be_the_command_lines(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(SITE.replace('"s"', '"edge"'))
    with pytest.raises(InvalidArgumentError, match="two sites have the name 'edge'"):
        load_config(GatewayOptions(edge=("http://h:1",), config=file))
