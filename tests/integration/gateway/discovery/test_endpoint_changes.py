"""What changes of endpoints do to connections, links and counts, with a source that says what the test wants."""

import asyncio
import contextlib
import socket
from dataclasses import replace
from typing import ClassVar

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.routing.calls import Request
from edgewise.core.routing.routes import DEFAULT_ROUTE
from edgewise.gateway import assembly as assembly_module
from edgewise.gateway.assembly import Assembly
from edgewise.gateway.config import Address, GatewayConfig, SiteConfig
from edgewise.gateway.endpoints import Endpoint
from edgewise.gateway.followed_site import MAX_ENDPOINTS, source_of
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.site import Site
from support.waiting import until

CLOUD = SiteConfig("cloud", "cloud", rest=Address("models", 80), discover="dns")
EDGE = SiteConfig("edge", "edge", rest=Address("127.0.0.1", 9))


class Source:
    """Says what the test says."""

    made: ClassVar = []

    def __init__(self, config):
        self.config = config
        self.listener = None
        self.hints = 0
        self.closed = False
        self.first = ()
        self.made.append(self)

    def start(self, listener):
        self.listener = listener
        if self.first is not None:
            listener.found(self.first)

    def hint(self):
        self.hints += 1

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def sources(monkeypatch):
    monkeypatch.setattr(Source, "made", [])
    monkeypatch.setattr(assembly_module, "source_of", Source)
    return Source.made


def endpoints(*ports):
    return tuple(Endpoint("127.0.0.1", port) for port in ports)


@contextlib.asynccontextmanager
async def assembled(*configs, first=()):
    made = Assembly(GatewayOptions(cloud=("http://models:80",)), GatewayConfig(configs))
    for source in Source.made:
        source.first = first
    await made.start()
    try:
        yield made, made.service
    finally:
        await made.close()


def names(service):
    return list(service.router.links)


def test_links_come_and_go_and_the_others_stay_as_they_are():
    async def main():
        async with assembled(CLOUD, EDGE, first=endpoints(1, 2)) as (_, service):
            assert names(service) == ["cloud/127.0.0.1:1", "cloud/127.0.0.1:2", "edge"]
            assert [link.site for link in service.router.links.values()] == ["cloud", "cloud", "edge"]
            links, sites = dict(service.router.links), dict(service.sites)
            (source,) = Source.made
            source.listener.found(endpoints(2, 3))
            await until(lambda: "cloud/127.0.0.1:3" in service.router.links)
            # In the order of the config, whatever came when.
            assert names(service) == ["cloud/127.0.0.1:2", "cloud/127.0.0.1:3", "edge"]
            for name in ("cloud/127.0.0.1:2", "edge"):
                assert service.router.links[name] is links[name]
                assert service.sites[name] is sites[name]
            assert service.metrics.endpoints["cloud"]["ready"] == 2
            gone = sites["cloud/127.0.0.1:1"]
            await until(lambda: service.carrier.sites.get(gone.name) is not gone)
            assert service.metrics.endpoints["cloud"] == {"ready": 2, "leaving": 0}
            assert set(service.metrics.sites) == {"cloud", "edge"}

    asyncio.run(main())


class Counting:
    """A carrier that keeps what it was told to take over."""

    def __init__(self, carrier):
        self.carrier = carrier
        self.taken = []

    def reconfigure(self, sites, specs):
        self.taken.append(list(sites))
        self.carrier.reconfigure(sites, specs)

    def __getattr__(self, name):
        return getattr(self.carrier, name)


def test_a_burst_is_taken_over_once():
    async def main():
        async with assembled(CLOUD, first=endpoints(1)) as (_, service):
            service.carrier = carrier = Counting(service.carrier)
            taken = carrier.taken
            (source,) = Source.made
            for ports in ((1, 2), (1, 2, 3), (2, 3), (3,), (3, 4)):
                source.listener.found(endpoints(*ports))
            await until(lambda: taken)
            assert taken == [["cloud/127.0.0.1:3", "cloud/127.0.0.1:4"]]
            # Away and back before anybody looked: nothing has changed.
            link = service.router.links["cloud/127.0.0.1:3"]
            source.listener.found(())
            source.listener.found(endpoints(3, 4))
            source.listener.found(endpoints(3, 4, 5))
            await until(lambda: len(taken) == 2)
            assert service.router.links["cloud/127.0.0.1:3"] is link

    asyncio.run(main())


