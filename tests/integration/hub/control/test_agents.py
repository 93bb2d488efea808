"""How sites join, and which reports are believed."""

import pytest

from edgewise.core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.reports import Inventory, Progress, SiteReport
from edgewise.core.rollout.site_state import SiteState
from edgewise.protocols.documents import time_text
from edgewise.protocols.site_report import PAYLOAD_TYPE, encode_report
from edgewise.trust.envelopes import seal
from edgewise.trust.keys import SigningKey
from support.control_world import OPERATOR, opened


def test_a_report_that_comes_twice_or_late_changes_nothing(small_world):
    world = small_world
    name = world.begin()
    world.pass_s(1)
    alpha = world.sites["alpha"]
    late = alpha.sealed(Progress(name, SiteState.DOWNLOADING, Want.STAGE))
    now = alpha.sealed(Progress(name, SiteState.STAGED, Want.STAGE))
    assert world.plane.report("alpha", now, world.now_s) == alpha.sequence
    before, moves = world.plane.rollout(name), world.moves(name)
    assert world.plane.report("alpha", now, world.now_s) == alpha.sequence
    assert world.plane.report("alpha", late, world.now_s) == alpha.sequence
    assert world.plane.rollout(name) == before
    world.restart()
    assert world.plane.report("alpha", late, world.now_s) == alpha.sequence
    assert world.moves(name) == moves


def test_an_agent_that_has_lost_count_is_told_where_to_go_on(small_world):
    world = small_world
    alpha = world.sites["alpha"]
    for _ in range(5):
        alpha.report(world.now_s)
    alpha.sequence = 0
    assert alpha.report(world.now_s) == 5


def test_a_forged_report_from_another_site_is_refused(small_world):
    world = small_world
    name = world.begin()
    world.pass_s(2)
    before = world.plane.rollout(name)
    beta = world.sites["beta"]
    active = Progress(name, SiteState.ACTIVE, Want.RUN)
    with pytest.raises(PermissionDeniedError, match="not signed by a key that may sign it"):
        world.plane.report("alpha", beta.sealed(active, site="alpha", sequence=99), world.now_s)
    with pytest.raises(NotFoundError, match="there is no site 'nobody'"):
        world.plane.report("nobody", beta.sealed(active), world.now_s)
    assert world.plane.rollout(name) == before


def test_the_same_key_for_two_sites_does_not_make_one_of_them_the_other(small_world):
    world = small_world
    alpha = world.sites["alpha"]
    token = world.plane.create_enrollment("beta", "edge", {}, actor=OPERATOR)
    world.plane.enroll(token, alpha.key.public_hex, "edge", {})
    report = alpha.sealed()
    with pytest.raises(PermissionDeniedError, match="is of the site 'alpha', and came as one of beta"):
        world.plane.report("beta", report, world.now_s)


@pytest.mark.parametrize("envelope", [b"", b"{}", b"[1]", b'{"payloadType": 1}', b"\xff" * 50, b"x" * 10_000_000])
def test_what_is_no_report_is_refused(small_world, envelope):
    with pytest.raises(InvalidArgumentError, match="the report"):
        small_world.plane.report("alpha", envelope, small_world.now_s)


@pytest.mark.parametrize(
    ("progress", "changes", "says"),
    [
        ([Progress("r", SiteState.UNREACHABLE, Want.RUN)], {}, "expected one of Activating, Active"),
        ([Progress("r", SiteState.PENDING, Want.RUN)], {}, "expected one of Activating, Active"),
        ([], {"generation": 1 << 60}, "the agent's state is spoiled"),
        ([], {"trusted": {"timestamp": 1 << 40}}, "which nobody made"),
    ],
)
def test_a_report_of_what_cannot_be_changes_nothing(small_world, progress, changes, says):
    world = small_world
    alpha = world.sites["alpha"]
    before = world.plane.site("alpha")
    with pytest.raises(InvalidArgumentError, match=says):
        world.plane.report("alpha", alpha.sealed(*progress, **changes), world.now_s)
    assert world.plane.site("alpha") == before


