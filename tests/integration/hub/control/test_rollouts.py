"""Rollouts through the control plane, on both databases: sites read signed documents and send signed reports."""

import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Findings, GateName, Golden
from edgewise.core.rollout.reports import Inventory, Progress
from edgewise.core.rollout.sequential import Compared
from edgewise.core.rollout.site_state import SiteState
from edgewise.protocols.desired_state import PAYLOAD_TYPE
from edgewise.protocols.documents import time_text
from edgewise.trust import envelopes
from edgewise.trust.keys import VerifyingKey
from support.control_world import OPERATOR, opened


def orders(world, site):
    _, envelope = world.plane.desired(site, world.now_s)
    return {order.model: (order.rollout, order.version, order.want) for order in opened(envelope).orders}


def test_a_release_goes_from_wave_to_wave_and_everybody_has_it(small_world):
    world = small_world
    name = world.begin(name="pets-two")
    assert orders(world, "alpha") == {"pets": ("pets-two", 2, Want.STAGE)}
    world.settle()
    status = world.plane.rollout(name)
    assert (status.state, status.verbs) == ("Completed", ("undo",))
    assert world.states(name) == {"alpha": "Active", "beta": "Active"}
    assert [wave.phase for wave in status.waves] == ["passed", "passed"]
    moves = world.moves(name)
    opened_at, passed_at = moves.index(("wave", "rest", "", "open")), moves.index(("wave", "first", "", "passed"))
    assert moves.index(("site", "alpha", "Verifying", "Active")) < passed_at < opened_at
    assert opened_at < moves.index(("site", "beta", "Staged", "Activating"))
    assert moves[-1] == ("rollout", "pets-two", "Progressing", "Completed")
    assert world.plane.rollouts()[0].states == {"Active": 2}


def test_what_a_site_is_told_is_signed_and_names_the_manifest(small_world):
    world = small_world
    world.begin()
    etag, envelope = world.plane.desired("alpha", world.now_s)
    keys = [VerifyingKey(world.key.public_hex)]
    payload = envelopes.opened(envelope, PAYLOAD_TYPE, keys, what="it", max_bytes=1 << 20)
    assert payload
    [order] = opened(envelope).orders
    assert order.manifest_sha256 == world.plane.release("pets", 2).manifest_sha256
    assert world.plane.desired("alpha", world.now_s + 60.0) == (etag, envelope)


def test_a_document_is_signed_again_before_it_expires_and_says_the_same(small_world):
    world = small_world
    world.begin()
    half_s = 3.5 * 86400.0
    seen = {}
    for hour in range(24 * 8):
        now_s = world.now_s + hour * 3600.0
        etag, envelope = world.plane.desired("alpha", now_s)
        desired = opened(envelope)
        seen[etag] = desired
        from edgewise.protocols.documents import time_s

        assert half_s - 1.0 <= time_s(desired.expires) - now_s <= 2.0 * half_s
    assert len(seen) == 3
    assert len({(desired.generation, desired.orders) for desired in seen.values()}) == 1


def test_undo_brings_everybody_back_and_the_orders_stay(small_world):
    world = small_world
    name = world.begin()
    world.settle()
    world.command(name, "undo", "customers complain")
    world.settle()
    assert world.plane.rollout(name).state == "RolledBack"
    assert world.states(name) == {"alpha": "RolledBack", "beta": "RolledBack"}
    assert orders(world, "beta") == {"pets": (name, 2, Want.BACK)}
    [entry] = [entry for entry in world.plane.audit() if entry.action == "rollout.undo"]
    assert (entry.actor, entry.address, entry.subject, entry.details) == (
        "olga",
        "192.0.2.7",
        name,
        {"why": "customers complain"},
    )


def test_a_newer_rollout_takes_over_when_it_starts_and_not_before(small_world):
    world = small_world
    old = world.begin(1, name="one")
    world.pass_s(2)
    new = world.begin(2, name="two", start=False)
    assert set(world.states(old).values()) != {"Superseded"}
    world.command(new, "start")
    assert world.states(old) == {"alpha": "Superseded", "beta": "Superseded"}
    assert world.plane.rollout(old).state == "Completed"
    assert orders(world, "alpha")["pets"][:2] == ("two", 2)
    world.settle()
    assert world.states(new) == {"alpha": "Active", "beta": "Active"}
    with pytest.raises(FailedPreconditionError, match="cannot start; it has ended"):
        world.command(old, "start")


