"""What heads of gRPC calls come to, and what of it is kept."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import Route, RouteKind
from edgewise.gateway.config import Address, GatewayConfig, SiteConfig
from edgewise.gateway.grpc_methods import FORWARDED
from edgewise.gateway.grpc_request import GrpcHeads
from edgewise.gateway.site import Site
from edgewise.net.grpc_head import CallHead
from edgewise.net.hpack import HeaderDecoder

NAME = "/tensorflow.serving.PredictionService/Predict"
PREDICT = FORWARDED[NAME]
CONFIG = GatewayConfig((), Route(), {"near": Route(RouteKind.PREFER_EDGE)})
PLAIN = {b"content-type": b"application/grpc", b"te": b"trailers", b"user-agent": b"app/1", b"x-own": b"1"}


def head(method=NAME, size_bytes=200, **metadata):
    fields = {name.replace("_", "-").encode(): value for name, value in metadata.items()}
    return CallHead(method, {**PLAIN, **fields}, size_bytes)


def read(heads=None, config=CONFIG, **metadata):
    return (heads or GrpcHeads()).read(head(**metadata), PREDICT, config)


@pytest.fixture
def site():
    return Site(SiteConfig("cloud", "cloud", rest=Address("cloud.example", 8501, base_path="/models")))


def test_calls_that_differ_in_ids_and_deadlines_share_the_rest():
    heads = GrpcHeads()
    first = read(heads, x_request_id=b"r-1", grpc_timeout=b"5S", x_edgewise_deadline_ms=b"50")
    second = read(heads, x_request_id=b"r-2", grpc_timeout=b"4S")
    assert first.asked is second.asked
    assert (first.request_id, second.request_id) == (b"r-1", b"r-2")
    assert (first.timeout_s, second.timeout_s) == (0.05, None)
    assert read(heads, x_own=b"2").asked is not first.asked
    assert heads.read(head(), FORWARDED["/inference.GRPCInferenceService/ModelInfer"], CONFIG).asked is not first.asked
    assert read(heads, config=GatewayConfig(())).asked is not first.asked


def test_what_is_kept_is_bounded():
    heads = GrpcHeads()
    for number in range(1000):
        read(heads, x_own=b"%d" % number)
    assert len(heads._known) <= 256
    heads = GrpcHeads()
    heads.read(head(size_bytes=10_000, x_own=b"x" * 9000), PREDICT, CONFIG)
    assert not heads._known
    asked = read().asked
    for number in range(500):
        asked.route_for(f"model-{number}")
    assert len(asked._routes) <= 64


def test_routes():
    asked = read().asked
    assert asked.route_for("far") is CONFIG.route
    assert asked.route_for("near").kind is RouteKind.PREFER_EDGE
    wish = read(x_edgewise_route=b" edge-only ").asked
    assert wish.route_for("near").kind is RouteKind.EDGE_ONLY
    with pytest.raises(InvalidArgumentError, match="x-edgewise-route"):
        read(x_edgewise_route=b"\xff").asked.route_for("near")


@pytest.mark.parametrize(("value", "idempotent"), [(b"true", True), (b"False", False), (None, None)])
def test_whether_it_may_run_twice(value, idempotent):
    assert read(**({} if value is None else {"x_edgewise_idempotent": value})).asked.idempotent is idempotent


@pytest.mark.parametrize(
    "metadata",
    [
        {"x_edgewise_idempotent": b"1"},
        {"x_edgewise_deadline_ms": b"-1"},
        {"x_own": b"\x07"},
        {"x_own": b"\xe4"},
        {"x_request_id": b"\xe4"},
    ],
)
def test_what_cannot_be_said(metadata):
    with pytest.raises(InvalidArgumentError):
        read(**metadata)


def test_a_long_id_is_cut():
    assert read(x_request_id=b"x" * 500).request_id == b"x" * 128
    assert read(x_request_id=b"").request_id is None


def test_the_head_for_a_site_over_http(site):
    asked = read(host=b"evil", connection=b"close", content_length=b"1", x_edgewise_route=b"fastest").asked
    assert asked.http_head(site) == (
        b"POST /models/tensorflow.serving.PredictionService/Predict HTTP/1.1\r\n"
        b"host: cloud.example:8501\r\n"
        b"content-type: application/x-protobuf\r\n"
        b"via: 2.0 edgewise\r\n"
        b"x-own: 1\r\n"
    )
    assert asked.http_head(site) is asked.http_head(site)


def test_the_head_for_a_site_over_http2(site):
    class Upstream:
        @staticmethod
        def head(path):
            assert path == NAME.encode()
            return b"\x83"

    asked = read(authorization=b"Bearer app", grpc_encoding=b"gzip").asked
    fields, _ = HeaderDecoder(1000).decode(asked.http2_head(site, Upstream()))
    assert fields == [(b":method", b"POST"), (b"x-own", b"1"), (b"authorization", b"Bearer app")]
