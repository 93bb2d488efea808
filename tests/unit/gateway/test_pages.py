"""What the gateway tells of itself: health, links, metrics, and the page for people."""

import asyncio
import base64
import hashlib
import json
import re
from types import SimpleNamespace

import pytest

from edgewise.core.errors import UnauthenticatedError
from edgewise.core.routing.calls import Attempt, LinkChanged, Outcome, Reason, Request, SiteSpec
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.routes import DEFAULT_ROUTE
from edgewise.core.routing.settings import RouterSettings
from edgewise.gateway.config import Address, GatewayConfig, SiteConfig
from edgewise.gateway.history import SECONDS, added
from edgewise.gateway.links_view import merged_view, own_view
from edgewise.gateway.metrics import MAX_CHANGES, GatewayMetrics
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.service import GatewayService

PATHS = (
    b"/",
    b"/health",
    b"/v2/health/live",
    b"/v2/health/ready",
    b"/metrics",
    b"/edgewise/v1/links",
    b"/edgewise/v1/canaries",
)


class Keys:
    def check(self, authorization, x_api_key):
        if x_api_key != b"right" and authorization != b"Bearer right":
            raise UnauthenticatedError("an API key is required")


class Asked:
    """An exchange that keeps its answer."""

    def __init__(self, path, method=b"GET", **headers):
        self.path = path
        self.method = method
        self.headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        self.status = None

    def respond(self, status, headers, body):
        assert self.status is None
        self.status, self.fields, self.body = status, dict(headers), body

    @property
    def json(self):
        return json.loads(self.body)


def make_service(api_keys=None):
    configs = (
        SiteConfig("cloud", "cloud", Address("models.example.com", 443, tls=True), Address("h", 8500)),
        SiteConfig("edge", "edge", Address("127.0.0.1", 8501)),
    )
    links = {one.name: Link(SiteSpec(one.name, one.tier), RouterSettings(), 0.0) for one in configs}
    metrics = GatewayMetrics()
    return GatewayService(
        options=GatewayOptions(cloud=("http://h:1",)),
        config=GatewayConfig(configs),
        router=SimpleNamespace(links=links),
        carrier=None,
        sites={one.name: SimpleNamespace(config=one) for one in configs},
        metrics=metrics,
        api_keys=api_keys,
    )


@pytest.fixture
def service():
    found = make_service()
    found.sample()
    return found


def page(service, path, method=b"GET", **headers):
    asked = Asked(path, method, **headers)
    assert service.page(asked)
    return asked


def answer(service, site, took_s=0.02):
    request = Request("pets", DEFAULT_ROUTE, arrived_s=0.0)
    link = service.router.links[site]
    attempt = Attempt(request, link, link.path("pets", 0), 1, Reason.FIRST, 0.0)
    service.metrics.received()
    service.metrics.attempted(attempt)
    service.metrics.answered(request, attempt, Outcome.OK, took_s)


@pytest.mark.parametrize("path", [b"/v1/models/pets:predict", b"/v2", b"/v2/models/pets/infer", b"/health/", b"//"])
def test_other_paths_are_left_alone(service, path):
    asked = Asked(path)
    assert not service.page(asked)
    assert asked.status is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", [b"POST", b"DELETE", b"OPTIONS"])
def test_pages_are_only_read(service, path, method):
    asked = page(service, path, method)
    assert asked.status == 405
    assert asked.fields[b"allow"] == b"GET, HEAD"


def test_ready_while_one_site_can_be_asked(service):
    assert page(service, b"/v2/health/live").json == {"live": True}
    cloud, edge = service.router.links.values()
    for state, ready in (
        *((LinkState.UP, True), (LinkState.SUSPECT, True), (LinkState.RAMP, True)),
        *((LinkState.DOWN, False), (LinkState.PROBING, False)),
    ):
        cloud.state, edge.state = LinkState.DOWN, state
        asked = page(service, b"/v2/health/ready")
        assert (asked.status, asked.json) == (200 if ready else 503, {"ready": ready})
        health = page(service, b"/health")
        assert health.status == asked.status
        assert health.json["status"] == ("ok" if ready else "no site can be used")
        assert health.json["sites"][1] == {"name": "edge", "tier": "edge", "state": state.value}
    edge.state = LinkState.UP
    service.draining = True
    assert page(service, b"/v2/health/ready").status == 503
    assert page(service, b"/health").json["status"] == "draining"
    assert page(service, b"/v2/health/live").status == 200


