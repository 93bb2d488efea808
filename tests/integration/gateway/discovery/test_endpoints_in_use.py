"""A gateway whose site has several endpoints: requests spread, and none is lost when one of them is."""

import http.client
import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from support.waiting import WAIT_S

PEER = Path(__file__).with_name("endpoint_peer.py")
SERVICE = "http://model-server.edgewise:8501"
CLOUD = "http+kubernetes://model-server.edgewise:8501"


class Peer:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, str(PEER)], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    @property
    def name(self):
        return f"127.0.0.1:{self.port}"

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.name}{path}", timeout=WAIT_S) as answer:
            return json.load(answer)

    def slice(self, **conditions):
        entry = {"addresses": ["127.0.0.1"], "conditions": conditions, "targetRef": {"uid": f"pod-{self.port}"}}
        return {"addressType": "IPv4", "ports": [{"name": "rest", "port": self.port}], "endpoints": [entry]}

    def close(self):
        self.process.kill()
        self.process.wait(WAIT_S)
        self.process.stdout.close()


@pytest.fixture
def peers():
    found = [Peer() for _ in range(3)]
    yield found
    for peer in found:
        peer.close()


class Load:
    """Apps that ask one after the other, and what they got."""

    def __init__(self, port, apps=6):
        self._port = port
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.statuses, self.endpoints, self.sites = Counter(), Counter(), Counter()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(apps)]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT_S)
        while not self._over.is_set():
            connection.request("POST", "/v1/models/m:predict", b'{"instances":[1]}')
            answer = connection.getresponse()
            answer.read()
            with self._lock:
                self.statuses[answer.status] += 1
                self.endpoints[answer.headers["x-endpoint"]] += 1
                self.sites[answer.headers["x-edgewise-site"]] += 1
        connection.close()

    def answers(self, peer):
        return self.endpoints[str(peer.port)]

    @property
    def count(self):
        return sum(self.statuses.values())

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()


@pytest.fixture
def load():
    begun = []

    def begin(gateway):
        begun.append(Load(gateway.rest_port))
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()


def endpoints_of(asked, site="cloud"):
    return {
        endpoint["name"]: endpoint
        for one in asked.links()["sites"]
        if one["name"] == site
        for endpoint in one["endpoints"]
    }


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_spread_and_one_that_is_killed_costs_none(api, peers, start_gateway, ask, until, load, workers):
    for number, peer in enumerate(peers):
        api.put(f"model-server-{number}", peer.slice())
    gateway = start_gateway("--cloud", CLOUD, "--workers", workers)
    watches = [api.watches.get(timeout=WAIT_S) for _ in range(int(workers))]
    asked = ask(gateway)
    # Each worker is asked now and then, and has heard of all of them.
    for _ in range(4 * int(workers)):
        until(lambda: {peer.name for peer in peers} == set(endpoints_of(asked)))
    work = load(gateway)
    until(lambda: all(work.answers(peer) >= 50 for peer in peers))

    killed = peers[1]
    killed.process.kill()
    killed.process.wait(WAIT_S)
    at_the_kill = work.count
    until(lambda: endpoints_of(asked)[killed.name]["state"] in {"DOWN", "PROBING"})
    until(lambda: work.count > at_the_kill + 300)
    # The API tells of it only now.
    one = api.objects["model-server-1"]
    for watch in watches:
        api.tell(watch, "DELETED", one)
    until(lambda: set(endpoints_of(asked)) == {peers[0].name, peers[2].name})
    until(lambda: work.count > at_the_kill + 600)
    work.stop()
    assert set(work.statuses) == {200}
    assert set(work.sites) == {"cloud"}

    metrics = asked.metrics()
    until(lambda: asked.metrics()["edgewise_gateway_endpoints{site=cloud,state=leaving}"] == 0)
    assert metrics["edgewise_gateway_endpoints{site=cloud,state=ready}"] == 2
    assert metrics["edgewise_gateway_requests_total{model=m,outcome=answered,site=cloud}"] == work.count
    assert metrics["edgewise_gateway_link_state"] == 2 * int(workers)
    assert metrics["edgewise_gateway_discovery_failures_total{site=cloud}"] == 0
    # The names of endpoints are many in the long run, so they are no labels.
    assert not [name for name in metrics if peers[0].name in name]
    assert gateway.stop() == 0


