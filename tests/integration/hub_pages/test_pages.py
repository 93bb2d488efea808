"""Every page, as somebody sees it who looks only."""

import itertools
import re
import time

import pytest

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Findings, GateName, Golden
from edgewise.core.rollout.reports import Inventory, Progress, SampleBacklog, Served
from edgewise.core.rollout.sequential import Compared
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.control.actors import Role
from support.control_world import OPERATOR
from support.pages_world import LOOSE, Page

PAGES = (
    "/",
    "/sites",
    "/sites/alpha",
    "/rollouts",
    "/rollouts/pets-two",
    "/rollouts/pets-two/history",
    "/releases",
    "/audit",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_found_around_in_without_eyes(small_world, path):
    small_world.begin()
    page = small_world.browser(Role.ADMIN).page(path)
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    # No level is left out on the way down.
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    tags = [tag for tag, _ in page.tags]
    for landmark in ("header", "nav", "main"):
        assert landmark in tags
    assert ("html", {"lang": "en"}) in page.tags
    ids = [given["id"] for _, given in page.tags if given.get("id")]
    assert len(set(ids)) == len(ids)
    for _, given in page.tags:
        assert given.get("aria-labelledby", ids[0]) in ids
        assert given.get("for", ids[0]) in ids
    assert any(given.get("aria-live") == "polite" for _, given in page.tags)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_for_nothing_from_elsewhere_and_is_kept_by_nobody(small_world, path):
    small_world.begin()
    answer = small_world.browser(Role.VIEWER).get(path)
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    for source in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text):
        assert source == "" or source.startswith(("/", "#")), source


def test_style_and_script_are_there_for_everybody(small_world):
    browser = small_world.browser()
    login = browser.get("/login").text
    for source in re.findall(r'(?:src|href)="(/assets/[^"]*)"', login):
        answer = browser.get(source)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert browser.page("/assets/0000/live.js", status=404)


def test_the_overview_says_what_there_is_and_what_needs_a_person(small_world):
    browser = small_world.browser(Role.VIEWER)
    assert "Nothing." in browser.page("/").text
    small_world.begin()
    small_world.command("pets-two", "pause", "the shop is full")
    page = browser.page("/")
    assert "paused: the shop is full" in page.text
    assert page.links["pets-two"] == "/rollouts/pets-two"
    assert "olga rollout.pause pets-two" in page.text


def test_sites_are_chosen_by_their_labels(small_world):
    browser = small_world.browser(Role.VIEWER)
    assert {"alpha", "beta"} <= browser.page("/sites").links.keys()
    chosen = browser.page("/sites?selector=ring%3Dfirst").links
    assert "alpha" in chosen
    assert "beta" not in chosen
    assert "No site is meant by that" in browser.page("/sites?selector=ring%3Dlast").text


def test_a_selector_that_is_none_says_where_and_what_would_be_right(small_world):
    page = small_world.browser(Role.VIEWER).page("/sites?selector=ring%3D%3D%3Dfirst", status=400)
    assert "cannot understand" in page.text
    assert "expected requirements such as tier=edge" in page.text
    assert any(given.get("aria-invalid") == "true" for _, given in page.tags)


def test_sites_are_chosen_by_their_links(small_world):
    browser = small_world.browser(Role.VIEWER)
    token = small_world.ask("create_enrollment", "gamma", "edge", {}, actor=OPERATOR)
    small_world.ask("enroll", token, small_world.sites["alpha"].key.public_hex, "edge", {})
    assert "gamma" in browser.page("/sites?show=never").links
    assert "alpha" not in browser.page("/sites?show=never").links
    assert "alpha" in browser.page("/sites?show=online").links
    assert "No site is meant by that" in browser.page("/sites?show=offline").text


def test_many_sites_have_pages(world):
    for number in range(103):
        world.site(f"site-{number:03}")
    browser = world.browser(Role.VIEWER)
    first = browser.page("/sites")
    assert "103 sites, page 1 of 2" in first.text
    second = browser.page(first.links["Next page"])
    assert "site-102" in second.links
    assert "site-000" not in second.links
    assert "site-102" in browser.page("/sites?page=99").links


