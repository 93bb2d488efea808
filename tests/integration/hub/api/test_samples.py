"""Samples that people bring, look at, label and let go."""

import hashlib
import io
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image


def picture(shade, size=(8, 6), image_format="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size, (shade, 80, 160)).save(file, image_format)
    return file.getvalue()


def bring(world, content, **asked):
    answer = world.operator.post("/api/v1/samples", params=asked, content=content)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def listed(world, **asked):
    return [one["id"] for one in world.viewer.get("/api/v1/samples", params=asked).raise_for_status().json()["samples"]]


def test_a_picture_that_is_brought_is_shown_as_it_is(world):
    content = picture(1, image_format="JPEG")
    brought = bring(world, content, label="dog", source="porch", model="pets", captured="2026-11-20T10:00:00Z")
    assert brought["sha256"] == hashlib.sha256(content).hexdigest()
    assert (brought["width"], brought["height"], brought["kind"]) == (8, 6, "picture")
    assert (brought["label"], brought["labelled_by"], brought["expires"]) == ("dog", "operator", "")
    assert (brought["captured"], brought["reasons"]) == ("2026-11-20T10:00:00Z", ["imported"])
    assert world.viewer.get(f"/api/v1/samples/{brought['id']}").json() == brought
    answer = world.viewer.get(f"/api/v1/samples/{brought['id']}/picture")
    assert (answer.content, answer.headers["content-type"]) == (content, "image/jpeg")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = world.viewer.get(
        f"/api/v1/samples/{brought['id']}/picture", headers={"if-none-match": answer.headers["etag"]}
    )
    assert again.status_code == 304


def test_the_same_picture_of_the_same_source_is_kept_once(world):
    content = picture(2)
    first = world.operator.post("/api/v1/samples", params={"source": "here"}, content=content)
    second = world.operator.post("/api/v1/samples", params={"source": "here", "label": "cat"}, content=content)
    other = world.operator.post("/api/v1/samples", params={"source": "there"}, content=content)
    assert (first.status_code, second.status_code, other.status_code) == (201, 200, 201)
    assert first.json()["id"] == second.json()["id"] != other.json()["id"]
    assert second.json()["label"] == "cat"


def test_a_picture_that_is_brought_leaves_the_reserve_alone(world, monkeypatch):
    content = picture(4)
    with monkeypatch.context() as patched:
        free = world.hub.segments.files._reserve_bytes
        patched.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
        answer = world.operator.post("/api/v1/samples", content=content)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "UNAVAILABLE", "300")
    assert not world.hub.blobs.has(hashlib.sha256(content).hexdigest())
    bring(world, content)


def test_what_is_no_picture_is_refused(world):
    for content, said in (
        (b"", "the body is empty"),
        (b"GIF89a", "the body: the input is not a JPEG, PNG or WebP image"),
        (picture(3)[:20], "the image is truncated"),
    ):
        answer = world.operator.post("/api/v1/samples", content=content)
        assert answer.status_code == 400
        assert said in answer.json()["error"]


def test_labels_are_set_taken_back_and_remembered(world):
    name = bring(world, picture(4), source="labels")["id"]
    for label in ("dog", "cat", "cat", ""):
        shown = world.operator.put(f"/api/v1/samples/{name}/label", json={"label": label}).raise_for_status().json()
        assert shown["label"] == label
        assert bool(shown["labelled_at"]) == bool(label)
    history = world.hub.plane.samples.history
    moves = world.asked(history, name)
    assert [(move.actor, move.before, move.after) for move in moves] == [
        ("operator", "", "dog"),
        ("operator", "dog", "cat"),
        ("operator", "cat", ""),
    ]


def test_many_are_labelled_at_once_or_none(world):
    names = [bring(world, picture(number), source="bulk")["id"] for number in (10, 11, 12)]
    before = world.viewer.get("/api/v1/audit").json()[0]["number"]
    answer = world.operator.post("/api/v1/labels", json={"labels": dict.fromkeys(names, "bulk")})
    assert answer.json() == {"changed": 3, "kept": []}
    [entry] = [one for one in world.viewer.get("/api/v1/audit").json() if one["number"] > before]
    assert (entry["action"], entry["subject"], entry["details"]) == ("sample.label", "3 samples", {"label bulk": "3"})
    assert world.viewer.get("/api/v1/labels").json()["labels"]["bulk"] == 3
    refused = world.operator.post("/api/v1/labels", json={"labels": {names[0]: "x", "0" * 32: "x"}})
    assert refused.status_code == 404
    assert world.viewer.get(f"/api/v1/samples/{names[0]}").json()["label"] == "bulk"


