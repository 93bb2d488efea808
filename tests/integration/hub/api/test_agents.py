"""What agents ask, over sockets."""

import hashlib
import threading

import httpx
import pytest

from edgewise.agent.site.identity import parse_enrollment
from edgewise.agent.trust.releases import TrustedReleases
from edgewise.agent.trust.source import HubSource
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.reports import Progress
from edgewise.core.rollout.site_state import SiteState
from edgewise.trust.keys import SigningKey
from support.api_world import opened_word
from support.control_world import QUIET, opened
from support.waiting import wait_for


def enrollment(world, site, **more):
    return world.admin.post("/api/v1/enrollments", json={"site": site, "tier": "edge", **more}).json()["enrollment"]


def joined(world, token, **more):
    told = {"token": token, "public_key": SigningKey.generated().public_hex, "tier": "edge", **more}
    return world.nobody.post("/api/v1/enroll", json=told)


def test_a_site_joins_with_the_word_that_its_agent_reads(world):
    word = enrollment(world, "join-1", labels={"region": "eu"})
    read = parse_enrollment(word)
    root = world.viewer.get("/tuf/metadata/1.root.json").content
    assert (read.hub, read.site, read.root_sha256) == (world.url, "join-1", hashlib.sha256(root).hexdigest())

    answer = joined(world, read.token, labels={"gpu": "none", "region": "us"})
    assert answer.json()["site"] == "join-1"
    client = world.client(answer.json()["site_token"])
    assert client.get("/api/v1/sites/join-1/desired").status_code == 200
    assert world.viewer.get("/api/v1/sites/join-1").json()["labels"] == {"region": "eu", "gpu": "none"}


def test_replayed_enrolment_token(world):
    token = opened_word(enrollment(world, "replayed"))["token"]
    assert joined(world, token).status_code == 200

    answer = joined(world, token)
    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")
    assert "was used already" in answer.json()["error"]