def test_a_site_keeps_the_older_order_until_the_newer_rollout_tells_it_something(small_world):
    world = small_world
    world.begin(1, name="one")
    world.settle()
    lazy = "model: pets\nversion: 2\nprestage: false\nwaves: [{{name: a, sites: ring=first}}, {{name: b}}]\n"
    world.begin(2, name="two", text=lazy + "gates: {{errors: off, latency: off, golden: false}}\n")
    assert orders(world, "alpha") == {"pets": ("two", 2, Want.RUN)}
    assert orders(world, "beta") == {"pets": ("one", 1, Want.GRANTED)}


def test_rollouts_of_two_models_stand_beside_one_another(small_world):
    world = small_world
    world.release(7, model="cats")
    world.begin(2, name="pets-two")
    cats = "model: cats\nversion: {version}\nwaves: [{{name: all, at_once: 100%}}]\n"
    world.begin(7, name="cats-seven", text=cats + "gates: {{errors: off, latency: off, golden: false}}\n")
    world.settle()
    assert {model: order[0] for model, order in orders(world, "beta").items()} == {
        "cats": "cats-seven",
        "pets": "pets-two",
    }
    assert world.plane.site("beta").states == {"cats-seven": "Active", "pets-two": "Active"}


def test_a_site_that_was_offline_holds_nobody_up_and_catches_up(small_world):
    world = small_world
    gamma = world.site("gamma")
    name = world.begin()
    world.pass_s(120, online=("alpha", "beta"))
    assert world.plane.rollout(name).state == "Completed"
    assert world.states(name)["gamma"] == "Unreachable"
    assert gamma.desired is None
    world.settle()
    assert world.states(name) == {"alpha": "Active", "beta": "Active", "gamma": "Active"}


def test_a_wave_with_a_failed_gate_rolls_back(small_world):
    world = small_world
    gated = "model: pets\nversion: {version}\nwaves: [{{name: all, at_once: 100%}}]\n"
    name = world.begin(text=gated + "gates: {{latency: off, golden: true}}\n")
    world.pass_s(2)
    alpha = world.sites["alpha"]
    alpha.findings = Findings({GateName.ERRORS: (Compared(0.5, 500, 100, 500, 0),)}, Golden(1, 1, 0))
    alpha.say(world.now_s, name, SiteState.VERIFYING, Want.RUN, stage=2, bytes_done=5, bytes_total=9)
    world.plane.tick(world.now_s)
    status = world.plane.rollout(name)
    assert (status.state, status.why) == ("Aborting", "wave all: a gate failed over all its sites together")
    errors, golden = status.waves[0].gates
    assert (errors.gate, errors.verdict, errors.new_hits, errors.old_count) == ("errors", "Fail", 100, 500)
    assert 0.01 < errors.low < 0.2 < errors.high < 0.4
    assert (golden.gate, golden.new_count, golden.new_hits) == ("golden", 1, 0)
    [site] = [site for site in status.sites if site.site == "alpha"]
    assert (site.stage, site.stages, site.bytes_done, site.bytes_total) == (2, 5, 5, 9)
    assert site.gates[0].verdict == "Fail"
    assert orders(world, "alpha")["pets"][2] == Want.BACK


