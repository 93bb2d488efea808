"""What people send: planning, starting, and each verb, by whom it is allowed and when it is possible."""

import html

import pytest

from edgewise.core.rollout.events import Verb
from edgewise.core.rollout.reports import Inventory
from edgewise.hub.control.actors import Role
from edgewise.hub.pages.first_draft import first_draft
from support.control_world import OPERATOR
from support.pages_world import LOOSE, SPECIFICATION


def test_a_rollout_is_planned_started_paused_promoted_aborted(small_world):
    browser = small_world.browser(Role.OPERATOR)
    planned = browser.send("/rollouts/new", text=LOOSE, form="yaml", do="plan")
    assert planned.status_code == 200
    assert "2 sites in 1 wave" in " ".join(planned.text.split())
    assert small_world.ask("rollouts") == []
    key = browser.form("/rollouts/new")[1]["form_key"]
    fields = {
        "form_key": key,
        "text": LOOSE,
        "form": "yaml",
        "name": "pets-two",
        "why": "evening window",
        "do": "start",
    }
    started = browser.client.post("/rollouts/new", data=fields)
    assert started.headers["location"] == "/rollouts/pets-two"
    assert "pets-two was started." in browser.page("/rollouts/pets-two").text
    assert "pets-two was started." not in browser.page("/rollouts/pets-two").text
    for verb, state in (("pause", "Paused"), ("promote", "Progressing"), ("abort", "RolledBack")):
        answer = browser.send(f"/rollouts/pets-two/{verb}", why=f"because of {verb}")
        assert answer.headers["location"] == "/rollouts/pets-two", answer.text
        assert small_world.state() == state
    deeds = {one.action: one for one in small_world.ask("audit")}
    assert deeds["rollout.start"].details["why"] == "evening window"
    assert deeds["rollout.abort"].actor == "operator"
    assert deeds["rollout.abort"].address == "127.0.0.1"
    assert deeds["rollout.abort"].details["why"] == "because of abort"


def test_a_finished_rollout_is_undone(small_world):
    small_world.begin()
    small_world.settle()
    browser = small_world.browser(Role.OPERATOR)
    assert browser.page("/rollouts/pets-two").links.keys() >= {"Undo"}
    browser.send("/rollouts/pets-two/undo", why="customers complain")
    small_world.settle()
    assert small_world.state() == "RolledBack"


def test_the_waves_of_a_rollout_that_goes_back_are_not_open(small_world):
    small_world.begin(text=SPECIFICATION)
    browser = small_world.browser(Role.OPERATOR)
    assert "did not" not in browser.page("/rollouts/pets-two").text
    small_world.command("pets-two", "abort")
    waves = browser.page("/rollouts/pets-two").text.partition("Waves")[2]
    assert "did not pass" in waves
    assert "did not open" in waves


def test_a_rollout_can_be_made_and_started_later(small_world):
    browser = small_world.browser(Role.OPERATOR)
    key = browser.form("/rollouts/new")[1]["form_key"]
    browser.client.post(
        "/rollouts/new", data={"form_key": key, "text": LOOSE, "form": "yaml", "name": "later", "do": "create"}
    )
    assert small_world.state("later") == "Planned"
    browser.send("/rollouts/later/start", why="now")
    assert small_world.state("later") == "Progressing"


def test_the_plan_says_what_each_site_would_do_and_what_would_stop_it(small_world):
    alpha = small_world.sites["alpha"]
    alpha.inventory = Inventory(disk_free_bytes=10, serving={"pets": 1}, models={"pets": (1,)})
    alpha.report(small_world.hub.plane._books.clock())
    text = " ".join(
        small_world.browser(Role.OPERATOR).send("/rollouts/new", text=SPECIFICATION, form="yaml").text.split()
    )
    assert "Wave 1, first: ring=first" in text
    assert "stops:" in text
    assert "disk" in text


def test_the_draft_for_a_new_rollout_can_be_planned_and_started_as_it_stands(small_world):
    for name in ("alpha", "beta"):
        site = small_world.sites[name]
        site.inventory = Inventory(serving={"pets": 1}, models={"pets": (1,)})
        site.report(small_world.hub.plane._books.clock())
    browser = small_world.browser(Role.OPERATOR)
    page = browser.page("/rollouts/new")
    assert "version: 2" in page.text
    assert "site=alpha" in page.text
    assert "waves[].take" in page.text
    draft = first_draft(small_world.ask("releases"), small_world.ask("sites"))
    planned = browser.send("/rollouts/new", text=draft, form="yaml", do="plan")
    assert planned.status_code == 200
    assert "2 sites in 2 waves" in " ".join(planned.text.split())
    assert "stops:" not in planned.text
    key = browser.form("/rollouts/new")[1]["form_key"]
    fields = {"form_key": key, "text": draft, "form": "yaml", "name": "drafted", "do": "start"}
    assert browser.client.post("/rollouts/new", data=fields).headers["location"] == "/rollouts/drafted"
    assert small_world.state("drafted") == "Progressing"