def test_with_what_was_seen_a_label_that_was_given_since_stays(world):
    names = [bring(world, picture(number), source="seen", label="cat")["id"] for number in (13, 14, 15)]
    world.operator.put(f"/api/v1/samples/{names[1]}/label", json={"label": "dog"}).raise_for_status()

    def labels():
        return [world.viewer.get(f"/api/v1/samples/{name}").json()["label"] for name in names]

    seen = {names[0]: "cat", names[1]: "cat", names[2]: ""}
    answer = world.operator.post("/api/v1/labels", json={"labels": dict.fromkeys(names, "fox"), "seen": seen}).json()
    assert answer["changed"] == 1
    assert [(one["id"], one["label"], one["labelled_by"]) for one in answer["kept"]] == [
        (names[1], "dog", "operator"),
        (names[2], "cat", "operator"),
    ]
    assert answer["kept"][0]["labelled_at"]
    assert labels() == ["fox", "dog", "cat"]
    path = f"/api/v1/samples/{names[1]}/label"
    refused = world.operator.put(path, json={"label": "fox", "seen": "cat"})
    assert refused.status_code == 409
    assert "the sample is labelled dog by operator since 20" in refused.json()["error"]
    assert world.operator.put(path, json={"label": "dog", "seen": "cat"}).status_code == 200
    assert world.operator.put(path, json={"label": "fox", "seen": "dog"}).json()["label"] == "fox"
    # A picture that is there.
    again = {"source": "seen", "label": "wolf", "seen": ""}
    assert bring(world, picture(15), **again)["label"] == "cat"
    assert bring(world, picture(15), **{**again, "seen": "cat"})["label"] == "wolf"


def test_only_so_many_are_counted_of_those_that_a_filter_means(world, monkeypatch):
    monkeypatch.setattr("edgewise.hub.samples.books.MOST_COUNTED", 2)
    for number in (16, 17, 18):
        bring(world, picture(number), source="counted")
    counts = world.viewer.get("/api/v1/labels", params={"source": "counted"}).json()
    assert (counts["unlabelled"], counts["more"]) == (3, True)


@pytest.mark.parametrize("label", ["../up", ".hidden", "x" * 65, "a/b", " lead", "trail ", "nul\x00"])
def test_a_label_is_the_name_of_a_folder_as_well(world, label):
    name = bring(world, picture(5), source="names")["id"]
    assert world.operator.put(f"/api/v1/samples/{name}/label", json={"label": label}).status_code == 400


def test_samples_are_found_by_what_is_known_of_them_page_by_page(world):
    names = [
        bring(world, picture(20 + hour), source="pages", captured=f"2026-11-19T{hour:02}:00:00Z")["id"]
        for hour in range(5)
    ]
    names.reverse()
    assert listed(world, source="pages") == names
    assert listed(world, source="pages", since="2026-11-19T01:00:00Z", until="2026-11-19T03:00:00Z") == names[2:4]
    seen, after = [], ""
    while True:
        page = world.viewer.get("/api/v1/samples", params={"source": "pages", "limit": 2, "after": after}).json()
        seen += [one["id"] for one in page["samples"]]
        after = page["after"]
        if not after:
            break
    assert seen == names
    world.operator.put(f"/api/v1/samples/{names[0]}/label", json={"label": "dog"})
    assert listed(world, source="pages", labelled="yes") == names[:1] == listed(world, source="pages", label="dog")
    assert listed(world, source="pages", labelled="no") == names[1:]
    assert listed(world, source="pages", reason="imported") == names
    assert listed(world, source="pages", reason="import") == []
    assert listed(world, source="pages", id_start=names[1][:9]) == [names[1]]
    counts = world.viewer.get("/api/v1/labels", params={"source": "pages", "since": "2026-11-19T01:00:00Z"}).json()
    assert counts == {"labels": {"dog": 1}, "unlabelled": 3, "more": False}
    assert listed(world, source="nothing\x00") == []
    for wrong in ({"after": "x"}, {"since": "yesterday"}, {"limit": 0}, {"id_start": "abc"}, {"id_start": "%"}):
        assert world.viewer.get("/api/v1/samples", params=wrong).status_code == 400


def test_a_sample_that_is_let_go_is_gone_and_its_picture_goes_after_it(world):
    content = picture(6)
    first, second = (bring(world, content, source=source)["id"] for source in ("one", "two"))
    world.operator.delete(f"/api/v1/samples/{first}").raise_for_status()
    assert world.viewer.get(f"/api/v1/samples/{first}").status_code == 404
    assert world.operator.delete(f"/api/v1/samples/{first}").status_code == 404
    assert world.viewer.get(f"/api/v1/samples/{second}/picture").content == content
