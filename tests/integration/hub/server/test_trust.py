"""Keys are replaced, floors are set, and signatures renewed, with the commands; agents follow."""

import hashlib
import json

import pytest

from edgewise.agent.trust.releases import TrustedReleases
from edgewise.agent.trust.source import HubSource
from support.api_world import joined


@pytest.fixture
def hub(edgewise, tmp_path):
    token = edgewise.init()
    (tmp_path / "admin.token").write_text(token)
    (tmp_path / "admin.token").chmod(0o600)
    return Hub(edgewise, tmp_path, token)


class Hub:
    """Runs, is asked and is started again, while one site looks at it now and then."""

    def __init__(self, edgewise, directory, token):
        self.edgewise = edgewise
        self.directory = directory
        self.token = token
        self.site_token = ""

    def hand_in(self, serving, *words):
        return self.edgewise(
            "hub", "trust", "hand-in", "hub-trust", *words, "--hub", serving.url, "--token-file", "admin.token"
        )

    def trust(self, *words, code=0):
        return self.edgewise("hub", "trust", *words, code=code)

    def look(self, serving):
        """What a site makes of the hub: versions, and the desired state."""
        with serving.client(self.token) as client:
            root = client.get("/tuf/metadata/1.root.json").content
            if not self.site_token:
                word = client.post("/api/v1/enrollments", json={"site": "a", "tier": "edge"}).json()["enrollment"]
                self.site_token = joined(client, word)
        with serving.client(self.site_token) as client:
            trusted = TrustedReleases(
                self.directory / "site",
                serving.url,
                HubSource(client),
                site="a",
                root_sha256=hashlib.sha256(root).hexdigest(),
            )
            trusted.refresh()
            assert trusted.may_install() == ""
            desired = trusted.open_desired(client.get("/api/v1/sites/a/desired").content)
            return trusted, desired


def test_every_offline_key_is_replaced_while_sites_look(hub):
    with hub.edgewise.serving() as serving:
        hub.look(serving)
        for words in (("rotate", "root", "hub-trust"), ("rotate", "targets", "hub-trust"), ("renew", "hub-trust")):
            assert "hand-in" in hub.trust(*words)
            assert "the hub took" in hub.hand_in(serving)
            hub.look(serving)
        assert hub.hand_in(serving) == "the hub had all of it\n"
        trusted, _ = hub.look(serving)
        assert trusted.versions()["root"] == 4


def test_a_stolen_targets_key_is_replaced_root_first(hub):
    with hub.edgewise.serving() as serving:
        hub.trust("rotate", "targets", "hub-trust")
        assert "1 roots and targets.json" in hub.hand_in(serving, "--root-first")
        hub.look(serving)


@pytest.mark.parametrize("then", [("rotate", "targets", "hub-trust"), ("floor", "hub-trust", "pets=2")])
def test_what_was_signed_twice_since_the_hub_was_asked_finds_its_order(hub, then):
    """The hub knows the key of neither: the roots that name them go first."""
    with hub.edgewise.serving() as serving:
        hub.look(serving)
        hub.trust("rotate", "targets", "hub-trust")
        hub.trust(*then)
        hub.trust("rotate", "root", "hub-trust")
        assert "roots and targets.json" in hub.hand_in(serving)
        trusted, _ = hub.look(serving)
        assert trusted.versions()["root"] == (4 if then[0] == "rotate" else 3)
        hub.trust("floor", "hub-trust", "pets=3")
        assert hub.hand_in(serving) == "the hub took targets.json\n"
        assert hub.look(serving)[0].floor("pets") == 3


def test_a_floor(hub):
    with hub.edgewise.serving() as serving:
        assert "floors: pets 2" in hub.trust("floor", "hub-trust", "pets=2", "cats=0")
        hub.hand_in(serving)
        trusted, _ = hub.look(serving)
        assert trusted.floor("pets") == 2
        hub.trust("floor", "hub-trust", "pets=0")
        hub.hand_in(serving)
        trusted, _ = hub.look(serving)
        assert trusted.floor("pets") == 0
    hub.trust("floor", "hub-trust", "pets", code=2)


def test_the_hubs_own_keys_are_replaced(hub):
    def newest():
        return json.loads((hub.directory / "hub" / "public-keys.json").read_text())

    before = newest()
    with hub.edgewise.serving() as serving:
        hub.look(serving)
    for kind in ("online", "desired"):
        hub.edgewise("hub", "new-key", kind, "--state", "hub")
        hub.trust("rotate", kind, "hub-trust", "--keys", "hub/public-keys.json")
    assert newest()["online"] != before["online"]
    with hub.edgewise.serving() as serving:
        hub.hand_in(serving)
        hub.look(serving)
    # Both keys are believed until the old one is taken away.
    for name in ("online.key", "desired.key"):
        (hub.directory / "hub" / name).unlink()
    hub.trust("rotate", "desired", "hub-trust", "--keys", "hub/public-keys.json", "--only")
    with hub.edgewise.serving() as serving:
        hub.hand_in(serving)
        trusted, desired = hub.look(serving)
        assert desired.site == "a"
        assert trusted.versions()["root"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rotate", "root", "hub-trust", "--keys", "hub/public-keys.json"), "--keys FILE goes with online and desired"),
        (("rotate", "online", "hub-trust"), "--keys FILE goes with online and desired"),
        (("rotate", "root", "hub-trust", "--only"), "--only goes with desired"),
        (("rotate", "online", "hub-trust", "--keys", "hub/hub.json"), "format"),
        (("rotate", "online", "hub-trust", "--keys", "nothing"), "nothing cannot be read"),
    ],
)
def test_wrong_words(hub, words, message):
    assert message in hub.trust(*words, code=1)


def test_a_key_that_sites_do_not_believe_stops_the_hub_from_starting(hub):
    hub.edgewise("hub", "new-key", "desired", "--state", "hub")
    (hub.directory / "hub" / "desired.key").unlink()
    assert "sites would believe nothing" in hub.edgewise("hub", "serve", "--state", "hub", code=1)


def test_another_operators_signatures(hub):
    hub.edgewise.init(state="other")
    with hub.edgewise.serving() as serving:
        said = hub.edgewise(
            *("hub", "trust", "hand-in", "other-trust", "--hub", serving.url, "--token-file", "admin.token"), code=1
        )
    assert "follows other keys" in said