def test_keys_guard_numbers_and_links_only():
    service = make_service(Keys())
    service.sample()
    for path in PATHS:
        closed = path in (b"/metrics", b"/edgewise/v1/links", b"/edgewise/v1/canaries")
        refused = page(service, path)
        assert refused.status == (401 if closed else 200)
        if closed:
            assert list(refused.json) == ["error"]
            assert refused.fields[b"www-authenticate"] == b"Bearer"
        assert page(service, path, x_api_key=b"right").status == 200
        assert page(service, path, authorization=b"Bearer right").status == 200


def test_links_as_json(service):
    for _ in range(40):
        service.router.links["cloud"].path("pets", 1).record(0.060, 1.0)
        answer(service, "cloud", 0.060)
    service.metrics.link_changed(LinkChanged(service.router.links["edge"], "UP", "DOWN", "silence", 1.0))
    service.sample()
    service.sample()
    view = page(service, b"/edgewise/v1/links").json
    assert view["requests"]["received"] == view["requests"]["answered"] == 40
    assert view["requests"]["in_flight"] == 0
    cloud, edge = view["sites"]
    assert (cloud["name"], cloud["tier"], cloud["rest"], cloud["grpc"]) == (
        *("cloud", "cloud", "https://models.example.com:443", "grpc://h:8500"),
    )
    assert cloud["state"] == "UP"
    assert set(cloud["latency_ms"]) == {"q50", "q95", "q99", "q999"}
    assert cloud["latency_ms"]["q50"] == pytest.approx(60, rel=0.02)
    assert cloud["models"][0]["model"] == "pets"
    assert edge["latency_ms"]["q50"] is None
    assert cloud["answered_per_s"] == [0, 40, 0]
    assert cloud["history"]["mean_ms"] == [None, 60.0, None]
    assert cloud["history"]["states"] == ["UP"] * 3
    (change,) = view["changes"]
    assert (change["site"], change["before"], change["after"], change["why"]) == ("edge", "UP", "DOWN", "silence")


def test_metrics_as_text(service):
    answer(service, "edge")
    asked = page(service, b"/metrics")
    assert asked.status == 200
    assert asked.fields[b"content-type"].startswith(b"text/plain")
    assert b'edgewise_gateway_requests_total{model="pets",outcome="answered",site="edge"} 1.0' in asked.body
    assert b"process_resident_memory_bytes" in asked.body
    answer(service, "edge")
    again = page(service, b"/metrics")
    assert b'edgewise_gateway_requests_total{model="pets",outcome="answered",site="edge"} 2.0' in again.body


def test_other_workers_are_asked(service):
    other = make_service()
    other.sample()
    for _ in range(3):
        answer(other, "edge")
    answer(service, "edge")
    for one in (service, other):
        one.sample()

    class Siblings:
        async def ask(self, question):
            return [json.loads(json.dumps(other.pages.answers[question]()))]

    service.pages.siblings = Siblings()

    async def ask():
        links, metrics = page(service, b"/edgewise/v1/links"), page(service, b"/metrics")
        assert links.status is None
        while links.status is None or metrics.status is None:  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0)
        return links.json, metrics.body

    view, text = asyncio.run(ask())
    assert view["gateway"]["workers"] == 2
    assert view["requests"]["answered"] == 4
    assert view["sites"][1]["answered"] == 4
    assert view["sites"][1]["limit"] == 2 * service.router.links["edge"].limit
    assert b"edgewise_gateway_workers 2.0" in text
    assert b'edgewise_gateway_requests_total{model="pets",outcome="answered",site="edge"} 4.0' in text


