"""`edgewise data` against the hub's own app: pictures brought, looked at, labelled, exported and brought to another hub."""

import io
import json
import re

import pytest
from PIL import Image

from edgewise.core.errors import UnavailableError
from edgewise.hub.control.actors import HUB, Actor, Role
from edgewise.hub.samples.pictures import keep
from edgewise.hub.store.samples import SampleFilter
from support.hub_in_thread import HubInThread
from support.sample_world import take

LABELS = {"dog-1": "dog", "dog-2": "dog", "cat-1": "cat", "none-1": ""}


def picture(shade, image_format="JPEG"):
    file = io.BytesIO()
    Image.new("RGB", (12, 8), (shade, 80, 160)).save(file, image_format)
    return file.getvalue()


@pytest.fixture(scope="module")
def hubs(tmp_path_factory):
    """Two of them, which take longer to make than to use."""
    directory = tmp_path_factory.mktemp("hubs")
    with HubInThread(directory / "one").serving() as one, HubInThread(directory / "other").serving() as other:
        yield one, other


@pytest.fixture
def hub(hubs):
    yield hubs[0]
    for one in hubs:
        for sample in one.asked(one.hub.plane.samples.list, SampleFilter())[0]:
            one.asked(one.hub.plane.samples.delete, sample.id, HUB)


@pytest.fixture
def other_hub(hubs):
    return hubs[1]


@pytest.fixture
def edgewise(edgewise, hub, monkeypatch):
    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", hub.token)
    return edgewise


@pytest.fixture
def done(edgewise):
    """Runs a command that is to succeed, and gives what it printed."""

    def run(*words):
        code, out, err = edgewise("data", *words)
        # How many there are is told to people beside the table.
        told = re.fullmatch(r"([\d,]+ samples?\n)?", err)
        assert (code, told is not None) == (0, True), err
        return out

    return run


@pytest.fixture
def table(tmp_path):
    """A table of pictures, as somebody has it who had no hub before."""
    directory = tmp_path / "pictures"
    (directory / "images").mkdir(parents=True)
    for place, name in enumerate(LABELS):
        (directory / "images" / f"{name}.jpg").write_bytes(picture(place))
    lines = [f"{name}.jpg,{label},door-{place % 2}" for place, (name, label) in enumerate(LABELS.items())]
    (directory / "labels.csv").write_text("\n".join(("file,label,source", *lines)))
    return directory


@pytest.fixture
def brought(done, table):
    done("import", "--format", "csv", table)
    return json.loads(done("list", "--json"))


def labels(samples):
    return sorted(one["label"] for one in samples)


def test_pictures_are_brought_once_looked_at_and_labelled(done, edgewise, table, tmp_path):
    assert done("import", "--format", "csv", table) == "4 new pictures (1 without a label)\n"
    assert done("import", "--format", "csv", table) == "4 pictures that were there\n"
    (unlabelled,) = json.loads(done("list", "--unlabelled", "--json"))
    assert (unlabelled["source"], unlabelled["reasons"]) == ("door-1", ["imported"])
    text = done("list", "--label", "dog", "--source", "door-1", "--reason", "imported", "--since", "1d")
    assert text.splitlines()[0].split() == ["ID", "CAPTURED", "SITE", "SOURCE", "MODEL", "ANSWER", "LABEL", "WHY"]
    assert len(text.splitlines()) == 2
    assert done("list", "--site", "nowhere") == "no samples match\n"
    code, out, err = edgewise("data", "list", "--limit", "2")
    assert (code, len(out.splitlines()), err) == (0, 3, "the newest 2 of 4 samples that match: --limit N for more\n")
    assert edgewise("data", "list", "--label", "dog")[2] == "2 samples\n"

    sample_id = unlabelled["id"]
    assert done("label", sample_id, "dog") == "1 sample labelled dog\n"
    assert done("label", sample_id, "dog") == "1 was so before\n"
    shown = done("show", sample_id[:10], "--picture", tmp_path / "one.jpg")
    assert (tmp_path / "one.jpg").read_bytes() == picture(3)
    assert "label:          dog (olga, " in shown
    assert "image/jpeg, " in shown
    assert "12 x 8 pixels" in shown
    assert "kept until:     it is deleted\n" in shown
    assert done("label", "--clear", sample_id[:6]) == "1 sample without a label\n"
    assert json.loads(done("show", sample_id, "--json"))["label"] == ""


def test_the_beginning_of_an_id_means_one_sample_or_is_refused(done, edgewise, hub):
    for number in (0xABCDEF0 << 100, 0xABCDEF1 << 100):
        take(hub, number)
    first, second = (f"abcdef{digit}".ljust(32, "0") for digit in "01")
    assert json.loads(done("show", "abcdef1", "--json"))["id"] == second
    code, _, err = edgewise("data", "label", "abcdef", "dog")
    assert (code, err) == (
        1,
        f"edgewise: abcdef is the beginning of 2 ids: {first}, {second}; type more of the digits\n",
    )
    assert done("label", "abcdef0", first, "dog") == "1 sample labelled dog\n"