def test_who_tries_many_enrolments_is_held_up_and_sites_from_there_are_not(world, monkeypatch):
    site = world.site("held-up")
    monkeypatch.setattr(world.hub.guard.attempts, "_full_s", type(world.hub.guard.attempts._full_s)())
    statuses = [joined(world, f"ewe_{number}").status_code for number in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    assert int(joined(world, "ewe_more").headers["retry-after"]) >= 1
    assert world.nobody.get("/api/v1/sites", headers={"authorization": "Bearer x"}).status_code == 429
    assert site.client.get("/api/v1/sites/held-up/desired").status_code == 200
    assert world.viewer.get("/api/v1/sites").status_code == 200


def test_a_desired_state_is_sent_once(world):
    site = world.site("etag")
    first = site.client.get("/api/v1/sites/etag/desired")
    etag = first.headers["etag"]
    assert opened(first.content).site == "etag"
    assert etag.startswith('"')

    for known in (etag, f'"other", {etag}', f"W/{etag}"):
        again = site.client.get("/api/v1/sites/etag/desired", headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert site.client.get("/api/v1/sites/etag/desired", headers={"if-none-match": '"x"'}).status_code == 200


def test_a_poll_ends_when_its_time_is_over(world):
    site = world.site("patient")
    etag = site.client.get("/api/v1/sites/patient/desired").headers["etag"]
    answer = site.client.get("/api/v1/sites/patient/desired?wait_s=0.2", headers={"if-none-match": etag})
    assert answer.status_code == 304
    assert world.hub.sites.count == 0


def test_a_poll_wakes_when_the_site_is_told_something(world):
    world.publish(1)
    sites = [world.site(f"poll-{number}", poll="yes") for number in range(3)]
    told = {}

    def poll(site):
        etag = site.client.get(f"/api/v1/sites/{site.name}/desired").headers["etag"]
        path = f"/api/v1/sites/{site.name}/desired?wait_s=60"
        told[site.name] = site.client.get(path, headers={"if-none-match": etag})

    threads = [threading.Thread(target=poll, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    wait_for(lambda: world.hub.sites.count == 3)
    text = f"model: pets\nversion: 1\nwaves: [{{name: all, sites: poll=yes, at_once: 100%}}]\n{QUIET}"
    asked = {"specification": text, "format": "yaml", "start": True}
    name = world.operator.post("/api/v1/rollouts", json=asked).json()["name"]
    for thread in threads:
        thread.join()
    for site in sites:
        (order,) = opened(told[site.name].content).orders
        assert (order.rollout, order.version) == (name, 1)
    assert world.hub.sites.count == 0


def test_many_polls_wait_without_threads(world):
    site = world.site("crowd")
    etag = site.client.get("/api/v1/sites/crowd/desired").headers["etag"]
    head = (
        f"GET /api/v1/sites/crowd/desired?wait_s=60 HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {site.token}\r\n"
        f"if-none-match: {etag}\r\n\r\n"
    ).encode()
    before = threading.active_count()
    connections = [world.connect() for _ in range(200)]
    for connection in connections:
        connection.sendall(head)
    wait_for(lambda: world.hub.sites.count == 200)
    assert threading.active_count() <= before + 1
    # Who goes away is not waited for.
    for connection in connections:
        connection.close()
    wait_for(lambda: world.hub.sites.count == 0)


def test_a_report_counts_once(world):
    site = world.site("reporting")
    envelope = site.sealed()
    for _ in range(3):
        answer = site.client.post("/api/v1/sites/reporting/reports", content=envelope)
        assert (answer.status_code, answer.json()) == (200, {"sequence": 1})
    later = site.sealed()
    assert site.client.post("/api/v1/sites/reporting/reports", content=later).json() == {"sequence": 2}
    assert site.client.post("/api/v1/sites/reporting/reports", content=envelope).json() == {"sequence": 2}


def test_forged_report_from_another_site(world):
    honest, forger = world.site("honest"), world.site("forger")
    # Under its own path, as another site.
    answer = forger.client.post("/api/v1/sites/forger/reports", content=forger.sealed(site="honest"))
    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")
    # Under the other site's path.
    assert forger.client.post("/api/v1/sites/honest/reports", content=forger.sealed()).status_code == 403
    # With the other site's token, and its own key.
    assert honest.client.post("/api/v1/sites/honest/reports", content=forger.sealed(site="honest")).status_code == 403
    assert world.viewer.get("/api/v1/sites/honest").json()["reported_s"] is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"payloadType": 5}', b"\xff" * 100])
def test_reports_that_are_none(world, content):
    site = world.site("garbled")
    answer = site.client.post("/api/v1/sites/garbled/reports", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")


def test_a_report_shows_in_the_rollout(world):
    world.publish(7)
    site = world.site("shown", shown="yes")
    text = f"model: pets\nversion: 7\nwaves: [{{name: all, sites: shown=yes}}]\n{QUIET}"
    asked = {"specification": text, "format": "yaml", "start": True, "name": "shown"}
    assert world.operator.post("/api/v1/rollouts", json=asked).status_code == 201
    progress = Progress("shown", SiteState.DOWNLOADING, Want.STAGE, bytes_done=3, bytes_total=6)
    site.client.post("/api/v1/sites/shown/reports", content=site.sealed(progress)).raise_for_status()
    (one,) = world.viewer.get("/api/v1/rollouts/shown").json()["sites"]
    assert (one["state"], one["bytes_done"], one["bytes_total"]) == ("Downloading", 3, 6)


def test_a_person_who_reads_a_desired_state_is_not_taken_for_the_site(world):
    world.site("watched")
    assert world.operator.get("/api/v1/sites/watched/desired").status_code == 200
    assert world.viewer.get("/api/v1/sites/watched").json()["heard_s"] is None


def test_an_agent_trusts_what_the_hub_gives_out(world, tmp_path):
    manifest = world.publish(20)
    assert manifest.json()["releases"] == ["pets/20"]
    site = world.site("trusting")
    root_sha256 = hashlib.sha256(world.viewer.get("/tuf/metadata/1.root.json").content).hexdigest()
    with httpx.Client(headers={"authorization": f"Bearer {site.token}"}) as client:
        trusted = TrustedReleases(
            tmp_path / "tuf", world.url, HubSource(client), site="trusting", root_sha256=root_sha256
        )
        trusted.refresh()
        known = world.viewer.get("/api/v1/releases/pets/20").json()
        assert trusted.manifest("pets", 20, known["manifest_sha256"]).name == "pets/20"
        answer = client.get(f"{world.url}/api/v1/sites/trusting/desired")
        assert trusted.open_desired(answer.content).site == "trusting"