def test_no_endpoint_at_all():
    async def main():
        async with assembled(CLOUD, EDGE) as (_, service):
            assert names(service) == ["edge"]
            assert service.carrier.absent_tiers == {"cloud"}
            assert [site["state"] for site in service.snapshots()] == ["DOWN", "UP"]
            (source,) = Source.made
            source.listener.found(endpoints(1))
            await until(lambda: len(names(service)) == 2)
            assert service.carrier.absent_tiers == frozenset()
            source.listener.found(())
            await until(lambda: names(service) == ["edge"])
            assert service.carrier.absent_tiers == {"cloud"}

    asyncio.run(main())


def test_failed_looks_are_counted_and_keep_what_is_known(caplog):
    async def main():
        async with assembled(CLOUD, first=endpoints(1)) as (_, service):
            (source,) = Source.made
            for _ in range(3):
                source.listener.failed("nobody there")
            assert service.metrics.discovery_failures == {"cloud": 3}
            assert names(service) == ["cloud/127.0.0.1:1"]
            assert service.followed["cloud"].why == "nobody there"
            assert caplog.text.count("site cloud: nobody there; the 1 known endpoints stay") == 1
            source.listener.found(endpoints(1))
            assert service.followed["cloud"].why == ""

    asyncio.run(main())


def test_a_connection_that_cannot_be_made_has_it_look_sooner():
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        async with assembled(CLOUD, first=endpoints(port)):
            (source,) = Source.made
            await until(lambda: source.hints > 0)

    asyncio.run(main())


def test_endpoints_are_bounded(caplog):
    async def main():
        many = tuple(Endpoint(f"127.1.{number >> 8}.{number & 255}", 9) for number in range(MAX_ENDPOINTS + 5))
        async with assembled(CLOUD) as (assembly, service):
            service.carrier.close()
            (source,) = Source.made
            source.listener.found(many)
            assert len(assembly.service.followed["cloud"].endpoints) == MAX_ENDPOINTS
            assert f"has {MAX_ENDPOINTS + 5} endpoints; {MAX_ENDPOINTS} of them are used" in caplog.text
            source.listener.found(())

    asyncio.run(main())


def test_a_config_that_asks_the_same_is_not_looked_up_anew(tmp_path):
    key = tmp_path / "key"
    key.write_text("secret")

    def exchange_key():
        key.write_text("another-secret")

    async def main():
        async with assembled(CLOUD, first=endpoints(1)) as (assembly, service):
            (source,) = Source.made
            site = service.sites["cloud/127.0.0.1:1"]
            await assembly.reload(GatewayConfig((CLOUD, EDGE)))
            assert service.sites["cloud/127.0.0.1:1"] is site
            other = SiteConfig("cloud", "cloud", rest=Address("models", 80), discover="dns", api_key_file=key)
            await assembly.reload(GatewayConfig((other,)))
            keyed = service.sites["cloud/127.0.0.1:1"]
            assert keyed is not site
            assert keyed.authorization == b"Bearer secret"
            assert Source.made == [source]
            # A key that is exchanged reaches the endpoints too.
            exchange_key()
            assert await assembly.reload_changed_files()
            assert service.sites["cloud/127.0.0.1:1"].authorization == b"Bearer another-secret"
            await assembly.reload(
                GatewayConfig((SiteConfig("cloud", "cloud", rest=Address("others", 80), discover="dns"),))
            )
            assert (len(Source.made), source.closed) == (2, True)
            await assembly.reload(GatewayConfig((EDGE,)))
            assert all(one.closed for one in Source.made)
            assert names(service) == ["edge"]
            assert service.metrics.endpoints == {}

    asyncio.run(main())


def test_other_workers_tell_of_links_by_name():
    async def main():
        async with assembled(CLOUD, first=endpoints(1, 2)) as (assembly, service):
            assembly.told("cloud/127.0.0.1:1", "DOWN")
            assert str(service.router.links["cloud/127.0.0.1:1"].state) == "SUSPECT"
            assembly.told("cloud/127.0.0.1:7", "DOWN")  # known to another worker already
            assembly.told("cloud", "DOWN")

    asyncio.run(main())