def test_words_that_no_database_keeps_do_no_harm(small_world):
    world = small_world
    name = world.begin()
    world.pass_s(1)
    world.sites["alpha"].say(world.now_s, name, SiteState.FAILED, Want.STAGE, why="a\x00b")
    assert world.states(name)["alpha"] == "Failed"
    world.restart()
    [site] = [site for site in world.plane.rollout(name).sites if site.site == "alpha"]
    assert site.why == "a\ufffdb"


@pytest.mark.parametrize("half", [b"\\ud800", b"\xed\xa0\x80"])
def test_half_a_character_is_no_text(small_world, half):
    world = small_world
    alpha = world.sites["alpha"]
    payload = encode_report(SiteReport("alpha", 1, 1, inventory=Inventory(agent="HALF"))).replace(b"HALF", half)
    with pytest.raises(InvalidArgumentError, match="the report is not JSON"):
        world.plane.report("alpha", seal(payload, PAYLOAD_TYPE, alpha.key), world.now_s)


def test_an_unknown_rollout_in_a_report_is_passed_over(small_world):
    world = small_world
    name = world.begin()
    world.pass_s(1)
    alpha = world.sites["alpha"]
    alpha.report(
        world.now_s,
        Progress("of another hub", SiteState.ACTIVE, Want.RUN),
        Progress(name, SiteState.STAGED, Want.STAGE),
    )
    assert world.states(name)["alpha"] == "Staged"


def test_a_hub_restored_from_an_older_backup_goes_beyond_what_sites_have_seen(small_world):
    world = small_world
    name = world.begin()
    alpha = world.sites["alpha"]
    alpha.look(world.now_s)
    # The agent has followed a later hub, of which this one knows nothing.
    alpha.generation += 40
    world.changes.clear()
    alpha.report(world.now_s, Progress("later", SiteState.ACTIVE, Want.RUN))
    assert any("alpha" in sites for sites, _ in world.changes)
    etag, envelope = world.plane.desired("alpha", world.now_s)
    desired = opened(envelope)
    assert desired.generation == alpha.generation + 1
    assert [order.rollout for order in desired.orders] == [name]
    world.restart()
    assert world.plane.desired("alpha", world.now_s) == (etag, envelope)
    assert world.plane.audit()[0].action == "site.generation"
    world.settle()
    assert world.states(name) == {"alpha": "Active", "beta": "Active"}


def test_trusted_versions_are_the_greatest_that_any_site_saw(small_world):
    world = small_world
    for name, trusted in (("alpha", {"root": 1, "timestamp": 9}), ("beta", {"root": 2, "snapshot": 4})):
        site = world.sites[name]
        world.plane.report(name, site.sealed(trusted=trusted), world.now_s)
    assert world.plane.trusted_versions() == {"root": 2, "timestamp": 9, "snapshot": 4}
    world.restart()
    assert world.plane.trusted_versions() == {"root": 2, "timestamp": 9, "snapshot": 4}


def test_a_replayed_enrolment_is_refused(world):
    key = SigningKey.generated()
    token = world.plane.create_enrollment("alpha", "edge", {"ring": "first"}, actor=OPERATOR)
    name, site_token = world.plane.enroll(token, key.public_hex, "edge", {"ring": "mine", "os": "linux"})
    assert (name, world.plane.site_of(site_token)) == ("alpha", "alpha")
    assert world.plane.site("alpha").labels == {"ring": "first", "os": "linux"}
    for again in (key, SigningKey.generated()):
        with pytest.raises(PermissionDeniedError, match="used already"):
            world.plane.enroll(token, again.public_hex, "edge", {})
    world.restart()
    with pytest.raises(PermissionDeniedError, match="used already"):
        world.plane.enroll(token, key.public_hex, "edge", {})
    assert world.plane.site_of(site_token) == "alpha"


def test_an_enrolment_expires_and_a_newer_one_voids_it(world):
    key = SigningKey.generated().public_hex
    first = world.plane.create_enrollment("alpha", "edge", {}, actor=OPERATOR, expires_s=100.0)
    second = world.plane.create_enrollment("alpha", "edge", {}, actor=OPERATOR, expires_s=100.0)
    with pytest.raises(PermissionDeniedError, match="is not known"):
        world.plane.enroll(first, key, "edge", {})
    world.now_s += 100.0
    with pytest.raises(PermissionDeniedError, match="has expired"):
        world.plane.enroll(second, key, "edge", {})
    assert world.plane.sites() == []