def test_without_a_release_it_is_said_how_one_is_made(world):
    world.site("alpha")
    page = world.browser(Role.OPERATOR).page("/rollouts/new")
    assert "There is no release yet. edgewise release create MODEL VERSION" in page.text


def test_the_plan_speaks_of_what_stops_what_comes_later_and_what_is_to_be_noted_as_the_command_does(world):
    world.site("alpha")
    world.release(1)
    world.release(2)
    world.begin(LOOSE, name="pets-two")
    token = world.ask("create_enrollment", "gamma", "edge", {}, actor=OPERATOR)
    world.ask("enroll", token, world.sites["alpha"].key.public_hex, "edge", {})
    text = " ".join(world.browser(Role.OPERATOR).send("/rollouts/new", text=LOOSE, form="yaml").text.split())
    assert "later:</span> it was never heard of; it catches up" in text
    assert "note:</span> it is taken over from the rollout pets-two" in text


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("model: pets\nversion: 2\nwave: []\n", "yaml", "wave"),
        ("model: [\n", "yaml", "line"),
        ("model = 'pets'\nversion = 2\n[[waves]]\nname = 3\n", "toml", "line"),
        ("model: dogs\nversion: 2\nwaves: [{name: all}]\n", "yaml", "there is no release dogs/2"),
        ("model: pets\nversion: 2\nwaves: [{name: all, sites: gpu}]\n", "yaml", "no site is meant by any wave"),
        (LOOSE, "ini", "YAML or TOML"),
        ("<script>alert(1)</script>", "yaml", "script"),
    ],
)
def test_a_specification_that_is_none_is_kept_and_what_is_wrong_is_said(small_world, text, form, said):
    answer = small_world.browser(Role.OPERATOR).send("/rollouts/new", text=text, form=form, do="plan")
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert html.escape(text.strip(), quote=False).splitlines()[0] in html.unescape(answer.text).replace(
        "<", "&lt;"
    ).replace(">", "&gt;")
    assert "<script>alert" not in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert small_world.ask("rollouts") == []


def test_a_name_that_is_taken_is_said_and_nothing_is_lost(small_world):
    small_world.begin(name="pets-two")
    browser = small_world.browser(Role.OPERATOR)
    key = browser.form("/rollouts/new")[1]["form_key"]
    fields = {"form_key": key, "text": LOOSE, "form": "yaml", "name": "pets-two", "why": "a long reason", "do": "start"}
    answer = browser.client.post("/rollouts/new", data=fields)
    assert answer.status_code == 409
    assert "already" in answer.text
    assert "a long reason" in answer.text


def test_lines_that_a_browser_ends_its_own_way_are_read(small_world):
    answer = small_world.browser(Role.OPERATOR).send("/rollouts/new", text=LOOSE.replace("\n", "\r\n"), form="yaml")
    assert answer.status_code == 200


def test_only_what_is_possible_has_a_button(small_world):
    browser = small_world.browser(Role.OPERATOR)
    small_world.begin(start=False)
    labels = {"Start", "Pause", "Resume", "Promote", "Abort", "Undo"}
    assert labels & browser.page("/rollouts/pets-two").links.keys() == {"Start", "Abort"}
    small_world.command("pets-two", "start")
    assert labels & browser.page("/rollouts/pets-two").links.keys() == {"Pause", "Promote", "Abort"}
    small_world.command("pets-two", "pause")
    assert labels & browser.page("/rollouts/pets-two").links.keys() == {"Resume", "Promote", "Abort"}


@pytest.mark.parametrize("verb", Verb)
def test_a_viewer_has_no_buttons_and_is_refused_all_the_same(small_world, verb):
    small_world.begin(start=verb != Verb.START)
    browser = small_world.browser(Role.VIEWER)
    assert not {one.value.capitalize() for one in Verb} & browser.page("/rollouts/pets-two").links.keys()
    assert "New rollout" not in browser.page("/rollouts").links
    assert "role viewer" in browser.page(f"/rollouts/pets-two/{verb}", status=403).text
    key = browser.page("/").forms[0][1]["form_key"]
    before = small_world.ask("rollout", "pets-two").revision
    answer = browser.client.post(
        f"/rollouts/pets-two/{verb}", data={"form_key": key, "why": "x", "seen": "Progressing/0"}
    )
    assert answer.status_code == 403
    assert small_world.ask("rollout", "pets-two").revision == before


