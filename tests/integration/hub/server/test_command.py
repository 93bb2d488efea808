"""`edgewise hub init`, `serve` and `token`: beginning, ready, and an orderly end."""

import json
import signal
import ssl
import stat
import threading

import pytest

from edgewise.hub.store.store import Store
from support.api_world import joined, sha256
from support.waiting import wait_for


def files(directory):
    return {path.name for path in directory.iterdir()}


def test_a_hub_on_one_machine(edgewise, tmp_path):
    token = edgewise.init("--url", "https://hub.example.com")
    assert files(tmp_path / "hub") == {
        *("hub.json", "hub.sqlite", "lock", "online.key", "desired.key", "public-keys.json", "tuf")
    }
    assert stat.S_IMODE((tmp_path / "hub").stat().st_mode) == 0o700
    for name in ("hub/online.key", "hub/desired.key", "hub/hub.sqlite", "hub-trust/root.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with edgewise.serving() as hub, hub.client(token) as client:
        assert client.get("/healthz").json() == {"live": True}
        word = client.post("/api/v1/enrollments", json={"site": "a", "tier": "edge"}).json()["enrollment"]
        assert word.startswith("ew1.")
        assert client.get("/login").status_code == 200
    assert "holds a hub already" in edgewise("hub", "init", "--state", "hub", code=1)


def test_a_hub_whose_offline_keys_are_on_another_machine(edgewise, tmp_path):
    said = edgewise("hub", "init", "--state", "hub")
    assert "public-keys.json" in said
    assert "make one: edgewise hub init" not in said
    keys = (tmp_path / "hub" / "online.key").read_bytes()
    assert "edgewise hub init --state hub --signed COPY" in edgewise("hub", "serve", "--state", "hub", code=1)

    said = edgewise("hub", "trust", "create", "trust", "--keys", "hub/public-keys.json")
    assert "--signed COPY" in said
    assert "holds trust already" in edgewise(
        "hub", "trust", "create", "trust", "--keys", "hub/public-keys.json", code=1
    )
    assert "the offline keys themselves" in edgewise("hub", "init", "--state", "hub", "--signed", "trust", code=1)
    (tmp_path / "copy").mkdir()
    for name in ("metadata", "targets"):
        said = edgewise("hub", "init", "--state", "hub", "--signed", "copy", code=1)
        assert f"--signed copy: there is no folder {name} in it" in said
        (tmp_path / "trust" / name).rename(tmp_path / "copy" / name)
    assert "ewt_" in edgewise("hub", "init", "--state", "hub", "--signed", "copy")
    assert (tmp_path / "hub" / "online.key").read_bytes() == keys
    with edgewise.serving():
        pass


def test_what_was_signed_for_another_hub(edgewise, tmp_path):
    edgewise.init(state="other")
    edgewise("hub", "init", "--state", "hub")
    (tmp_path / "copy").mkdir()
    for name in ("metadata", "targets"):
        (tmp_path / "other-trust" / name).rename(tmp_path / "copy" / name)
    assert "was signed for another hub" in edgewise("hub", "init", "--state", "hub", "--signed", "copy", code=1)


def test_an_init_that_was_cut_short_is_gone_on_with(edgewise, tmp_path):
    edgewise.init()
    (tmp_path / "hub" / "tuf" / "metadata" / "timestamp.json").unlink()
    token = edgewise.init()
    with edgewise.serving() as hub, hub.client(token) as client:
        assert client.get("/api/v1/tokens").status_code == 200


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("serve", "--state", "nowhere"), "holds no hub"),
        (("init", "--state", "hub", "--url", "hub.example.com"), "--url hub.example.com: expected an address"),
        (("init", "--state", "hub", "--with-offline-keys", "hub/trust"), "lies in the hub's own directory"),
        (
            ("init", "--state", "hub", "--with-offline-keys", "t", "--database", "mysql://x/y"),
            "expected sqlite:///FILE",
        ),
        (("serve", "--state", "nowhere", "--tls-cert", "x"), "--tls-cert and --tls-key go together"),
        (("token", "create", "x", "--role", "viewer", "--state", "nowhere"), "holds no hub"),
        (("trust", "renew", "nowhere"), "holds no trust"),
        (("backup", "file", "--state", "nowhere"), "holds no hub"),
        (("restore", "file", "--state", "new"), "file cannot be restored"),
    ],
)
def test_wrong_words(edgewise, words, message):
    assert message in edgewise("hub", *words, code=1)


def test_wrong_words_that_are_no_words(edgewise):
    for words in (("serve",), ("serve", "--state", "hub", "--port", "x"), ("token", "create", "x", "--state", "hub")):
        edgewise("hub", *words, code=2)


def test_two_hubs_cannot_have_one_directory(edgewise):
    edgewise.init()
    with edgewise.serving():
        assert "a hub is running on hub" in edgewise("hub", "serve", "--state", "hub", "--port", "0", code=1)
        assert "a hub is running" in edgewise(
            "hub", "token", "create", "x", "--role", "admin", "--state", "hub", code=1
        )


def test_a_hub_whose_database_another_one_has_opened_ends(edgewise, tmp_path):
    edgewise.init()
    with edgewise.serving(stop=False) as hub:
        Store(f"sqlite:///{tmp_path / 'hub' / 'hub.sqlite'}").close()
        assert hub.process.wait(30) == 1
    assert "another hub has opened the database" in edgewise.log


