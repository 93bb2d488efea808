"""The pages of samples, as somebody sees and uses them who has no script."""

import itertools
import re

import pytest

from edgewise.core.releases import Chunk, Release, ReleaseFile, Variant
from edgewise.hub.control.actors import HUB, Role
from edgewise.hub.samples.pictures import keep
from support.control_world import OPERATOR, manifest_sha256
from support.pages_world import Page, World
from support.sample_world import label_of, picture, sample_id, take

COUNT = 30


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("samples"))
    for number in range(1, COUNT + 1):
        take(world.serving, number, source="<b>door</b>" if number == 1 else f"door-{number % 3}")
    take(world.serving, 99, b"[1.0]", kind="tensor", content_type="application/json", width=None, height=None)
    yield world
    world.close()


@pytest.fixture
def world(shared_world):
    """Nothing in it has a label."""
    samples = shared_world.serving.hub.plane.samples
    ids = [sample_id(number) for number in range(1, COUNT + 1)]
    shared_world.serving.asked(samples.label, dict.fromkeys(ids, ""), HUB)
    return shared_world


@pytest.fixture
def browser(world):
    return world.browser(Role.OPERATOR)


def send(browser, path, form, **fields):
    """Fill one form of a page, by its name, and send it."""
    for given, found in browser.page(path).forms:
        if given.get("aria-label") == form:
            return browser.client.post(given["action"], data={**found, **fields})
    raise AssertionError(form)


def key_of(page):
    """Of each label that can be given."""
    buttons = [given for tag, given in page.tags if tag == "button" and given.get("name") == "label"]
    return {one["value"]: one.get("data-key") for one in buttons}


@pytest.mark.parametrize("path", ["/samples", f"/samples/{sample_id(3)}?show=no"])
def test_a_page_can_be_found_around_in_without_eyes(browser, path):
    answer = browser.get(path)
    assert answer.headers["cache-control"] == "no-store"
    for source in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text):
        assert source == "" or source.startswith(("/", "#")), source
    page = browser.page(path)
    levels = [level for level, _ in page.headings]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [given["id"] for _, given in page.tags if given.get("id")]
    assert len(set(ids)) == len(ids)
    for tag, given in page.tags:
        assert given.get("for", ids[0]) in ids
        assert given.get("aria-labelledby", ids[0]) in ids
        assert tag != "img" or "alt" in given
    fields = [given["id"] for tag, given in page.tags if tag in {"input", "select"} and given.get("type") != "hidden"]
    labelled = [given.get("for") for tag, given in page.tags if tag == "label"]
    assert {one for one in fields if one != "keys"} <= set(labelled)
    assert any(given.get("aria-live") == "polite" for _, given in page.tags)


def test_all_are_shown_the_newest_first_page_by_page(browser):
    page = browser.page("/samples")
    shown = [given["href"] for tag, given in page.tags if tag == "a" and given.get("id", "").startswith("sample-")]
    assert len(shown) == 24
    assert shown[0] == f"/samples/{sample_id(99)}"
    assert "numbers, no picture" in page.text
    assert "pets said dog 60 %" in page.text
    older = browser.page(page.links["Older"])
    assert "Older" not in older.links
    assert "<b>door</b>" in older.text
    assert older.links["The newest"] == "/samples"


def test_what_is_chosen_is_shown_and_kept_on_the_way(browser):
    page = browser.page("/samples?source=door-2&reason=low-confidence&since=2026-11-18&until=2026-11-18")
    hrefs = [given["href"] for tag, given in page.tags if tag == "a" and given.get("id", "").startswith("sample-")]
    assert len(hrefs) == 10
    assert all("source=door-2" in href for href in hrefs)
    assert (
        "10 samples match: 10 without a label, 0 with one. On this hub are 31 samples: 31 without a label" in page.text
    )
    nowhere = browser.page("/samples?site=nowhere").text
    assert "0 samples match" in nowhere
    assert "No sample matches." in nowhere
    problem = browser.page("/samples?version=x", status=400)
    assert "The version 'x' is none" in problem.text