def test_samples_are_deleted_when_somebody_says_so_and_the_audit_log_has_it(done, edgewise, brought, hub):
    ids = [one["id"] for one in brought]
    code, out, err = edgewise("data", "delete", ids[0])
    assert (code, out) == (2, "")
    assert "say --yes to do it without a question" in err
    code, _, err = edgewise("data", "delete", "--yes", ids[0], "f" * 32)
    assert (code, err.startswith("edgewise: there is no sample")) == (1, True)
    assert len(json.loads(done("list", "--json"))) == 4
    assert done("delete", "--yes", ids[0][:12], ids[1]) == "2 samples deleted\n"
    assert {one["id"] for one in json.loads(done("list", "--json"))} == set(ids[2:])
    entries = hub.call("audit")
    assert {entry.subject for entry in entries if entry.action == "sample.delete"} >= set(ids[:2])


@pytest.mark.parametrize("form", ["folder", "csv", "coco", "label-studio"])
def test_what_is_exported_labels_the_same_samples_and_fills_another_hub(
    done, brought, hub, other_hub, monkeypatch, tmp_path, form
):
    out = tmp_path / "out"
    if form == "folder":
        assert done("export", "--format", form, "--out", out) == f"{out}: 3 pictures, 1 without a label left out\n"
    else:
        assert done("export", "--format", form, "--out", out) == f"{out}: 4 pictures\n"
    hub.asked(hub.hub.plane.samples.label, {one["id"]: "" for one in brought}, HUB)
    passed_over = "" if form == "folder" else ", 1 without a label passed over"
    left = f"3 labelled otherwise since the export and left so{passed_over}\n"
    assert done("import", "--format", form, out) == left
    assert done("import", "--format", form, out, "--force") == f"3 samples labelled{passed_over}\n"
    assert labels(json.loads(done("list", "--json"))) == ["", "cat", "dog", "dog"]

    monkeypatch.setenv("EDGEWISE_HUB", other_hub.url)
    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", other_hub.token)
    count = 3 if form == "folder" else 4
    assert (
        done("import", "--format", form, out, "--synthetic")
        == f"{count} new pictures{'' if form == 'folder' else ' (1 without a label)'}\n"
    )
    there = json.loads(done("list", "--json"))
    assert labels(there) == ["", "cat", "dog", "dog"][4 - count :]
    assert {one["source"] for one in there} == {"door-0", "door-1"}
    assert all(one["synthetic"] for one in there)


def test_a_label_that_somebody_gave_is_written_over_by_force_alone(edgewise, hub, brought, table):
    [cat] = [one["id"] for one in brought if one["label"] == "cat"]
    (table / "labels.csv").write_text((table / "labels.csv").read_text().replace("cat-1.jpg,cat", "cat-1.jpg,lynx"))
    (table / "by-id.csv").write_text(f"id,label\n{cat},lynx\n")
    said = f"the sample {cat} is labelled cat by olga since 20"
    for words in (
        ("label", "--file", table / "by-id.csv"),
        ("label", cat, "lynx"),
        ("import", "--format", "csv", table),
    ):
        code, out, err = edgewise("data", *words)
        assert code == 1
        assert out in {
            "0 samples labelled lynx\n",
            "1 labelled otherwise by others and left so\n",
            "4 pictures that were there, 1 labelled otherwise by others and left so\n",
        }
        assert said in err
        assert err.endswith("; --force writes over that\n")
        assert hub.asked(hub.hub.plane.samples.one, cat).label == "cat"
        assert edgewise("data", *words, "--force")[0] == 0
        assert hub.asked(hub.hub.plane.samples.one, cat).label == "lynx"
        hub.asked(hub.hub.plane.samples.label, {cat: "cat"}, Actor("olga"))


def test_labels_come_back_from_a_table_and_what_is_wrong_is_told(edgewise, brought, tmp_path):
    file = tmp_path / "labels.csv"
    first, second, third = (one["id"] for one in brought[:3])
    unknown = "f" * 32
    file.write_text(f"id;label\n{first};bird\n{second};\n{unknown};cat\n{third};no/label\nword;cat\n")
    code, out, err = edgewise("data", "label", "--file", file)
    assert code == 1
    assert out == "1 sample labelled, 1 without a label passed over, 3 refused\n"
    no_label, *others = err.splitlines()
    assert no_label.startswith(f"edgewise: {file}, line 5: found the label 'no/label', expected 1 to 64 letters")
    assert others == [
        f"edgewise: {file}, line 6: found the id 'word', expected one as `edgewise data list` shows them",
        f"edgewise: {file}, line 4: the hub knows no sample {unknown}, and its picture is not here",
    ]
    code, out, err = edgewise("data", "label", first, unknown, "dog", "--force")
    assert (code, out, err) == (1, "1 sample labelled dog\n", f"edgewise: there is no sample {unknown}\n")