def test_a_fault_while_others_are_asked_is_an_answer(service, caplog):
    class Siblings:
        async def ask(self, question):
            raise RuntimeError("inner words")

    service.pages.siblings = Siblings()

    async def ask():
        asked = page(service, b"/metrics")
        while asked.status is None:  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0)
        return asked

    asked = asyncio.run(ask())
    assert asked.status == 500
    assert b"inner words" not in asked.body
    assert "inner words" in caplog.text


def test_the_page_is_self_contained_and_its_policy_fits(service):
    asked = page(service, b"/")
    assert asked.fields[b"content-type"] == b"text/html; charset=utf-8"
    text = asked.body.decode()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)
    assert not re.search(r"@import|url\(", text)
    # A policy by digest refuses these.
    assert not re.search(r"<[^>]+\s(?:style|on[a-z]+)\s*=", text)
    policy = asked.fields[b"content-security-policy"].decode()
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    for state in LinkState:
        assert f"{state.value}:" in text


def test_history_is_two_minutes(service):
    for _ in range(3 * SECONDS):
        service.sample()
    history = service.history.sites["edge"].shown()
    assert {len(values) for values in history.values()} == {SECONDS}


def test_history_starts_when_a_site_comes_and_ends_when_it_goes(service):
    service.router.links["new"] = Link(SiteSpec("new", "edge"), RouterSettings(), 0.0)
    service.sample()
    assert len(service.history.sites["new"].answered) == 1
    del service.router.links["new"]
    service.sample()
    assert set(service.history.sites) == {"cloud", "edge"}


def test_histories_of_processes_are_laid_over_one_another_at_their_end():
    long = {"answered": [1, 2, 3], "mean_ms": [10, 20, 30], "slowest_ms": [11, 22, 33], "failed": [0, 0, 1],
            "states": ["UP", "DOWN", "UP"]}  # fmt: skip
    short = {"answered": [1, 0], "mean_ms": [50, None], "slowest_ms": [55, None], "failed": [1, 0],
             "states": ["UP", "UP"]}  # fmt: skip
    assert added([long, short]) == {
        "answered": [1, 3, 3],
        "mean_ms": [10, 30, 30],
        "slowest_ms": [11, 55, 33],
        "failed": [0, 1, 1],
        "states": ["UP", "DOWN", "UP"],
    }


def test_a_worker_that_does_not_know_a_site_yet_does_not_matter(service):
    views = [own_view(service), own_view(make_service())]
    views[1]["sites"] = views[1]["sites"][:1]
    assert [site["name"] for site in merged_view(views)["sites"]] == ["cloud", "edge"]


def test_changes_of_all_workers_are_shown_newest_first(service):
    other = make_service()
    link = service.router.links["edge"]
    for number in range(MAX_CHANGES):
        for one in (service, other):
            one.metrics.link_changed(LinkChanged(link, "UP", "DOWN", "silence", float(number)))
    changes = merged_view([own_view(service), own_view(other)])["changes"]
    assert len(changes) == MAX_CHANGES
    assert changes == sorted(changes, key=lambda change: change["ago_s"])


def make_discovered():
    """A service with a site of two endpoints, one that has none, and one that is a single address."""
    configs = (
        SiteConfig("cloud", "cloud", Address("model-server.edgewise", 8501), discover="kubernetes"),
        SiteConfig("far", "cloud", Address("models", 80), discover="dns"),
        SiteConfig("edge", "edge", Address("127.0.0.1", 8501)),
    )
    specs = [SiteSpec(f"cloud/10.0.0.{number}:8501", "cloud", site="cloud") for number in (1, 2)]
    links = {spec.name: Link(spec, RouterSettings(), 0.0) for spec in (*specs, SiteSpec("edge", "edge"))}
    found = make_service()
    found.config = GatewayConfig(configs)
    found.router = SimpleNamespace(links=links)
    found.followed = {
        "cloud": SimpleNamespace(why="", since_s=0.0),
        "far": SimpleNamespace(why="the name models has no address", since_s=0.0),
    }
    lost = links["cloud/10.0.0.1:8501"]
    lost.state, lost.why = LinkState.DOWN, "silence"
    for number in range(5):
        links["cloud/10.0.0.2:8501"].path("pets", 0).latency.record(0.02, number * 0.1)
    found.sample()
    return found


