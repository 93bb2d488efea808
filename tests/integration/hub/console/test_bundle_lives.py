"""How long a bundle is good for: as long as whoever made it said, and no enemy gains from its being longer than a hub's day."""

import pytest

from edgewise.agent.bundles import BundleSource
from edgewise.core.errors import FailedPreconditionError, PermissionDeniedError
from edgewise.hub.console.publishing import publish
from edgewise.hub.console.trusted_hub import TrustedHub
from edgewise.hub.releases.making import make_release
from edgewise.protocols.documents import time_text
from support.bundle_world import SITE, desired, rewritten
from support.near_source import NearSource
from support.trust_world import DAY_S


@pytest.fixture
def near(hub):
    """The hub over a link."""
    return lambda: NearSource(hub.repository)


def hold(site):
    """Why the site installs nothing new, by what it has on its disk: metadata and orders."""
    trusted = site.trusted(BundleSource(site.state.root, frozenset()))
    return trusted.may_install() or trusted.stale(trusted.open_desired(site.state.desired.read_bytes()))


def test_a_bundle_of_twenty_days_is_taken_in_and_followed_until_its_last_day(bundle, site, clock):
    file = bundle()
    clock.now_s += 20 * DAY_S

    assert (site.take(file).hold, hold(site)) == ("", "")
    clock.now_s += 10 * DAY_S - 1
    assert hold(site) == ""
    clock.now_s += 1
    assert "the timestamp metadata have expired at " in hold(site)


def test_a_bundle_of_thirty_one_days_is_refused_with_the_day(bundle, site, clock):
    file, until = bundle(), time_text(clock() + 30 * DAY_S)
    clock.now_s += 31 * DAY_S
    before = site.files()

    with pytest.raises(FailedPreconditionError) as refused:
        site.take(file)
    assert refused.value.message == (
        f"{file}: the hub's timestamp.json leads to metadata that have expired at {until} "
        "(the bundle was good until then; export a new one); nothing new is installed"
    )
    assert [name for name in site.files() if name not in before and not name.startswith("tuf/")] == []


@pytest.mark.parametrize("life_s", [3600.0, 2 * DAY_S, 300 * DAY_S])
def test_a_bundle_is_good_for_as_long_as_was_asked_for(bundle, site, clock, life_s):
    site.take(bundle(valid_for_s=life_s))

    clock.now_s += life_s - 1
    assert hold(site) == ""
    clock.now_s += 1
    assert hold(site) != ""


def test_the_command_says_for_how_long(hub, edgewise, released, clock, tmp_path):
    hub.wanted[SITE] = lambda until_s: desired(hub, until_s=until_s)
    words = ("release", "export", "pets/2", "--site", SITE, "--tier", "edge", "--out", tmp_path / "usb")

    assert f"good until {time_text(clock() + DAY_S / 2)}" in edgewise(*words, "--valid-for", "12h")[1]
    code, said, err = edgewise(*words, "--valid-for", "soon")
    assert (code, said) == (2, "")
    assert "expected a duration such as" in err


def test_a_bundle_is_good_for_no_longer_than_what_operators_signed(hub, bundle, clock):
    expires_s = hub.repository.targets().expires.timestamp()
    before = hub.repository.versions()

    with pytest.raises(FailedPreconditionError) as refused:
        bundle(valid_for_s=expires_s - clock() + DAY_S)
    first = min((hub.repository.root(), hub.repository.targets()), key=lambda signed: signed.expires)
    assert f"{first.type}.json expires before, at {time_text(first.expires.timestamp())}; ask for 36" in str(
        refused.value
    )
    assert "d at most, or have it renewed on the machine with the offline keys" in str(refused.value)
    assert hub.repository.versions() == before

    clock.now_s = expires_s - 1800
    with pytest.raises(FailedPreconditionError, match=r"no bundle can be signed: (root|targets)\.json expires at "):
        hub.repository.carried(clock() + 3600)


def test_a_later_bundle_of_the_same_content_lives_longer(bundle, site, clock):
    site.take(bundle("first", valid_for_s=DAY_S))
    site.take(bundle("second"))

    clock.now_s += 29 * DAY_S
    assert hold(site) == ""


def test_a_bundle_prolongs_what_a_site_got_over_a_link(bundle, site, clock, near):
    file = bundle()
    site.trusted(near()).refresh()
    clock.now_s += 2 * DAY_S
    assert "have expired" in site.trusted(near()).may_install()

    assert site.take(file).hold == ""
    clock.now_s += 27 * DAY_S
    assert hold(site) == ""


def test_a_site_that_reaches_the_hub_again_believes_it_for_a_day(bundle, site, clock, near):
    site.take(bundle())

    site.trusted(near()).refresh()
    clock.now_s += DAY_S
    assert "the timestamp metadata have expired" in hold(site)


def test_a_site_with_a_bundle_follows_what_the_hub_signs_next(hub, client, bundle, site, version, near):
    site.take(bundle())
    publish(client, hub.offline, make_release("pets", 3, {"any": version("3")}, created="2026-11-24T10:00:00Z"))
    trusted = site.trusted(near())

    trusted.refresh()
    digest = hub.repository.targets().targets["releases/pets/3.json"].hashes["sha256"]
    assert trusted.manifest("pets", 3, digest).version == 3


def test_attack_bundle_in_place_of_the_hub_of_an_operator(hub, client, released, tmp_path):
    signed = hub.repository.carried(hub.clock() + DAY_S)
    hub.answers["GET /tuf/metadata/timestamp.json"] = signed

    with pytest.raises(PermissionDeniedError, match=r"it was signed for a bundle, .* and came over the network"):
        TrustedHub(client, hub.offline.root_files()[0], tmp_path)


def test_attack_timestamp_of_a_hub_without_its_signature_prolongs_nothing(bundle, site, clock, near):
    file = rewritten(bundle(), {"timestamp.json": b'{"signed": {}, "signatures": []}'})
    site.trusted(near()).refresh()
    before = site.files()

    with pytest.raises(PermissionDeniedError, match=r"timestamp\.json is refused"):
        site.take(file)
    assert site.files() == before
    assert site.trusted(near()).may_install() == ""
