"""What an import writes over, and what it leaves: each format, with a hub behind the same methods as the client's."""

import csv
import json
import shutil

import pytest

from edgewise.core.errors import NotFoundError
from edgewise.hub.console.data_import import Taken, bring_in
from edgewise.hub.labelling.exporting import export
from edgewise.hub.labelling.formats import FORMATS
from edgewise.hub.labelling.shown import KeptLabel, LabelsTaken, Shown

PNG = b"\x89PNG\r\n\x1a\n"
ONE, TWO, THREE, FOUR = (f"{number:032x}" for number in range(1, 5))
SINCE = "2026-11-23T11:00:00Z"


class Hub:
    """Labels by samples; what the client's methods say of them."""

    def __init__(self, **labels):
        self.labels = dict(labels)

    @property
    def samples(self):
        return [self.sample(one) for one in self.labels]

    def sample(self, sample_id):
        if sample_id not in self.labels:
            raise NotFoundError("there is no such sample")
        label = self.labels[sample_id]
        by = {"labelled_by": "olga", "labelled_at": SINCE} if label else {}
        return Shown(id=sample_id, content_type="image/png", label=label, **by)

    def label_samples(self, labels, seen):
        now = {one: self.sample(one) for one in labels}
        kept = [one for one, label in labels.items() if now[one].label not in {label, seen.get(one, now[one].label)}]
        taken = {one: label for one, label in labels.items() if one not in kept and now[one].label != label}
        self.labels.update(taken)
        told = (KeptLabel(one, now[one].label, now[one].labelled_by, now[one].labelled_at) for one in kept)
        return LabelsTaken(len(taken), tuple(told))

    def add_picture(self, content, _content_type, about, *, seen):
        name = f"{1000 + content[-1]:032x}"
        is_new = name not in self.labels
        if self.labels.setdefault(name, about["label"]) == seen or seen is None:
            self.labels[name] = about["label"]
        return self.sample(name), is_new


def picture(sample_id):
    return PNG + bytes([int(sample_id, 16)])


def brought(hub, form, path, **words):
    taken = Taken()
    bring_in(hub, FORMATS[form].read(path), taken, **words)
    return taken