def test_one_that_drains_gets_nothing_new_and_finishes_what_it_has(
    api, peers, start_gateway, ask, until, load, in_thread
):
    for number, peer in enumerate(peers):
        api.put(f"model-server-{number}", peer.slice())
    gateway = start_gateway("--cloud", CLOUD, "--deadline-ms", "20000", "--request-log")
    watch = api.watches.get(timeout=WAIT_S)
    asked = ask(gateway)
    until(lambda: len(endpoints_of(asked)) == len(peers))
    held = in_thread(asked.predict, "held", headers={"x-edgewise-idempotent": "false"})
    until(lambda: held.done() or any(peer.get("/asked")["asked"] for peer in peers))
    assert not held.done(), held.result()
    (draining,) = [peer for peer in peers if peer.get("/asked")["asked"]]
    others = [peer for peer in peers if peer is not draining]
    work = load(gateway)
    until(lambda: all(work.answers(peer) >= 20 for peer in peers))

    number = peers.index(draining)
    api.change(watch, f"model-server-{number}", draining.slice(ready=False, serving=True, terminating=True))
    until(lambda: set(endpoints_of(asked)) == {peer.name for peer in others})
    assert asked.metrics()["edgewise_gateway_endpoints{site=cloud,state=leaving}"] == 1
    # Those that were under way there have been answered once the apps have asked twice more.
    before = work.count
    until(lambda: work.count > before + 20)
    then = draining.get("/asked")["asked"]
    until(lambda: work.count > before + 200)
    assert draining.get("/asked")["asked"] == then

    assert not held.done()
    draining.get("/release")
    answer = held.result(WAIT_S)
    assert (answer.status, answer.headers["x-endpoint"]) == (200, str(draining.port))
    until(lambda: asked.metrics()["edgewise_gateway_endpoints{site=cloud,state=leaving}"] == 0)

    # Back again: a new one as far as anybody can tell.
    api.change(watch, f"model-server-{number}", draining.slice())
    before = work.answers(draining)
    until(lambda: work.answers(draining) > before)
    work.stop()
    assert set(work.statuses) == {200}
    assert gateway.stop() == 0


def test_a_site_without_any_endpoint_yet(api, peers, start_gateway, ask, until, plain_site):
    gateway = start_gateway("--cloud", CLOUD)
    watch = api.watches.get(timeout=WAIT_S)
    asked = ask(gateway)
    assert "site cloud has no endpoint yet" in gateway.log
    answer = asked.predict()
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json == {"error": "no model server can be reached now; try again later"}
    assert asked.rest("/v2/health/ready").status == 503
    assert asked.rest("/health").json["sites"] == [{"name": "cloud", "tier": "cloud", "state": "DOWN", "endpoints": 0}]
    (site,) = asked.links()["sites"]
    assert (site["state"], site["why"], site["endpoints"]) == ("DOWN", "no endpoint is known", [])
    assert (site["discover"], site["limit"]) == ("kubernetes", 0)
    assert asked.predict(headers={"x-edgewise-route": "edge-only"}).json["error"].startswith("the gateway has no site")

    api.change(watch, "a", peers[0].slice())
    until(lambda: asked.rest("/v2/health/ready").status == 200)
    assert (asked.predict().status, asked.predict().site) == (200, "cloud")
    assert gateway.stop() == 0


def test_reloads_keep_endpoints_that_stay_as_they_are(api, peers, start_gateway, ask, until, tmp_path):
    def table(**more):
        words = {"name": "cluster", "tier": "cloud", "rest": SERVICE, "discover": "kubernetes", **more}
        return "[[site]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in words.items())

    for number, peer in enumerate(peers[:2]):
        api.put(f"model-server-{number}", peer.slice())
    config = tmp_path / "gateway.toml"
    config.write_text(table())
    gateway = start_gateway("--config", str(config))
    asked = ask(gateway)

    def reload(text, said):
        before = gateway.log.count(said)
        config.write_text(text)
        gateway.process.send_signal(1)
        until(lambda: gateway.log.count(said) > before)

    until(lambda: len(endpoints_of(asked, "cluster")) == 2)
    before = endpoints_of(asked, "cluster")
    reload(table() + '[route]\nkind = "prefer-edge"\n', "0 links new or changed, 0 gone or replaced")
    assert endpoints_of(asked, "cluster").keys() == before.keys()
    # The limits are of each endpoint; who answers is still known, so the API is not asked anew.
    lists = [one for one in list(api.asked.queue) if "watch" not in one[1]]
    reload(table(max_in_flight=7), "2 links new or changed, 2 gone or replaced")
    assert [one["limit"] for one in endpoints_of(asked, "cluster").values()] == [7, 7]
    assert [one for one in list(api.asked.queue) if "watch" not in one[1]] == lists
    reload(table(discover="dns", rest=f"http://localhost:{peers[2].port}"), "the config is in force")
    assert f"127.0.0.1:{peers[2].port}" in endpoints_of(asked, "cluster")
    assert asked.predict().headers["x-endpoint"] == str(peers[2].port)
    reload(table(rest="http://10.0.0.1:80"), "10.0.0.1 is an address, of which there is nothing to find")
    assert asked.predict().site == "cluster"
    assert gateway.stop() == 0


def test_dns_on_the_command_line(peers, start_gateway, ask):
    gateway = start_gateway("--edge", f"http+dns://localhost:{peers[0].port}")
    asked = ask(gateway)
    assert f"127.0.0.1:{peers[0].port}" in endpoints_of(asked, "edge")
    assert {asked.predict().site for _ in range(5)} == {"edge"}
    assert gateway.stop() == 0