def test_an_enrolment_that_was_refused_can_still_be_used(world):
    key = SigningKey.generated().public_hex
    token = world.plane.create_enrollment("alpha", "cloud", {}, actor=OPERATOR)
    for words, says in (
        ((token, "abc", "cloud", {}), "no public key"),
        ((token, key, "edge", {}), "its tier is edge, and the enrolment is for the tier cloud; say --tier cloud where"),
        ((token, key, "cloud", {"tier": "edge"}), "the label 'tier' is the hub's own"),
        ((token, key, "cloud", {"a b": "c"}), "label key 'a b'"),
    ):
        with pytest.raises(InvalidArgumentError, match=says):
            world.plane.enroll(*words)
    assert world.plane.enroll(token, key, "", {})[0] == "alpha"
    assert world.plane.site("alpha").tier == "cloud"


def test_a_site_enrolled_again_has_a_new_key_and_catches_up(small_world):
    world = small_world
    name = world.begin()
    world.settle()
    old = world.sites["alpha"]
    stale = old.sealed(Progress(name, SiteState.FAILED, Want.RUN))
    fresh = world.site("alpha", ring="first")
    with pytest.raises(UnauthenticatedError):
        world.plane.site_of(old.token)
    with pytest.raises(PermissionDeniedError):
        world.plane.report("alpha", stale, world.now_s)
    world.settle()
    assert fresh.states == {name: SiteState.ACTIVE}
    assert fresh.sequence < old.sequence + 10
    assert world.states(name) == {"alpha": "Active", "beta": "Active"}
    assert ("site", "alpha", "Active", "Downloading") in world.moves(name)


def test_a_retired_site_can_join_again_and_is_told_nothing_old(small_world):
    world = small_world
    name = world.begin()
    world.settle()
    world.command(name, "undo")
    world.settle()
    world.plane.retire_site("alpha", OPERATOR)
    again = world.site("alpha")
    assert again.look(world.now_s).orders == ()
    assert world.plane.site("alpha").retired_s is None


@pytest.mark.parametrize(
    ("site", "tier", "labels", "says"),
    [
        ("", "edge", {}, "the site's name ''"),
        ("../x", "edge", {}, "the site's name '../x'"),
        ("a" * 64, "edge", {}, "at most 63"),
        ("a", "space", {}, "found the tier 'space', expected cloud or edge"),
        ("a", "edge", {"site": "b"}, "the hub's own"),
        ("a", "edge", {f"l{number}": "" for number in range(65)}, "64 is the most"),
    ],
)
def test_a_site_that_nobody_can_name_is_not_invited(world, site, tier, labels, says):
    with pytest.raises(InvalidArgumentError, match=says):
        world.plane.create_enrollment(site, tier, labels, actor=OPERATOR)
    with pytest.raises(InvalidArgumentError, match="for an enrolment"):
        world.plane.create_enrollment("a", "edge", {}, actor=OPERATOR, expires_s=0.0)


def test_labels_select_sites(small_world):
    world = small_world
    world.site("kappa", tier="cloud")
    found = {
        selector: [site.site for site in world.plane.sites(selector)]
        for selector in ("", "tier=cloud", "ring=first", "site in (alpha, kappa)", "!ring")
    }
    assert found == {
        "": ["alpha", "beta", "kappa"],
        "tier=cloud": ["kappa"],
        "ring=first": ["alpha"],
        "site in (alpha, kappa)": ["alpha", "kappa"],
        "!ring": ["beta", "kappa"],
    }
    world.plane.label_site("beta", {"ring": "first", "rack": "7"}, [], OPERATOR)
    world.plane.label_site("alpha", {}, ["ring", "nothing"], OPERATOR)
    world.restart()
    assert [site.site for site in world.plane.sites("ring=first")] == ["beta"]
    assert world.plane.site("beta").labels == {"ring": "first", "rack": "7"}
    with pytest.raises(InvalidArgumentError, match="cannot understand"):
        world.plane.sites("=")
    with pytest.raises(InvalidArgumentError, match="hub's own"):
        world.plane.label_site("beta", {"tier": "cloud"}, [], OPERATOR)
    with pytest.raises(NotFoundError):
        world.plane.label_site("nobody", {}, [], OPERATOR)


