"""`/edgewise/v1/links` and the pages around it, of a gateway whose link is cut and heals."""

import http.client
import socket

import pytest


@pytest.fixture
def pair(start_gateway, plain_site):
    cloud, edge = plain_site(), plain_site()
    return start_gateway("--cloud", cloud.url, "--edge", edge.url), cloud, edge


def test_a_cut_is_visible(pair, ask, until):
    gateway, cloud, edge = pair
    asked = ask(gateway)
    for _ in range(30):
        asked.predict()

    def counted(name):
        return sum(next(site for site in asked.links()["sites"] if site["name"] == name)["history"]["answered"])

    until(lambda: counted("cloud") == 30)
    view = asked.links()
    site = next(one for one in view["sites"] if one["name"] == "cloud")
    assert {one["name"]: one["state"] for one in view["sites"]} == {"cloud": "UP", "edge": "UP"}
    assert (site["tier"], site["rest"], site["grpc"]) == ("cloud", cloud.url, None)
    assert 0 < site["latency_ms"]["q50"] <= site["latency_ms"]["q99"]
    assert site["probe_ms"]["q50"] > 0
    assert (site["in_flight"], site["queue"]) == (0, 0)
    assert site["limit"] > 0
    assert view["requests"] == {
        "received": 30,
        "in_flight": 0,
        "answered": 30,
        "rejected": 0,
        "expired": 0,
        "failed": 0,
        "cancelled": 0,
    }

    cloud.close()
    for _ in range(10):
        assert asked.predict().site == "edge"
    until(lambda: asked.state("cloud") == "DOWN")
    until(lambda: counted("edge") == 10)
    view = asked.links()
    changed = [change for change in view["changes"] if change["site"] == "cloud"]
    assert changed[0]["after"] == "DOWN"
    assert changed[0]["why"]
    assert changed[0]["ago_s"] < 30
    site = next(one for one in view["sites"] if one["name"] == "cloud")
    until(lambda: "DOWN" in next(one for one in asked.links()["sites"] if one["name"] == "cloud")["history"]["states"])
    assert site["since_s"] < 30
    assert view["gateway"]["ready"]
    assert asked.rest("/health").json["sites"] == [
        {"name": "cloud", "tier": "cloud", "state": "DOWN"},
        {"name": "edge", "tier": "edge", "state": "UP"},
    ]
    edge.close()
    until(lambda: asked.rest("/v2/health/ready").status == 503)
    assert asked.rest("/health").json["status"] == "no site can be used"
    assert gateway.stop() == 0


def test_pages_answer_head_and_refuse_the_rest(pair, ask):
    gateway, _, _ = pair
    asked = ask(gateway)
    for path in ("/", "/health", "/v2/health/live", "/v2/health/ready", "/metrics", "/edgewise/v1/links"):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.rest_port, timeout=20)
        connection.request("HEAD", path)
        head = connection.getresponse()
        assert (head.status, head.read()) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        # The connection is good for more.
        connection.request("GET", path)
        full = connection.getresponse()
        assert full.status == 200
        assert full.read()
        connection.close()
        refused = asked.rest(path, b"{}")
        assert refused.status == 405
        assert refused.headers["allow"] == "GET, HEAD"
    assert asked.rest("/nothing/here").status == 404
    assert asked.metrics()["edgewise_gateway_outcome_requests_total{outcome=rejected}"] == 1
    assert gateway.stop() == 0


def test_the_page_allows_nothing_from_elsewhere(pair, ask):
    gateway, _, _ = pair
    page = ask(gateway).rest("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert gateway.stop() == 0


def test_made_up_models_do_not_fill_the_metrics(start_gateway, start_server, tiny_repository, ask):
    edge = start_server("--repository", str(tiny_repository))
    gateway = start_gateway("--edge", edge.rest_url)
    body = b'{"instances":[]}'
    with socket.create_connection(("127.0.0.1", gateway.rest_port), timeout=20) as connection:
        for number in range(300):
            connection.sendall(
                b"POST /v1/models/made-up-%d:predict HTTP/1.1\r\nhost: gateway\r\ncontent-length: %d\r\n\r\n%b"
                % (number, len(body), body)
            )
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 404 ")
    shown = ask(gateway).rest("/metrics").body.decode()
    assert 'edgewise_gateway_requests_total{model="other",outcome="answered",site="edge"} 300.0' in shown
    counted = [line for line in shown.splitlines() if line.startswith("edgewise_gateway_requests_total")]
    assert len(counted) == 1
    # What is learned of latencies is bounded as well.
    assert sum(line.startswith("edgewise_gateway_learned_latency_seconds") for line in shown.splitlines()) <= 65 * 4
    assert gateway.stop() == 0