def test_a_site_shows_what_it_has_and_how_cloud_and_edge_compare(small_world):
    alpha = small_world.sites["alpha"]
    alpha.inventory = Inventory(
        agent="0.1.0",
        disk_free_bytes=12_000_000_000,
        runtimes={"onnxruntime": "1.24.1"},
        models={"pets": (1, 2)},
        serving={"pets": 1},
        cloud={"pets": Served(1200, 0, 42.0, 88.0)},
        edge={"pets": Served(1180, 3, 11.2, 31.0)},
        samples=SampleBacklog(9, 12_000_000, 2),
    )
    alpha.report(time.time())
    text = small_world.browser(Role.VIEWER).page("/sites/alpha").text
    for words in ("Disk left 12.0 GB", "onnxruntime 1.24.1", "cloud 42 ms 88 ms 1,200 0", "edge 11 ms 31 ms 1,180 3"):
        assert words in text
    assert "version 1" in text
    assert "Samples that wait 12.0 MB; 2 of 9 segments held up" in text


def test_a_site_shows_the_rollouts_it_took_part_in_also_those_that_are_over(small_world):
    small_world.begin(name="pets-two")
    small_world.settle()
    small_world.command("pets-two", "undo")
    small_world.settle()
    browser = small_world.browser(Role.VIEWER)
    page = browser.page("/sites/beta")
    assert page.links["pets-two"] == "/rollouts/pets-two"
    assert page.text.count("RolledBack") >= 2
    small_world.begin(name="pets-three")
    assert "pets-three" in browser.page("/sites/beta").links


def test_what_is_not_there_is_a_page_too(small_world):
    browser = small_world.browser(Role.VIEWER)
    assert "There is no site 'nowhere'" in browser.page("/sites/nowhere", status=404).text.replace(
        "there is", "There is"
    )
    assert "no rollout 'none'" in browser.page("/rollouts/none", status=404).text
    assert "no rollout 'none'" in browser.page("/rollouts/none/history", status=404).text


@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_an_address_without_a_page_is_a_page_for_a_browser(small_world, role):
    answer = small_world.browser(role).get("/nope/<b>", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 404
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert "There is no page /nope/&lt;b&gt; on this hub." in answer.text
    assert Page(answer.text).links["To the overview"] == "/"


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/nope", {}), ("/api/v1/nope", {"Accept": "text/html"}), ("/api", {"Accept": "text/html"})],
)
def test_programs_are_answered_as_before_where_there_is_nothing(small_world, path, headers):
    answer = small_world.browser().get(path, headers=headers)
    assert answer.status_code == 404
    assert answer.json()["code"] == "NOT_FOUND"