def relabel(form, out, sample_id, label):
    """Say in an export that a sample is something else, as people and programs do."""
    if form == "folder":
        [there] = out.glob(f"*/{sample_id}.png")
        (out / label).mkdir(exist_ok=True)
        there.rename(out / label / there.name)
    elif form == "csv":
        with (out / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        with (out / "labels.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows({**row, "label": label} if row["id"] == sample_id else row for row in rows)
    elif form == "coco":
        said = json.loads((out / "annotations.json").read_text())
        [image] = [one for one in said["images"] if one["edgewise"]["id"] == sample_id]
        said["annotations"] = [one for one in said["annotations"] if one["image_id"] != image["id"]]
        number = 90 + len(said["categories"])
        said["categories"].append({"id": number, "name": label})
        said["annotations"].append({"image_id": image["id"], "category_id": number})
        (out / "annotations.json").write_text(json.dumps(said))
    else:
        tasks = json.loads((out / "tasks.json").read_text())
        [task] = [one for one in tasks if one["data"]["edgewise_id"] == sample_id]
        task["annotations"] = [{"result": [{"type": "choices", "value": {"choices": [label]}}]}]
        (out / "tasks.json").write_text(json.dumps(tasks))


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_that_nobody_touched_sets_nothing_back(tmp_path, form):
    hub = Hub(**dict.fromkeys((ONE, TWO, THREE), "cat"))
    export(hub.samples, picture, FORMATS[form], tmp_path / "out")
    hub.labels |= {TWO: "dog", THREE: ""}
    taken = brought(hub, form, tmp_path / "out")
    assert hub.labels == {ONE: "cat", TWO: "dog", THREE: ""}
    assert taken.is_whole
    assert taken.text == "1 had that label, 2 labelled otherwise since the export and left so"
    taken = brought(hub, form, tmp_path / "out", force=True)
    assert taken.text == "2 samples labelled, 1 had that label"
    assert set(hub.labels.values()) == {"cat"}


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_changed_in_a_file_is_taken_unless_others_changed_it_meanwhile(tmp_path, form):
    hub = Hub(**dict.fromkeys((ONE, TWO, THREE, FOUR), "cat"))
    export(hub.samples, picture, FORMATS[form], tmp_path / "out")
    for one in (ONE, TWO, THREE, FOUR):
        relabel(form, tmp_path / "out", one, "lynx")
    hub.labels |= {TWO: "dog", THREE: "", FOUR: "lynx"}
    taken = brought(hub, form, tmp_path / "out")
    assert hub.labels == {ONE: "lynx", TWO: "dog", THREE: "", FOUR: "lynx"}
    assert not taken.is_whole
    assert taken.text == "1 sample labelled, 1 had that label, 2 labelled otherwise by others and left so"
    assert sorted(one.why for one in taken.conflicts) == [
        f"the sample {TWO} is labelled dog by olga since {SINCE}, and here it is lynx; --force writes over that",
        f"the sample {THREE} has no label any more, somebody took it back, and here it is lynx; --force writes over that",
    ]
    assert all(str(tmp_path / "out") in one.where for one in taken.conflicts)
    brought(hub, form, tmp_path / "out", force=True)
    assert set(hub.labels.values()) == {"lynx"}


@pytest.mark.parametrize("form", ["csv", "coco", "label-studio"])
def test_what_was_exported_without_a_label_is_labelled_where_nobody_was_quicker(tmp_path, form):
    hub = Hub(**dict.fromkeys((ONE, TWO), ""))
    export(hub.samples, picture, FORMATS[form], tmp_path / "out")
    for one in (ONE, TWO):
        relabel(form, tmp_path / "out", one, "lynx")
    hub.labels[TWO] = "dog"
    taken = brought(hub, form, tmp_path / "out")
    assert hub.labels == {ONE: "lynx", TWO: "dog"}
    assert len(taken.conflicts) == 1


def test_a_table_that_remembers_nothing_labels_what_has_no_label(tmp_path):
    hub = Hub(**{ONE: "", TWO: "dog", THREE: "cat"})
    path = tmp_path / "labels.csv"
    path.write_text("id,label\n" + "".join(f"{one},cat\n" for one in (ONE, TWO, THREE)))
    taken = brought(hub, "csv", path)
    assert hub.labels == {ONE: "cat", TWO: "dog", THREE: "cat"}
    assert [(one.where, f"is labelled dog by olga since {SINCE}" in one.why) for one in taken.conflicts] == [
        (f"{path}, line 3", True)
    ]
    assert brought(hub, "csv", path, force=True).is_whole
    assert set(hub.labels.values()) == {"cat"}


def test_a_picture_that_is_there_keeps_its_label_too(tmp_path):
    hub = Hub()
    path = tmp_path / "labels.csv"
    (tmp_path / "a.png").write_bytes(picture(ONE))
    path.write_text("file,label\na.png,cat\n")
    assert brought(hub, "csv", path).text == "1 new picture"
    assert brought(hub, "csv", path).text == "1 picture that was there"
    [name] = hub.labels
    hub.labels[name] = "dog"
    taken = brought(hub, "csv", path)
    assert (taken.text, taken.is_whole) == (
        "1 picture that was there, 1 labelled otherwise by others and left so",
        False,
    )
    assert hub.labels[name] == "dog"
    brought(hub, "csv", path, force=True)
    assert hub.labels[name] == "cat"
    # An export whose samples this hub never had: what it remembers is another hub's.
    out = tmp_path / "out"
    export(Hub(**{ONE: "fox"}).samples, picture, FORMATS["folder"], out)
    assert brought(hub, "folder", out).text == (
        "1 picture that was there, 1 labelled otherwise since the export and left so"
    )
    hub.labels[name] = ""
    brought(hub, "folder", out)
    assert hub.labels[name] == "fox"


def forget(form, out):
    """Leave of an export what other programs leave: the names of pictures, and what they show."""
    if form == "folder":
        (out / "samples.json").unlink()
    elif form == "csv":
        with (out / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        (out / "labels.csv").write_text("file,label\n" + "".join(f"{row['file']},{row['label']}\n" for row in rows))
    elif form == "coco":
        said = json.loads((out / "annotations.json").read_text())
        images = [{"id": one["id"], "file_name": one["file_name"].rpartition("/")[2]} for one in said["images"]]
        (out / "annotations.json").write_text(json.dumps({**said, "images": images}))
    else:
        tasks = json.loads((out / "tasks.json").read_text())
        said = [{**task, "data": {"image": task["data"]["image"]}} for task in tasks]
        (out / "tasks.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("form", "beside"), [(form, beside) for form in FORMATS for beside in (True, False) if beside or form != "folder"]
)
def test_a_picture_is_known_again_by_its_name_in_an_export(tmp_path, form, beside):
    out, several = tmp_path / "out", f"{FOUR}-1"
    hub = Hub(**dict.fromkeys((ONE, TWO, THREE, several), "cat"))
    export(hub.samples, lambda sample_id: picture(sample_id[:32]), FORMATS[form], out)
    forget(form, out)
    if not beside:
        shutil.rmtree(out / "images")
    hub.labels |= {ONE: "", TWO: "dog", several: ""}
    taken = brought(hub, form, out)
    assert taken.text == "2 samples labelled, 1 had that label, 1 labelled otherwise by others and left so"
    assert hub.labels == {ONE: "cat", TWO: "dog", THREE: "cat", several: "cat"}
    # Another hub knows none of them: there the pictures are new, where they are here.
    other = Hub()
    assert brought(other, form, out).text == ("4 new pictures" if beside else "4 refused")


def test_the_id_of_a_line_goes_before_the_name_of_its_picture(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"id,file,label\n{ONE},images/{TWO}.jpg,cat\n,{ONE}.jpg,dog\n,sub/x{TWO}.jpg,dog\n")
    found = FORMATS["csv"].read(path)
    assert [(one.sample_id, one.label) for one in found.entries] == [(ONE, "cat")]
    assert ["names again" in one.why or "there is no file" in one.why for one in found.refused] == [True, True]