def test_a_sample_is_labelled_and_the_next_one_comes(world, browser):
    third, second = (f"/samples/{sample_id(number)}" for number in (3, 2))
    answer = send(browser, f"{third}?show=no&source=door-0", "Labels", label="dog")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{third}?show=no&source=door-0")
    # No other one of that source is older.
    page = browser.page(answer.headers["location"])
    assert "Labelled dog. That was the last one." in page.text
    assert page.headings[0] == (1, "dog")
    assert label_of(world.serving, sample_id(3)) == "dog"

    answer = send(browser, f"{third}?show=no", "Another label", label="small cat")
    assert answer.headers["location"] == f"{second}?show=no"
    page = browser.page(answer.headers["location"])
    assert "Labelled small cat." in page.text
    assert page.links["← Previous"] == f"/samples/{sample_id(4)}?show=no"
    before = key_of(page)
    # What the model says came first; what it only saw has no key. Who logs in anew finds the keys where they were.
    assert (before["dog"], before["small cat"], before["cat"]) == ("1", "2", None)
    send(browser, f"{second}?show=no", "Labels", label="cat")
    send(browser, f"{third}?show=no", "Labels", label="cat")
    after = key_of(world.browser(Role.OPERATOR).page(second))
    assert (after["dog"], after["cat"]) == ("1", "3")


def test_verdicts_that_the_newest_release_states_have_keys_before_they_were_given(tmp_path):
    world = World(tmp_path)
    one = take(world.serving, 1, prediction="other", scores=(("skunk", 0.2), ("armadillo", 0.1)))
    browser = world.browser(Role.OPERATOR)
    path = f"/samples/{one}"
    assert key_of(browser.page(path)) == {"other": "1", "skunk": None, "armadillo": None}
    for version, names in ((1, "bear"), (2, "dog cat")):
        settings = "".join(f'[[signatures.image.postprocess.groups]]\nname = "{name}"\n' for name in names.split())
        digest = keep(world.hub.blobs.upload, settings.encode())
        parts = (Chunk(len(settings), digest),)
        made = Release(
            *("pets", version, "2026-11-23T10:00:00Z"),
            {"any": Variant((ReleaseFile("model.toml", len(settings), digest, parts),))},
        )
        world.ask("add_release", made, manifest_sha256(made), OPERATOR)
    assert key_of(browser.page(path)) == {"other": "1", "cat": "2", "dog": "3", "skunk": None, "armadillo": None}
    world.close()


def test_what_was_done_is_taken_back_step_by_step(world, browser):
    one = f"/samples/{sample_id(7)}"
    send(browser, one, "Labels", label="dog")
    send(browser, one, "Labels", label="cat")
    answer = send(browser, "/samples/" + sample_id(2), "Undo")
    assert answer.headers["location"] == one
    assert "Taken back: it is labelled dog again." in browser.page(one).text
    send(browser, one, "Take the label back")
    assert label_of(world.serving, sample_id(7)) == ""
    send(browser, one, "Undo")
    assert label_of(world.serving, sample_id(7)) == "dog"
    send(browser, one, "Undo")
    assert label_of(world.serving, sample_id(7)) == ""
    answer = send(browser, one, "Undo")
    assert answer.status_code == 409
    assert "There is nothing left that you could take back." in answer.text


def test_what_somebody_else_did_since_is_not_undone(world, browser):
    one = f"/samples/{sample_id(8)}"
    send(browser, one, "Labels", label="dog")
    world.serving.asked(world.serving.hub.plane.samples.label, {sample_id(8): "fox"}, HUB)
    answer = send(browser, one, "Undo")
    assert answer.status_code == 409
    assert "Somebody else was there since: the sample is labelled fox now, and stays so." in answer.text
    assert label_of(world.serving, sample_id(8)) == "fox"


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("Labels", {"label": "dog"}),
        ("Another label", {"label": "wolf 7"}),
        ("Take the label back", {"take_back": "1"}),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"x-edgewise-live": "1"}])