def test_what_a_path_of_the_api_takes_is_said_beside_the_pages(small_world):
    answer = small_world.browser().client.delete("/logout", headers={"Accept": "text/html"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_a_rollout_shows_waves_sites_gates_and_moves(small_world):
    small_world.begin(LOOSE)
    alpha = small_world.sites["alpha"]
    for state in (SiteState.DOWNLOADING, SiteState.STAGED, SiteState.ACTIVATING):
        alpha.say(time.time(), "pets-two", state, Want.RUN)
    findings = Findings({GateName.ERRORS: (Compared(0.1, 1000, 5, 9000, 45),)}, Golden(1, 1, 0))
    alpha.report(
        time.time(),
        Progress("pets-two", SiteState.VERIFYING, Want.RUN, stage=2, waiting=True, findings=findings),
    )
    small_world.ask("tick", time.time())
    page = small_world.browser(Role.VIEWER).page("/rollouts/pets-two")
    for words in (
        "pets version 2",
        "answers 10 % of the requests; waits for more evidence",
        "new 5 of 1,000, old 45 of 9,000",
        "at most 1 % more of the answers are errors",
        "Activating → ◐ Verifying",
        "waves: [{name: all}]",
    ):
        assert words in page.text, words
    # Every state is told by a word, and by a sign that is no colour.
    assert "◐ Verifying" in page.text
    assert "≈ Inconclusive" in page.text


def test_the_latest_moves_are_the_latest_whenever_one_looks(small_world):
    browser = small_world.browser(Role.VIEWER)
    small_world.begin(start=False)
    assert "Nothing has moved" in browser.page("/rollouts/pets-two").text
    small_world.command("pets-two", "start")
    assert "Planned → ▸ Progressing" in browser.page("/rollouts/pets-two").text
    for _ in range(20):
        small_world.command("pets-two", "pause", "a")
        small_world.command("pets-two", "resume", "the last reason")
    page = browser.page("/rollouts/pets-two")
    assert "the last reason" in page.text
    assert "Planned → ▸ Progressing" not in page.text
    assert "Planned → ▸ Progressing" in browser.page("/rollouts/pets-two/history").text


def test_the_specification_is_shown_as_it_was_written(small_world):
    small_world.begin(LOOSE + "# <b>why</b> & what\n")
    answer = small_world.browser(Role.VIEWER).get("/rollouts/pets-two")
    assert "# &lt;b&gt;why&lt;/b&gt; &amp; what" in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/sites", "/sites/alpha", "/rollouts", "/rollouts/pets-two", "/rollouts/pets-two/history", "/audit"]
)
def test_whatever_people_write_stays_text(world, path):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    alpha = world.site("alpha")
    world.release(2)
    world.begin(LOOSE)
    # Labels come from agents as well; the hub's own check of them is not what these pages rely on.
    world.ask("note", OPERATOR, evil, evil, {evil: evil})
    next(iter(world.hub.plane._books.known.here())).labels = {"<script>alert(3)</script>": evil}
    alpha.inventory = Inventory(agent=evil, serving={"pets": 1}, runtimes={evil: evil})
    world.command("pets-two", "pause", evil)
    alpha.say(time.time(), "pets-two", SiteState.DOWNLOADING, Want.STAGE, why=evil)
    answer = world.browser(Role.ADMIN).get(path)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_releases_say_where_they_answer(small_world):
    alpha = small_world.sites["alpha"]
    alpha.inventory = Inventory(serving={"pets": 2})
    alpha.report(time.time())
    page = small_world.browser(Role.VIEWER).page("/releases")
    assert re.search(r"pets version 2 .* any 1.0 kB 1 site .* pets version 1 .* any 1.0 kB 0 sites", page.text)


def test_the_audit_log_has_pages_and_the_newest_first(small_world):
    for number in range(230):
        small_world.ask("note", OPERATOR, "test.note", f"thing-{number}", {})
    browser = small_world.browser(Role.VIEWER)
    seen, page = [], browser.page("/audit")
    while True:
        seen += re.findall(r"thing-(\d+)", page.text)
        if "Older" not in page.links:
            break
        page = browser.page(page.links["Older"])
    assert [int(one) for one in seen] == list(range(229, -1, -1))


def test_uploads_are_left_out_of_the_audit_log_unless_somebody_asks_for_them(small_world):
    for number in range(120):
        small_world.ask("note", OPERATOR, "blob.put", f"file-{number}", {})
    small_world.ask("note", OPERATOR, "site.label", "alpha", {})
    browser = small_world.browser(Role.VIEWER)
    page = browser.page("/audit")
    assert "site.label" in page.text
    assert "file-" not in page.text
    assert "file-" not in browser.page("/").text
    also = browser.page(page.links["Also uploads of files"])
    assert "file-119" in also.text
    older = browser.page(also.links["Older"])
    assert "file-0" in older.text
    assert "file-119" in browser.page(older.links["The newest"]).text
    assert "file-" not in browser.page(also.links["Without uploads"]).text


@pytest.mark.parametrize(
    "path", ["/audit?before=x", "/sites?page=-3", "/sites?page=1e9", "/rollouts?page=", "/rollouts/pets-two?wave=77"]
)
def test_numbers_in_addresses_that_are_none_do_no_harm(small_world, path):
    small_world.begin()
    small_world.browser(Role.VIEWER).page(path)


def test_a_script_is_answered_when_something_changes_and_not_before(small_world):
    small_world.begin()
    browser = small_world.browser(Role.VIEWER)
    live = next(given["data-live"] for _, given in browser.page("/rollouts/pets-two").tags if "data-live" in given)
    small_world.command("pets-two", "pause", "look here")
    answer = browser.get(live, headers={"X-Edgewise-Live": "1"})
    assert "look here" in answer.text
    after = re.search(r'data-live="([^"]*)"', answer.text)[1]
    assert after != live