def test_silence_is_noticed_by_the_hub_and_not_blamed_on_its_own_absence(small_world):
    world = small_world
    name = world.begin()
    world.pass_s(3)
    world.now_s += 100_000.0  # the hub was suspended, or its clock was set
    world.plane.tick(world.now_s)
    assert "Unreachable" not in world.states(name).values()
    world.pass_s(95, online=("alpha",))
    assert world.states(name)["beta"] == "Unreachable"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("model: pets\nversion: 9\nwaves: [{name: all}]\n", NotFoundError, "of pets there are 1, 2"),
        ("model: dogs\nversion: 1\nwaves: [{name: all}]\n", NotFoundError, "none of that model is"),
        ("model: pets\nversion: 2\nwaves: [{name: all, sites: gpu}]\n", FailedPreconditionError, "no site is meant"),
        ("model: pets\nversion: two\nwaves: [{name: all}]\n", InvalidArgumentError, "version"),
        ("#" * 300_000, InvalidArgumentError, "262144 is the most"),
    ],
)
def test_a_rollout_that_cannot_be_is_refused_and_leaves_nothing(small_world, text, error, says):
    with pytest.raises(error, match=says):
        small_world.plane.create_rollout(text, "yaml", actor=OPERATOR, now_s=small_world.now_s)
    # Neither does a plan say that it could.
    with pytest.raises(error, match=says):
        small_world.plane.plan(text, "yaml", small_world.now_s)
    assert small_world.plane.rollouts() == []


GATED = """
model: pets
version: {version}
waves: [{{name: all, at_once: 100%, may_fail: 1}}]
patience: 5m
"""


def test_a_rollout_of_a_version_that_every_site_runs_ends_by_itself(small_world):
    world = small_world
    name = world.begin(text=GATED)
    # They move on without having counted anything, as sites do that have nothing to switch.
    world.settle()
    status = world.plane.rollout(name)
    assert (status.state, status.waves[0].phase, status.waves[0].verdict) == ("Completed", "passed", "Inconclusive")
    assert status.waves[0].waits_for == ""


def test_a_site_that_counts_too_little_is_waited_for_though_the_other_ran_the_version_before(small_world):
    world = small_world
    world.sites["beta"].findings = Findings({GateName.ERRORS: (Compared(0.5, 200, 0, 200, 0),)}, Golden(1, 1, 0))
    name = world.begin(text=GATED)
    world.settle()
    status = world.plane.rollout(name)
    assert (status.state, status.waves[0].phase) == ("Progressing", "open")
    said = "too little data for a verdict, and none of its sites counts any more"
    assert status.waves[0].waits_for == said
    world.pass_s(301)
    status = world.plane.rollout(name)
    assert (status.state, status.why) == ("Paused", f"wave all: {said}")
    assert status.waves[0].waits_for == ""


def test_a_golden_answer_that_was_wrong_is_the_verdict_of_a_wave_that_went_back(small_world):
    world = small_world
    name = world.begin(text=GATED.replace("may_fail: 1", "may_fail: 0"))
    site = world.sites["alpha"]
    site.findings = Findings({}, Golden(1, 1, 1))
    site.look(world.now_s)
    site.say(world.now_s, name, SiteState.ROLLED_BACK, Want.RUN, why="golden input 3")
    status = world.plane.rollout(name)
    assert (status.state, status.waves[0].verdict) == ("RolledBack", "Fail")


def test_names_are_given_once(small_world):
    world = small_world
    assert world.begin(start=False).startswith("pets-2-")
    world.begin(name="mine", start=False)
    with pytest.raises(AlreadyExistsError, match="there is a rollout 'mine' already"):
        world.begin(name="mine", start=False)
    with pytest.raises(InvalidArgumentError, match="found the name 'a/b'"):
        world.begin(name="a/b", start=False)
    with pytest.raises(
        InvalidArgumentError, match="the name 'new' is reserved for the page /rollouts/new; choose another"
    ):
        world.begin(name="new", start=False)
    world.begin(name="new-1", start=False)
    with pytest.raises(NotFoundError, match="there is no rollout 'yours'"):
        world.command("yours", "start")
    with pytest.raises(InvalidArgumentError, match="found the verb 'stop', expected one of start, pause"):
        world.command("mine", "stop")


def test_an_ended_rollout_is_still_there_to_look_at(small_world):
    world = small_world
    world.begin(1, name="one")
    world.settle()
    world.begin(2, name="two")
    world.settle()
    world.restart()
    assert world.plane.rollout("one").state == "Completed"
    assert world.states("one") == {"alpha": "Superseded", "beta": "Superseded"}
    assert world.moves("one")[-1] == ("site", "beta", "Active", "Superseded")
    assert [one.name for one in world.plane.rollouts()] == ["two", "one"]
    # Nothing answers to it any more, so there is nothing to undo.
    assert world.plane.rollout("one").verbs == ()
    with pytest.raises(FailedPreconditionError, match="another rollout took every site of this one over"):
        world.command("one", "undo")
    assert world.plane.rollout("one").state == "Completed"
    assert orders(world, "alpha")["pets"][0] == "two"