def test_what_somebody_else_did_since_is_not_written_over(world, browser, form, fields, headers):
    one, label = f"/samples/{sample_id(10)}", world.serving.hub.plane.samples.label
    world.serving.asked(label, {sample_id(10): "cat"}, HUB)
    action, found = next(
        (given["action"], found) for given, found in browser.page(one).forms if given.get("aria-label") == form
    )
    world.serving.asked(label, {sample_id(10): "fox"}, HUB)
    answer = browser.client.post(action, data={**found, **fields}, headers=headers)
    assert answer.status_code == 409
    assert "Somebody else was there since this page was loaded: the sample is labelled fox now" in answer.text
    page = Page(answer.text)
    assert page.headings[0] == (1, "fox")
    assert not any("aria-invalid" in given for _, given in page.tags)
    assert label_of(world.serving, sample_id(10)) == "fox"
    # Both are there: theirs, and what was sent, to be given again.
    typed = next(found for given, found in page.forms if given.get("aria-label") == "Another label")
    assert (typed["seen"], typed["label"]) == ("fox", fields.get("label", ""))
    assert ("label" not in fields) or f"Your label {fields['label']} was not given" in answer.text
    # Who has seen that, or whose page did not say what it showed, may do it.
    seen = next(found for given, found in page.forms if given.get("aria-label") == form)
    assert browser.client.post(action, data={**seen, **fields}, headers=headers).status_code in {200, 303}
    assert label_of(world.serving, sample_id(10)) == fields.get("label", "")
    del found["seen"]
    world.serving.asked(label, {sample_id(10): "fox"}, HUB)
    assert browser.client.post(action, data={**found, **fields}, headers=headers).status_code in {200, 303}
    assert label_of(world.serving, sample_id(10)) == fields.get("label", "")


def test_two_who_say_the_same_are_of_one_mind(world, browser):
    one = f"/samples/{sample_id(11)}"
    given, found = browser.page(one).forms[1]
    world.serving.asked(world.serving.hub.plane.samples.label, {sample_id(11): "dog"}, HUB)
    assert browser.client.post(given["action"], data={**found, "label": "dog"}).status_code == 303


def test_a_label_that_is_none_is_refused_where_it_was_typed(world, browser):
    one = f"/samples/{sample_id(9)}"
    answer = send(browser, one, "Another label", label="../x")
    assert answer.status_code == 400
    assert "found the label" in answer.text
    assert 'value="../x"' in answer.text
    assert send(browser, one, "Another label", label=" ").status_code == 400
    assert label_of(world.serving, sample_id(9)) == ""


def test_labelling_begins_with_the_newest_one_that_has_no_label(browser):
    assert browser.page("/samples?source=door-1").links["Label those without a label"] == (
        "/samples/first?show=no&source=door-1&kind=picture"
    )
    answer = browser.get("/samples/first?show=no&source=door-1&kind=picture")
    assert answer.headers["location"] == f"/samples/{sample_id(28)}?show=no&source=door-1&kind=picture"
    answer = browser.get("/samples/first?show=no&site=nowhere")
    assert "there is nothing to label" in browser.page(answer.headers["location"]).text


def test_an_operator_is_asked_before_a_sample_goes(world, browser):
    ids = [take(world.serving, number, site="brief") for number in (51, 52)]
    one = f"/samples/{ids[1]}/delete?site=brief"
    assert world.browser(Role.VIEWER).get(one).status_code == 403
    action, form = browser.form(one)
    world.serving.asked(world.serving.hub.plane.samples.label, {ids[1]: "fox"}, HUB)
    answer = browser.client.post(action, data=form)
    assert answer.status_code == 409
    assert "It has been labelled in the meantime" in answer.text
    answer = browser.send(one)
    assert answer.headers["location"] == f"/samples/{ids[0]}?site=brief"
    assert f"The sample {ids[1][:8]} was deleted." in browser.page(answer.headers["location"]).text
    assert browser.get(f"/samples/{ids[1]}").status_code == 404
    assert browser.send(f"/samples/{ids[0]}/delete?site=brief").headers["location"] == "/samples?site=brief"
    assert "sample.delete" in world.browser(Role.ADMIN).page("/audit").text


