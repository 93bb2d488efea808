"""What `edgewise gateway` refuses before it starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.cli import parser
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import RouteKind
from edgewise.gateway.options import GatewayOptions, check_options, default_routes

GOOD = GatewayOptions(cloud=("http://h:1",))


def test_good_options():
    check_options(GOOD)
    check_options(GatewayOptions(config=Path("gateway.toml"), rest_port=0, grpc_port=0, workers=4))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"cloud": ()}, ["--cloud", "--edge", "--config"]),
        ({"tls_cert": Path("c")}, ["--tls-cert", "--tls-key"]),
        ({"tls_client_ca": Path("c")}, ["--tls-client-ca", "--tls-cert"]),
        ({"rest_port": None, "grpc_port": None}, ["--rest-port", "--grpc-port"]),
        ({"rest_port": 9, "grpc_port": 9}, ["both 9"]),
        ({"rest_port": 70000}, ["--rest-port is 70000", "0 to 65535"]),
        ({"default_route": "weights"}, ["--default-route", "prefer-cloud"]),
        ({"workers": 0}, ["--workers is 0", "1 to"]),
        ({"max_body_bytes": 0}, ["--max-body-bytes is 0"]),
        ({"drain_timeout_s": -1.0}, ["--drain-timeout-s is -1"]),
        ({"deadline_ms": 0.5}, ["--deadline-ms is 0.5", "1 to"]),
    ],
)
def test_bad_options(changes, parts):
    with pytest.raises(InvalidArgumentError) as raised:
        check_options(replace(GOOD, **changes))
    for part in parts:
        assert part in raised.value.message


def test_the_command_line_makes_the_same_options():
    words = vars(parser().parse_args(["gateway", "--cloud", "http://a:1", "--cloud", "http://b:2"]))
    assert words.pop("run")
    assert words.pop("command") == "gateway"
    words["cloud"], words["edge"] = tuple(words["cloud"]), tuple(words["edge"])
    assert GatewayOptions(**words) == GatewayOptions(cloud=("http://a:1", "http://b:2"))


@pytest.mark.parametrize("route", default_routes())
def test_each_route_can_be_the_default(route):
    arguments = parser().parse_args(["gateway", "--cloud", "http://a:1", "--default-route", route])
    assert RouteKind(arguments.default_route).value == route


@pytest.mark.parametrize("words", [("--deadline-ms", "0"), ("--workers", "0"), ("--default-route", "weights")])
def test_wrong_words_end_in_a_message(words, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["gateway", "--cloud", "http://a:1", *words])
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err