def test_both_sides_of_an_endpoint():
    async def main():
        both = SiteConfig(
            "cloud", "cloud", rest=Address("models", 80), grpc=Address("models", 81), discover="dns", port_name=None
        )
        alone = SiteConfig("alone", "cloud", grpc=Address("models", 82), discover="dns")
        async with assembled(both, alone, first=(Endpoint("127.0.0.1", 80),)) as (_, service):
            site = service.sites["cloud/127.0.0.1:80"]
            assert site.rest.addresses.known == ((socket.AF_INET, ("127.0.0.1", 80)),)
            assert site.grpc._addresses.known == ((socket.AF_INET, ("127.0.0.1", 81)),)
            site = service.sites["alone/127.0.0.1:80"]
            assert site.rest is None
            assert site.grpc._addresses.known == ((socket.AF_INET, ("127.0.0.1", 80)),)

    asyncio.run(main())


def test_which_source(monkeypatch):
    service = SiteConfig("s", "cloud", rest=Address("a.b.svc", 80), discover="kubernetes")
    assert type(source_of(service)).__name__ == "KubernetesSource"
    assert type(source_of(CLOUD)).__name__ == "DnsSource"
    monkeypatch.setattr("edgewise.gateway.discovery.importlib.util.find_spec", lambda name: None)
    with pytest.raises(FailedPreconditionError, match="takes the package kubernetes"):
        source_of(service)


def test_a_config_that_changes_no_connection_is_in_force():
    other = SiteConfig("other", "edge", rest=Address("127.0.0.1", 10))

    async def main():
        async with assembled(EDGE, other, CLOUD, first=endpoints(1)) as (assembly, service):
            router = service.router
            request = Request("m", DEFAULT_ROUTE, arrived_s=0.0, deadline_s=1.0)
            budget = router._budget(request)
            links = dict(router.links)
            await assembly.reload(GatewayConfig((other, EDGE, CLOUD)))
            # In the order of preference that is configured now, and hedged as routes say now.
            assert names(service) == ["other", "edge", "cloud/127.0.0.1:1"]
            assert dict(router.links) == links
            assert router._budget(request) is not budget

    asyncio.run(main())


def test_what_an_endpoint_that_left_is_busy_with_may_take_longer_than_routes_give_it(monkeypatch):
    looks = []
    busy = [True, True, True]

    def look(site):
        looks.append(site)
        return bool(busy) and busy.pop()

    monkeypatch.setattr(assembly_module, "_GOODBYE_LOOK_S", 0.01)
    monkeypatch.setattr(Site, "busy", property(look))

    async def main():
        async with assembled(CLOUD, first=endpoints(1, 2)) as (assembly, service):
            await assembly.reload(GatewayConfig((CLOUD,), route=replace(DEFAULT_ROUTE, deadline_s=0.001)))
            gone = service.sites["cloud/127.0.0.1:1"]
            (source,) = Source.made
            source.listener.found(endpoints(2))
            await until(lambda: gone.name not in service.sites)
            await until(lambda: gone.name not in service.carrier.sites)
            assert looks == 4 * [gone]

    asyncio.run(main())


def test_another_way_to_find_the_same_that_fails_costs_no_endpoint(monkeypatch):
    async def main():
        async with assembled(CLOUD, first=endpoints(1)) as (assembly, service):
            site = replace(CLOUD, discover="kubernetes")
            monkeypatch.setattr(Source, "start", start_in_vain)
            await assembly.reload(GatewayConfig((site,)))
            assert names(service) == ["cloud/127.0.0.1:1"]
            assert service.followed["cloud"].why == "forbidden"
            Source.made[-1].listener.found(())  # now it says so
            await until(lambda: not names(service))
            # Another name is another service.
            Source.made[-1].listener.found(endpoints(2))
            await until(lambda: names(service))
            await assembly.reload(GatewayConfig((replace(site, rest=Address("others", 80)),)))
            assert not names(service)

    def start_in_vain(source, listener):
        source.listener = listener
        listener.failed("forbidden")

    asyncio.run(main())