def test_who_may_look_only_looks_only(world):
    viewer = world.browser(Role.VIEWER)
    page = viewer.page(f"/samples/{sample_id(3)}")
    assert "you can look, and not label" in page.text
    assert [given["action"] for given, _ in page.forms] == ["/logout"]
    assert "Delete" not in page.links
    assert "Label those without a label" not in viewer.page("/samples").links
    form_key = page.forms[0][1]["form_key"]
    for path in (f"/samples/{sample_id(3)}/label", "/samples/undo"):
        answer = viewer.client.post(path, data={"form_key": form_key, "label": "dog"})
        assert answer.status_code == 403
        assert "needs the role operator" in answer.text
    assert label_of(world.serving, sample_id(3)) == ""


def test_a_form_from_elsewhere_labels_nothing(world, browser):
    for form_key in ({}, {"form_key": "guessed"}):
        answer = browser.client.post(f"/samples/{sample_id(3)}/label", data={**form_key, "label": "dog"})
        assert answer.status_code == 403
    assert label_of(world.serving, sample_id(3)) == ""


def test_a_picture_is_for_who_is_logged_in_and_runs_nothing(world, browser):
    path = f"/samples/{sample_id(5)}/picture"
    answer = browser.get(path)
    assert (answer.content, answer.headers["content-type"]) == (picture(5), "image/png")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert browser.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert world.browser().get(path).headers["location"].startswith("/login")
    assert "attachment" in browser.get(f"/samples/{sample_id(99)}/picture").headers["content-disposition"]


def test_a_script_is_told_where_to_go_on_and_what_was_wrong(world, browser):
    given, found = browser.page(f"/samples/{sample_id(6)}?show=no").forms[1]
    live = {"x-edgewise-live": "1"}
    answer = browser.client.post(given["action"], data={**found, "label": "dog"}, headers=live)
    assert answer.json() == {"to": f"/samples/{sample_id(5)}?show=no", "said": "Labelled dog."}
    answer = browser.client.post(given["action"], data={**found, "label": "d/g"}, headers=live)
    assert answer.status_code == 400
    assert 'class="sentence"' in answer.text
    answer = world.browser().client.post(given["action"], data=found, headers=live)
    assert answer.status_code == 401


@pytest.mark.parametrize("path", [f"/samples/{'f' * 32}", "/samples/nonsense", f"/samples/{'f' * 32}/picture"])
def test_a_sample_that_is_not_there_is_a_page_that_says_so(browser, path):
    assert "here is no sample" in browser.page(path, status=404).text


def test_who_comes_back_to_a_form_finds_its_page(browser):
    one = f"/samples/{sample_id(5)}"
    assert browser.get(f"{one}/label?show=no").headers["location"] == f"{one}?show=no"
    assert browser.get("/samples/undo?show=no").headers["location"] == "/samples?show=no"


def test_samples_of_the_same_moment_are_gone_through_one_by_one_and_back(world, browser):
    ids = [take(world.serving, number, site="twins", captured_s=1.0e9) for number in (41, 42, 43)]
    there = [browser.get("/samples/first?site=twins").headers["location"]]
    back = []
    while "Next →" in (links := browser.page(there[-1]).links):
        there.append(links["Next →"])
    at = there[-1]
    while "← Previous" in (links := browser.page(at).links):
        at = links["← Previous"]
        back.append(at)
    assert there == [f"/samples/{one}?site=twins" for one in reversed(ids)]
    assert back == there[-2::-1]
