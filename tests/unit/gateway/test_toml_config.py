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
        ("", ["there is no site", "[[site]]"]),
        (f"{SITE}[site.x]\ny = 1", ["[[site]] s", "there is no key 'x'", "api_key_file, ca, cert"]),
        (f"{SITE}\n[other]\n", ["there is no key 'other'", "route, routes, site"]),
        ('[site]\nname = "s"', ["site", "[[site]] tables"]),
        ('[[site]]\ntier = "edge"', ["[[site]] number 1", "name is missing"]),
        ('[[site]]\nname = "s"\nrest = "http://h:1"', ["[[site]] s", "tier is missing"]),
        ('[[site]]\nname = "s"\ntier = "fog"\nrest = "http://h:1"', ["tier is 'fog'", "cloud, edge"]),
        ('[[site]]\nname = " "\ntier = "edge"\nrest = "http://h:1"', ["name is ' '", "printable ASCII"]),
        ('[[site]]\nname = "s"\ntier = "edge"', ["no address", "rest ="]),
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