def test_endpoints_are_shown_under_their_site():
    view = own_view(make_discovered())
    cloud, far, edge = view["sites"]
    assert [site["name"] for site in view["sites"]] == ["cloud", "far", "edge"]
    assert (cloud["state"], cloud["why"], cloud["discover"], cloud["problem"]) == ("UP", "start", "kubernetes", "")
    assert [(one["name"], one["state"], one["answers"]) for one in cloud["endpoints"]] == [
        ("10.0.0.1:8501", "DOWN", 0),
        ("10.0.0.2:8501", "UP", 5),
    ]
    assert cloud["limit"] == sum(one["limit"] for one in cloud["endpoints"])
    assert cloud["endpoints"][1]["latency_ms"]["q50"] == pytest.approx(20.0, rel=0.2)
    assert cloud["history"]["states"] == ["UP"]
    assert (far["state"], far["endpoints"], far["problem"]) == ("DOWN", [], "the name models has no address")
    assert far["history"]["states"] == ["DOWN"]
    assert (edge["state"], edge["endpoints"], edge["discover"]) == ("UP", [], None)


def test_endpoints_of_several_processes_are_added_up():
    first, second = make_discovered(), make_discovered()
    # The other worker has not heard of the second one yet, and knows a third.
    links = second.router.links
    links["cloud/10.0.0.3:8501"] = Link(SiteSpec("cloud/10.0.0.3:8501", "cloud", site="cloud"), RouterSettings(), 0.0)
    del links["cloud/10.0.0.2:8501"]
    cloud = merged_view([own_view(first), own_view(second)])["sites"][0]
    limits = {one["name"]: one["limit"] for one in cloud["endpoints"]}
    one_link = first.router.links["cloud/10.0.0.1:8501"].limit
    assert limits == {"10.0.0.1:8501": 2 * one_link, "10.0.0.2:8501": one_link}
    assert [one["answers"] for one in cloud["endpoints"]] == [0, 5]


def test_health_and_metrics_know_sites_and_how_many_endpoints_they_have():
    service = make_discovered()
    service.metrics.endpoints = {"cloud": {"ready": 2, "leaving": 1}, "far": {"ready": 0, "leaving": 0}}
    service.metrics.discovery_failed("far")
    assert page(service, b"/health").json["sites"] == [
        {"name": "cloud", "tier": "cloud", "state": "UP", "endpoints": 2},
        {"name": "far", "tier": "cloud", "state": "DOWN", "endpoints": 0},
        {"name": "edge", "tier": "edge", "state": "UP"},
    ]
    text = page(service, b"/metrics").body.decode()
    for line in (
        'edgewise_gateway_endpoints{site="cloud",state="ready"} 2.0',
        'edgewise_gateway_endpoints{site="cloud",state="leaving"} 1.0',
        'edgewise_gateway_discovery_failures_total{site="far"} 1.0',
        'edgewise_gateway_discovery_failures_total{site="cloud"} 0.0',
        'edgewise_gateway_link_state{site="cloud",state="DOWN",tier="cloud"} 1.0',
        'edgewise_gateway_link_state{site="cloud",state="UP",tier="cloud"} 1.0',
        'edgewise_gateway_link_state{site="far",state="UP",tier="cloud"} 0.0',
        'edgewise_gateway_learned_latency_seconds{model="pets",quantile="0.5",site="cloud",under_bytes="1024"}',
    ):
        assert line in text
    assert "10.0.0." not in text