def test_a_port_that_is_taken(edgewise):
    edgewise.init()
    edgewise.init(state="second")
    with edgewise.serving() as hub:
        port = hub.url.rpartition(":")[2]
        assert f"cannot listen on 127.0.0.1:{port}" in edgewise(
            "hub", "serve", "--state", "second", "--port", port, code=1
        )


def test_tokens_over_the_api_and_without_it(edgewise, tmp_path):
    token = edgewise.init()
    (tmp_path / "admin.token").write_text(token)
    (tmp_path / "admin.token").chmod(0o600)
    with edgewise.serving() as hub:
        there = ("--hub", hub.url, "--token-file", "admin.token")
        olga = edgewise("hub", "token", "create", "olga", "--role", "operator", "--expires", "90d", *there).strip()
        with hub.client(olga) as client:
            assert client.get("/api/v1/sites").status_code == 200
            assert "olga" in edgewise("hub", "token", "list", *there)
            listed = json.loads(edgewise("hub", "token", "list", "--json", *there))
            assert {one["name"]: one["role"] for one in listed} == {"admin": "admin", "olga": "operator"}
            edgewise("hub", "token", "revoke", "olga", *there)
            assert client.get("/api/v1/sites").status_code == 401
    again = edgewise("hub", "token", "create", "admin", "--role", "admin", "--state", "hub").strip()
    with edgewise.serving() as hub, hub.client(again) as client, hub.client(token) as before:
        assert client.get("/api/v1/sites").status_code == 200
        assert before.get("/api/v1/sites").status_code == 401


def test_a_signal_ends_it_also_while_polls_wait(edgewise):
    token = edgewise.init()
    with edgewise.serving(stop=False) as hub, hub.client(token) as client:
        word = client.post("/api/v1/enrollments", json={"site": "a", "tier": "edge"}).json()["enrollment"]
        site_token = joined(client, word)
        statuses = []

        def poll():
            with hub.client(site_token) as site:
                etag = site.get("/api/v1/sites/a/desired").headers["etag"]
                answer = site.get("/api/v1/sites/a/desired?wait_s=300", headers={"if-none-match": etag})
                statuses.append(answer.status_code)

        thread = threading.Thread(target=poll)
        thread.start()
        wait_for(lambda: "edgewise_hub_waiting_polls 1.0" in client.get("/metrics").text)
        hub.process.send_signal(signal.SIGTERM)
        thread.join()
        assert statuses == [304]
        assert hub.process.wait(30) == 0


def test_a_hub_that_is_killed_in_an_upload_has_nothing_half(edgewise, tmp_path):
    token = edgewise.init()
    content = b"x" * 5_000_000
    incoming = tmp_path / "hub" / "blobs" / "incoming"
    with edgewise.serving(stop=False) as hub:

        def pieces():
            yield content[:4_000_000]
            wait_for(lambda: any(path.stat().st_size > 0 for path in incoming.iterdir()))
            hub.process.kill()
            yield content[4_000_000:]

        with hub.client(token) as client, pytest.raises(Exception, match=r"."):
            client.put(f"/blobs/sha256/{sha256(content)}", content=pieces())
        assert hub.process.wait(30) == -signal.SIGKILL
        assert len(list(incoming.iterdir())) == 1
    with edgewise.serving() as hub, hub.client(token) as client:
        assert list(incoming.iterdir()) == []
        assert client.head(f"/blobs/sha256/{sha256(content)}").status_code == 404
        assert client.put(f"/blobs/sha256/{sha256(content)}", content=content).status_code == 201


def test_https_and_a_certificate_that_is_replaced(edgewise, tmp_path, authority):
    token = edgewise.init()
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    ours = authority("hub-ca")
    first, second = ours.leaf("first"), ours.leaf("second")

    def install(pair):
        key.write_bytes(pair[1].read_bytes())
        certificate.write_bytes(pair[0].read_bytes())

    install(first)
    trusted = ssl.create_default_context(cafile=str(ours.certificate))
    with edgewise.serving("--tls-cert", "tls.pem", "--tls-key", "tls.key") as hub:
        assert hub.url.startswith("https://")
        with hub.client(token, verify=trusted) as client:
            answer = client.get("/api/v1/sites")
            assert (answer.status_code, answer.headers["strict-transport-security"]) == (200, "max-age=31536000")
        install(second)

        def presented():
            with hub.client(token, verify=trusted) as client, client.stream("GET", "/healthz") as answer:
                return answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()["subject"]

        wait_for(lambda: "second" in str(presented()))
    (tmp_path / "tls.key").write_text("no key")
    assert "tls.key" in edgewise(
        "hub", "serve", "--state", "hub", "--tls-cert", "tls.pem", "--tls-key", "tls.key", code=1
    )


def test_plain_http_to_a_network_is_warned_of(edgewise):
    edgewise.init()
    with edgewise.serving("--host", "0.0.0.0"):
        pass
    assert "tokens travel unencrypted" in edgewise.log


def test_a_proxy_says_where_requests_come_from(edgewise):
    token = edgewise.init()
    forwarded = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}
    for words, address in (((), "127.0.0.1"), (("--trusted-proxy", "127.0.0.1"), "198.51.100.7")):
        with edgewise.serving(*words) as hub, hub.client(token) as client:
            client.post("/api/v1/enrollments", json={"site": "a", "tier": "edge"}, headers=forwarded)
            (newest,) = client.get("/api/v1/audit?limit=1").json()
            assert newest["address"] == address