def test_a_site_says_what_it_is(small_world):
    world = small_world
    alpha = world.sites["alpha"]
    alpha.look(world.now_s)
    alpha.inventory = Inventory(agent="1", clock=time_text(world.now_s + 42.0))
    alpha.report(world.now_s)
    status = world.plane.site("alpha")
    assert (status.clock_ahead_s, status.following, status.online) == (42.0, alpha.generation, True)
    assert (status.reported_s, status.heard_s) == (world.now_s, world.now_s)
    alpha.inventory = Inventory(clock="yesterday")
    alpha.report(world.now_s)
    assert world.plane.site("alpha").clock_ahead_s is None
    world.now_s += 91.0
    assert not world.plane.site("alpha").online


def test_polls_are_written_down_now_and_then(small_world):
    world = small_world
    heard = []
    for _ in range(25):
        world.now_s += 1.0
        world.sites["alpha"].look(world.now_s)
        world.plane.tick(world.now_s)
    heard.append(world.plane.site("alpha").heard_s)
    world.restart()
    kept = world.plane.site("alpha").heard_s
    assert heard[0] == world.now_s
    assert heard[0] - 10.0 <= kept <= heard[0]
    assert world.plane.site("beta").heard_s is None


def test_several_reports_in_one_transaction_are_each_judged_for_themselves(small_world):
    world = small_world
    name = world.begin()
    alpha = world.sites["alpha"]
    first = alpha.sealed(Progress(name, SiteState.DOWNLOADING, Want.STAGE))
    second = alpha.sealed(Progress(name, SiteState.STAGED, Want.STAGE))
    forged = alpha.sealed(site="beta", sequence=99)
    said = [("alpha", first), ("beta", forged), ("nobody", first), ("alpha", second), ("alpha", first), ("beta", b"{")]
    found = world.plane.reports(said, world.now_s)
    assert found[0] == alpha.sequence - 2
    assert isinstance(found[1], PermissionDeniedError)
    assert isinstance(found[2], NotFoundError)
    assert found[3:5] == [alpha.sequence - 1] * 2
    assert isinstance(found[5], InvalidArgumentError)
    assert world.moves(name)[-2:] == [
        ("site", "alpha", SiteState.PENDING.value, SiteState.DOWNLOADING.value),
        ("site", "alpha", SiteState.DOWNLOADING.value, SiteState.STAGED.value),
    ]


def test_what_is_signed_is_there_for_any_thread_until_it_changes(small_world):
    world = small_world
    assert world.plane.kept("nobody", world.now_s) is None
    signed = world.plane.desired("alpha", world.now_s)
    assert world.plane.kept("alpha", world.now_s) == signed
    world.begin()
    assert world.plane.kept("alpha", world.now_s) is None
    changed = world.plane.desired("alpha", world.now_s)
    assert changed[0] != signed[0]
    assert world.plane.kept("alpha", world.now_s) == changed
    assert world.plane.kept("alpha", world.now_s + 10 * 86400.0) is None


def test_who_asks_for_what_is_signed_is_heard_by_the_next_tick(small_world):
    world = small_world
    world.plane.desired("alpha", world.now_s)
    asked_s = world.now_s = world.now_s + 20.0
    world.plane.kept("alpha", asked_s, asking=False)
    world.plane.tick(world.now_s)
    assert world.plane.site("alpha").heard_s < asked_s
    world.plane.kept("alpha", asked_s)
    world.plane.tick(world.now_s)
    assert world.plane.site("alpha").heard_s == asked_s


def test_what_another_key_signs_is_another_document(small_world):
    world = small_world
    before, envelope = world.plane.desired("alpha", world.now_s)
    world.restart()
    assert world.plane.desired("alpha", world.now_s)[0] == before
    world.key = SigningKey.generated()
    world.restart()
    after, signed_anew = world.plane.desired("alpha", world.now_s)
    assert after != before
    assert signed_anew != envelope