def test_a_retired_site_is_waited_for_no_more_and_its_token_opens_nothing(small_world):
    from edgewise.core.errors import UnauthenticatedError

    world = small_world
    gamma = world.site("gamma", ring="first")
    name = world.begin()
    world.pass_s(5, online=("alpha", "beta"))
    assert world.plane.rollout(name).state == "Progressing"
    world.plane.retire_site("gamma", OPERATOR)
    retired = time_text(world.now_s)
    del world.sites["gamma"]
    world.settle()
    assert world.states(name) == {"alpha": "Active", "beta": "Active", "gamma": "Superseded"}
    with pytest.raises(UnauthenticatedError, match="the site's token is not known"):
        world.plane.site_of(gamma.token)
    for gone in (lambda: world.plane.desired("gamma", world.now_s), lambda: world.plane.site("gamma")):
        with pytest.raises(NotFoundError) as refused:
            gone()
        assert refused.value.message == f"the site 'gamma' was retired {retired}; enrol it again to have it back"
    assert [site.site for site in world.plane.sites()] == ["alpha", "beta"]


def test_a_report_that_says_nothing_new_changes_no_rollout(small_world):
    world = small_world
    name = world.begin()
    world.settle()
    revision = world.plane.rollout(name).revision
    world.changes.clear()
    alpha = world.sites["alpha"]
    alpha.inventory = Inventory(agent="1.2.3", disk_free_bytes=5, models={"pets": (1, 2)}, serving={"pets": 2})
    alpha.report(world.now_s, Progress(name, SiteState.ACTIVE, Want.GRANTED))
    revised = world.plane.rollout(name).revision
    again = alpha.report(world.now_s, Progress(name, SiteState.ACTIVE, Want.GRANTED))
    assert world.plane.rollout(name).revision == revised
    assert revised - revision <= 1
    assert again == alpha.sequence
    assert world.plane.site("alpha").inventory == alpha.inventory
    assert all(not sites for sites, _ in world.changes)


def test_a_plan_shows_what_would_happen_and_changes_nothing(small_world):
    world = small_world
    world.site("gamma", tier="cloud")
    world.release(3, chunks=("a", "b", "c"))
    world.release(4, chunks=("a", "b", "d"))
    alpha = world.sites["alpha"]
    alpha.inventory = Inventory(models={"pets": (3,)}, serving={"pets": 3}, bandwidth_bytes_per_s=100.0)
    alpha.report(world.now_s)
    running = world.begin(3, name="three")
    world.plane.set_floors({"pets": 4})
    text = "model: pets\nversion: {version}\nwaves: [{{name: edge, sites: tier=edge, take: 1}}, {{name: rest, sites: tier=edge}}]\n"
    before = (world.plane.rollout(running), world.plane.sites(), world.plane.audit())
    plan = world.plane.plan(text.format(version=4), "yaml", world.now_s)
    assert (world.plane.rollout(running), world.plane.sites(), world.plane.audit()) == before
    planned = {site.site: site for wave in plan.waves for site in wave.sites}
    assert (planned["alpha"].runs, planned["alpha"].fetch_bytes, planned["alpha"].seconds) == (3, 1000, 10.0)
    assert planned["beta"].fetch_bytes == 3000
    assert [problem.kind for problem in planned["beta"].problems] == ["taken", "offline"]
    assert plan.left_out == ("gamma",)
    # Of the second wave there is nobody.
    assert [(problem.kind, problem.stops) for problem in plan.problems] == [("offline", True)]
    older = world.plane.plan(text.format(version=2), "yaml", world.now_s)
    assert [problem.kind for problem in older.problems] == ["offline", "floor"]
    # The same sites go first when it is started.
    name = world.begin(4, text=text)
    found = [[site.site for site in world.plane.rollout(name).sites if site.wave == number] for number in (0, 1)]
    assert found == [[site.site for site in wave.sites] for wave in plan.waves]