def test_a_picture_that_the_hub_does_not_take_keeps_no_other_from_it(edgewise, table):
    (table / "images" / "dog-1.jpg").write_bytes(picture(0)[:-2])
    (table / "images" / "dog-2.jpg").write_text("a text")
    code, out, err = edgewise("data", "import", "--format", "csv", table)
    assert (code, out) == (1, "2 new pictures (1 without a label), 2 refused\n")
    cut, text = err.splitlines()
    assert cut == (
        f"edgewise: {table / 'labels.csv'}, line 2: {table / 'images' / 'dog-1.jpg'}: the JPEG image is damaged: "
        "its end marker is missing, so it was cut off; copy it again from where it came"
    )
    assert text == (
        f"edgewise: {table / 'labels.csv'}, line 3: {table / 'images' / 'dog-2.jpg'} begins with b'a text', "
        "expected a JPEG, PNG or WebP picture"
    )


def test_what_is_wrong_in_a_folder_names_each_file_once(edgewise, tmp_path):
    pets = tmp_path / "pets"
    (pets / "cat").mkdir(parents=True)
    (pets / "cat" / "cut.png").write_bytes(picture(1, "PNG")[:-4])
    (pets / "cat" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (pets / "cat" / "text.png").write_text("a text")
    code, out, err = edgewise("data", "import", "--format", "folder", pets)
    assert (code, out) == (1, "3 refused\n")
    link, cut, text = err.splitlines()
    assert (
        link == f"edgewise: {pets / 'cat' / 'link.png'}: is a link that leads out of {pets}; copy the picture instead"
    )
    assert cut.startswith(f"edgewise: {pets / 'cat' / 'cut.png'}: the PNG image is damaged: its chunk IEND is missing")
    assert text.startswith(f"edgewise: {pets / 'cat' / 'text.png'}: begins with b'a text', expected a JPEG")


def test_folders_are_brought_as_programs_for_training_have_them(done, tmp_path):
    for place, name in enumerate(("dog", "cat")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").write_bytes(picture(place, "PNG"))
    assert done("import", "--format", "folder", tmp_path / "pets", "--source", "oxford") == "2 new pictures\n"
    assert labels(json.loads(done("list", "--source", "oxford", "--json"))) == ["cat", "dog"]


def test_what_cannot_be_done_is_said_before_anything_is_done(edgewise, brought, hub, monkeypatch, tmp_path):
    sample_id = brought[0]["id"]
    for words, said in (
        (("label", sample_id), "say ID... and behind them the LABEL"),
        (("label", sample_id, sample_id), "say ID... and behind them the LABEL"),
        (("label",), "say one of: ID... LABEL, --file FILE, --clear ID..."),
        (("list", "--label", "dog", "--unlabelled"), "not allowed with argument"),
        (("list", "--since", "yesterday"), "expected a time such as 2026-11-23"),
    ):
        code, _, err = edgewise("data", *words)
        assert code == 2
        assert said in err
    for words, said in (
        (("label", sample_id, "no/label"), "found the label 'no/label'"),
        (
            ("label", "word", "dog"),
            "found the id 'word', expected the 32 hexadecimal digits that `edgewise data list` shows, or the first",
        ),
        (("show", sample_id[:5]), "or the first of them, at least 6"),
        (("delete", "--yes", sample_id, "word"), "found the id 'word', expected the 32 hexadecimal digits"),
        (("show", "0" * 32), "there is no sample"),
        (("show", "0" * 8), "there is no sample whose id begins with 00000000"),
        (("export", "--format", "csv", "--out", tmp_path), "is there already and not empty"),
        (
            ("export", "--format", "csv", "--site", "nowhere", "--out", tmp_path / "none"),
            "there is no picture to export (no sample matches); nothing was written",
        ),
        (("import", "--format", "csv", tmp_path / "none.csv"), "there is no"),
    ):
        code, _, err = edgewise("data", *words)
        assert code == 1
        assert said in err
    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", hub.call("create_token", "vera", Role.VIEWER, actor=HUB))
    assert edgewise("data", "list")[0] == 0
    code, out, err = edgewise("data", "label", sample_id, "dog")
    assert (code, out) == (1, "")
    assert "vera has the role viewer; this needs the role operator" in err


def test_what_was_done_is_told_when_the_hub_is_lost_in_the_middle(edgewise, table, monkeypatch):
    kept = []

    def lost(upload, content):
        kept.append(content)
        if len(kept) == 3:
            raise UnavailableError("there is no room for a blob")
        return keep(upload, content)

    monkeypatch.setattr("edgewise.hub.api.sample_routes.keep", lost)
    code, out, err = edgewise("data", "import", "--format", "csv", table)
    assert (code, out, err) == (1, "2 new pictures\n", "edgewise: there is no room for a blob\n")