def test_a_viewer_plans_nothing(small_world):
    browser = small_world.browser(Role.VIEWER)
    browser.page("/rollouts/new", status=403)
    key = browser.page("/").forms[0][1]["form_key"]
    answer = browser.client.post("/rollouts/new", data={"form_key": key, "text": LOOSE, "form": "yaml", "do": "start"})
    assert answer.status_code == 403
    assert small_world.ask("rollouts") == []


@pytest.mark.parametrize("path", ["/rollouts/pets-two/pause", "/rollouts/new"])
@pytest.mark.parametrize("key", ["", "wrong", None])
def test_a_form_without_the_sessions_key_moves_nothing(small_world, path, key):
    small_world.begin()
    browser = small_world.browser(Role.ADMIN)
    fields = {"text": LOOSE, "form": "yaml", "do": "start", "why": "x", "seen": "Progressing/0"}
    answer = browser.client.post(path, data=fields if key is None else {**fields, "form_key": key})
    assert answer.status_code == 403
    assert small_world.state() == "Progressing"
    assert len(small_world.ask("rollouts")) == 1


def test_a_key_of_another_session_moves_nothing(small_world):
    small_world.begin()
    one, other = small_world.browser(Role.ADMIN), small_world.browser(Role.ADMIN)
    key = other.page("/").forms[0][1]["form_key"]
    answer = one.client.post("/rollouts/pets-two/pause", data={"form_key": key, "why": "x", "seen": "Progressing/0"})
    assert answer.status_code == 403
    assert small_world.state() == "Progressing"


def test_who_was_made_a_viewer_moves_nothing_from_then_on(small_world):
    small_world.begin()
    browser = small_world.browser(Role.OPERATOR)
    action, fields = browser.form("/rollouts/pets-two/pause", why="x")
    small_world.ask("revoke_token", "operator", OPERATOR)
    answer = browser.client.post(action, data=fields)
    assert answer.headers["location"].startswith("/login")
    assert small_world.state() == "Progressing"


def test_what_was_decided_about_another_state_is_asked_again(small_world):
    small_world.begin()
    browser = small_world.browser(Role.OPERATOR)
    action, fields = browser.form("/rollouts/pets-two/promote", why="we watched it")
    small_world.command("pets-two", "pause", "it got worse")
    answer = browser.client.post(action, data=fields)
    assert answer.status_code == 409
    assert "moved on in the meantime" in answer.text
    assert "we watched it" in answer.text
    assert small_world.state() == "Paused"


def test_a_promotion_that_was_meant_for_one_wave_is_not_given_to_the_next(small_world):
    small_world.begin()
    browser = small_world.browser(Role.OPERATOR)
    small_world.sites.pop("beta")
    action, fields = browser.form("/rollouts/pets-two/promote", why="we watched it")
    small_world.settle()
    assert small_world.ask("rollout", "pets-two").waves[0].phase == "passed"
    assert small_world.state() == "Progressing"
    assert browser.client.post(action, data=fields).status_code == 409
    assert not small_world.ask("rollout", "pets-two").waves[1].promoted


@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_what_cannot_be_taken_back_needs_a_reason(small_world, verb):
    small_world.begin()
    browser = small_world.browser(Role.OPERATOR)
    answer = browser.send(f"/rollouts/pets-two/{verb}", why="  ")
    assert answer.status_code == 400
    assert "Say why" in answer.text
    assert small_world.state() == "Progressing"
    assert not small_world.ask("rollout", "pets-two").waves[0].promoted


def test_what_is_not_possible_says_what_is(small_world):
    small_world.begin()
    browser = small_world.browser(Role.OPERATOR)
    page = browser.page("/rollouts/pets-two/undo", status=409)
    assert "pets-two is Progressing and cannot undo; it can pause or promote or abort." in page.text
    key = browser.page("/").forms[0][1]["form_key"]
    answer = browser.client.post("/rollouts/pets-two/undo", data={"form_key": key, "why": "x"})
    assert answer.status_code == 409


def test_a_rollout_that_is_not_there_cannot_be_moved(small_world):
    browser = small_world.browser(Role.OPERATOR)
    browser.page("/rollouts/none/pause", status=404)
