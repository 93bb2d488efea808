"""What is written in each format is read back as the same; what is wrong is refused, and the message says where and what."""

import hashlib
import json

import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.hub.labelling import files
from edgewise.hub.labelling.exporting import Exported, export
from edgewise.hub.labelling.formats import FORMATS
from edgewise.hub.labelling.shown import Score, Shown, label_fault

JPEG = b"\xff\xd8\xff\xe0 picture %d"
ONE, TWO, THREE = "a" * 32, "b" * 32 + "-1", "c" * 32


def sample(sample_id, label="", **about):
    content = JPEG % ord(sample_id[0])
    said = {
        "site": "berlin",
        "source": "door-1",
        "captured": "2026-11-23T10:00:00Z",
        "model": "pets",
        "version": 3,
        "confidence": 0.75,
        "prediction": "dog",
        "scores": (Score("dog", 0.75), Score("cat", 0.25)),
        "content_type": "image/jpeg",
        "sha256": hashlib.sha256(content).hexdigest(),
        "width": 64,
        "height": 48,
        **about,
    }
    return Shown(sample_id, label=label, **said)


def picture(sample_id):
    return JPEG % ord(sample_id[0])


def exported(tmp_path, name, *samples):
    out = tmp_path / "out"
    return out, export(samples, picture, FORMATS[name], out)


def read(name, path):
    return FORMATS[name].read(path)


def refusals(found):
    return [(one.where, one.why) for one in found.refused]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_exported_is_read_back_as_the_same(tmp_path, name):
    samples = [
        sample(ONE, "dog"),
        sample(TWO, "cat", synthetic=True, source="=1+1"),
        sample(THREE, "-dog 2.b_-x", source="'=x"),
    ]
    out, said = exported(tmp_path, name, *samples)
    assert said == Exported(3, 0, 0, 0)
    found = read(name, out)
    assert found.refused == []
    by_id = {entry.sample_id: entry for entry in found.entries}
    for one in samples:
        entry = by_id[one.id]
        assert entry.label == entry.exported == one.label
        assert entry.picture.read_bytes() == picture(one.id)
        assert (entry.source, entry.site, entry.model) == (one.source, "berlin", "pets")
        assert (entry.captured, entry.synthetic) == ("2026-11-23T10:00:00Z", one.synthetic)


@pytest.mark.parametrize("name", FORMATS)
def test_what_has_no_label_or_no_picture_is_left_out_and_counted(tmp_path, name):
    tensor = sample(THREE, "dog", kind="tensor", content_type="application/json")
    out, said = exported(tmp_path, name, sample(ONE, "dog"), sample(TWO), tensor)
    without_label = 1 if name == "folder" else 0
    assert said == Exported(2 - without_label, without_label, 1, 0)
    assert sorted(entry.label for entry in read(name, out).entries) == ["", "dog"][without_label:]


def gone(*ids):
    def of(sample_id):
        if sample_id in ids:
            raise NotFoundError("gone")
        return picture(sample_id)

    return of


@pytest.mark.parametrize(
    ("name", "samples", "why"),
    [
        ("csv", [], "there is no picture to export (no sample matches); nothing was written"),
        ("csv", [sample(ONE, "dog")], "there is no picture to export (1 gone meanwhile); nothing was written"),
        ("folder", [sample(TWO)], "there is no picture to export (1 without a label left out); nothing was written"),
    ],
)
def test_an_export_of_nothing_leaves_nothing(tmp_path, name, samples, why):
    there = tmp_path / "there"
    there.mkdir()
    for out in (there, there / "out", tmp_path / "not" / "there" / "out"):
        with pytest.raises(FailedPreconditionError) as error:
            export(samples, gone(ONE), FORMATS[name], out)
        assert error.value.message == why
    assert list(tmp_path.iterdir()) == [there]
    assert list(there.iterdir()) == []


def test_an_export_is_whole_or_absent(tmp_path):
    def lost(sample_id):
        return b"another picture"

    out = tmp_path / "deep" / "out"
    with pytest.raises(FailedPreconditionError, match="not the one whose SHA-256 the hub says"):
        export([sample(ONE, "dog")], lost, FORMATS["csv"], out)
    # Nor do the directories above it stay that were made for it.
    assert list(tmp_path.iterdir()) == []
    said = export([sample(ONE, "dog"), sample(TWO, "dog")], gone(TWO), FORMATS["csv"], out)
    assert said == Exported(1, 0, 0, 1)
    with pytest.raises(FailedPreconditionError, match="is there already and not empty"):
        export([], picture, FORMATS["csv"], out)


@pytest.mark.parametrize(
    "told", [sample("../" + "a" * 29, "dog"), sample("x" * 32, "dog"), sample(ONE, ".."), sample(ONE, "a/../../b")]
)
def test_no_name_from_a_hub_leads_out_of_an_export(tmp_path, told):
    with pytest.raises(FailedPreconditionError):
        export([told], picture, FORMATS["folder"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_label_that_is_the_name_of_the_list_is_refused_before_its_picture_is_asked_for(tmp_path):
    def never(sample_id):
        raise AssertionError(sample_id)

    with pytest.raises(FailedPreconditionError, match="labelled 'Samples.json', which is the name of the list"):
        export([sample(ONE, "Samples.json")], never, FORMATS["folder"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_coco_has_one_box_of_the_whole_picture_for_each_label(tmp_path):
    out, _ = exported(tmp_path, "coco", sample(ONE, "dog"), sample(TWO), sample(THREE, "cat"))
    said = json.loads((out / "annotations.json").read_text())
    assert said["categories"] == [
        {"id": 1, "name": "cat", "supercategory": ""},
        {"id": 2, "name": "dog", "supercategory": ""},
    ]
    assert [image["file_name"] for image in said["images"]] == [f"images/{one}.jpg" for one in (ONE, TWO, THREE)]
    assert said["images"][0]["date_captured"] == "2026-11-23 10:00:00"
    whole = {"bbox": [0, 0, 64, 48], "area": 3072, "iscrowd": 0, "segmentation": []}
    assert said["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 2, **whole},
        {"id": 2, "image_id": 3, "category_id": 1, **whole},
    ]


def test_label_studio_gets_what_the_model_said_as_a_prediction(tmp_path):
    out, _ = exported(tmp_path, "label-studio", sample(ONE), sample(TWO, "cat"))
    first, second = json.loads((out / "tasks.json").read_text())
    chosen = {"from_name": "label", "to_name": "image", "type": "choices"}
    assert first["data"]["image"] == f"/data/local-files/?d=out/images/{ONE}.jpg"
    assert first["predictions"] == [
        {"model_version": "pets 3", "result": [{**chosen, "value": {"choices": ["dog"]}}], "score": 0.75}
    ]
    assert first["annotations"] == []
    assert second["annotations"] == [{"result": [{**chosen, "value": {"choices": ["cat"]}}]}]
    configuration = (out / "label-config.xml").read_text()
    assert '<Choices name="label" toName="image" choice="single"' in configuration
    assert configuration.count("<Choice value=") == 2


def test_a_spreadsheet_takes_nothing_for_a_formula(tmp_path):
    out, _ = exported(tmp_path, "csv", sample(ONE, "-1", source='=HYPERLINK("x")'))
    text = (out / "labels.csv").read_text()
    assert """,'-1,"'=HYPERLINK(""x"")",""" in text
    assert ",-1" not in text


def tasks(tmp_path, *found):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(found))
    return path


def annotated(*choices, image="", **more):
    result = [{"from_name": "x", "to_name": "y", "type": "choices", "value": {"choices": [one]}} for one in choices]
    data = {"image": image or f"/data/upload/1/0a1b2c3d-{ONE}.jpg"}
    return {"id": 7, "data": data, "annotations": [{"result": result, "was_cancelled": False, **more}]}


def test_label_studios_export_is_known_again_by_the_name_of_the_picture(tmp_path):
    cancelled = {**annotated("cat"), "data": {"image": "s3://bucket/x.jpg", "edgewise_id": TWO}}
    cancelled["annotations"][0]["was_cancelled"] = True
    found = read("label-studio", tasks(tmp_path, annotated("dog"), cancelled))
    assert found.refused == []
    assert [(entry.sample_id, entry.label, entry.picture) for entry in found.entries] == [
        (ONE, "dog", None),
        (TWO, "", None),
    ]


def test_label_studios_short_export_is_read_too(tmp_path):
    path = tasks(
        tmp_path,
        {"id": 1, "image": f"/data/local-files/?d=out/images/{ONE}.jpg", "label": "dog", "annotator": 1},
        {"id": 2, "image": "x.jpg", "edgewise_id": TWO, "choice": {"choices": ["cat"]}},
        {"id": 3, "image": "x.jpg", "edgewise_id": THREE},
    )
    assert [(one.sample_id, one.label) for one in read("label-studio", path).entries] == [
        (ONE, "dog"),
        (TWO, "cat"),
        (THREE, ""),
    ]


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (annotated("dog", "cat"), "its annotations say cat, dog"),
        ({**annotated("dog"), "data": []}, "data: found '[]', expected an object with image"),
        ({**annotated("dog"), "annotations": 3}, "annotations: found '3', expected a list"),
        (annotated("dog", image="https://example.org/dog.jpg"), "nothing is fetched from elsewhere"),
        (annotated("dog", image="http://[x/a.jpg"), "data.image: found 'http://[x/a.jpg', which is no address"),
        (annotated("dog", image="../../etc/passwd"), 'leads out of the directory with ".."'),
        (annotated("dog", image="images/none.jpg"), "there is no file 'images/none.jpg' below"),
        (annotated("no/label"), "found the label 'no/label', expected 1 to 64"),
        ([], "found '[]', expected an object with data and annotations"),
        (
            {"data": {"edgewise_id": ONE}, "annotations": [{"result": [{"type": "rectanglelabels"}]}]},
            "found the type 'rectanglelabels', expected \"choices\"",
        ),
    ],
)
def test_a_task_that_is_wrong_is_refused_by_its_number(tmp_path, task, why):
    path = tasks(tmp_path, annotated("dog"), task)
    found = read("label-studio", path)
    assert len(found.entries) == 1
    ((where, said),) = refusals(found)
    assert where == f"{path}: task 1"
    assert why in said


def lines(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_csv_is_read_as_spreadsheets_write_it(tmp_path, mark, between):
    path = lines(tmp_path, f"{mark}ID{between}Label\r\n{ONE}{between}dog\r\n\r\n{TWO}{between}\r\n")
    found = read("csv", path)
    assert [(one.where, one.sample_id, one.label) for one in found.entries] == [
        (f"{path}, line 2", ONE, "dog"),
        (f"{path}, line 4", TWO, ""),
    ]
    assert found.refused == []


def test_each_line_that_is_wrong_is_refused_by_its_number(tmp_path):
    (tmp_path / "there.jpg").write_bytes(JPEG % 1)
    path = lines(
        tmp_path,
        "id,file,label\n"
        f"{ONE},,dog\n"
        f"{ONE},,cat\n"
        f"{TWO},,dog,extra\n"
        f"{TWO}\n"
        "nonsense,,dog\n"
        ",missing.jpg,dog\n"
        ",../../etc/passwd,dog\n"
        ",/etc/passwd,dog\n"
        ",,dog\n"
        f"{THREE},,d\u00f6g\n"
        ",there.jpg,dog\n",
    )
    found = read("csv", path)
    assert [entry.where for entry in found.entries] == [f"{path}, line 2", f"{path}, line 12"]
    said = refusals(found)
    assert [where for where, _ in said] == [f"{path}, line {number}" for number in range(3, 12)]
    for (_, why), expected in zip(
        said,
        (
            f"names again what {path}, line 2 names, with another label, 'dog'",
            "has 4 columns, expected 3",
            "has 1 column, expected 3",
            "found the id 'nonsense'",
            "there is no file 'missing.jpg'",
            'leads out of the directory with ".."',
            "is absolute",
            "names neither an id nor a file",
            "found the label 'd\u00f6g'",
        ),
        strict=True,
    ):
        assert expected in why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1: found '', expected a first line such as id,label or file,label"),
        ("sample,class\n", "line 1: found 'sample,class', expected a first line such as"),
        ("id,label,label\n", "line 1: the column 'label' is there twice"),
        ("id,label\n", "has no lines below its first one"),
        ('id,label\n"abc\n', "not CSV: unexpected end of data"),
        (b"id,label\n\xff,dog\n", "line 2: not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_table_that_is_none_is_refused_whole(tmp_path, text, why):
    with pytest.raises(InvalidArgumentError) as error:
        read("csv", lines(tmp_path, text))
    assert why in error.value.message
    assert "labels.csv" in error.value.message


def coco(tmp_path, **parts):
    value = {"images": [], "annotations": [], "categories": [], **parts}
    (tmp_path / "dog.jpg").write_bytes(JPEG % 1)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat.jpg").write_bytes(JPEG % 2)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({name: part for name, part in value.items() if part is not None}))
    return path


CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]


def test_coco_of_others_is_read_by_what_an_image_is_annotated_as(tmp_path):
    path = coco(
        tmp_path,
        images=[{"id": 5, "file_name": "dog.jpg"}, {"id": 9, "file_name": "cat.jpg"}],
        categories=CATEGORIES,
        annotations=[
            {"id": 1, "image_id": 5, "category_id": 18, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 5, "category_id": 18, "bbox": [5, 6, 7, 8]},
        ],
    )
    found = read("coco", path)
    assert [(one.picture.name, one.label) for one in found.entries] == [("dog.jpg", "dog"), ("cat.jpg", "")]
    assert found.refused == []


def test_what_is_wrong_in_coco_is_refused_by_its_place(tmp_path):
    path = coco(
        tmp_path,
        images=[
            {"id": 5, "file_name": "dog.jpg"},
            {"id": 6, "file_name": "../dog.jpg"},
            {"id": 7, "file_name": "missing.jpg"},
            {"id": 8},
            "text",
            {"id": 9, "file_name": "cat.jpg"},
        ],
        categories=CATEGORIES,
        annotations=[
            {"image_id": 5, "category_id": 18},
            {"image_id": 5, "category_id": 17},
            {"image_id": 9, "category_id": 3},
            {"image_id": 9, "category_id": 17},
            {"image_id": 9, "category_id": None},
            {"image_id": 99, "category_id": 17},
        ],
    )
    found = read("coco", path)
    assert found.entries == []
    said = refusals(found)
    for (where, why), (place, expected) in zip(
        said,
        (
            ("annotations[2]", "category_id: found 3, expected one of the categories' ids: 17, 18"),
            ("annotations[5]", "image_id: found 99, expected one of the images' ids"),
            ("images[0]", "'dog.jpg' is annotated as cat, dog; a picture has one class here"),
            ("images[1]", 'leads out of the directory with ".."'),
            ("images[2]", "there is no file 'missing.jpg'"),
            ("images[3]", "file_name: found None, expected the name of a file"),
            ("images[4]", "expected an object"),
        ),
        strict=True,
    ):
        assert where == f"{path}: {place}"
        assert expected in why


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"images": None}, "images: expected a list; COCO has images, annotations and categories"),
        ({"categories": [{"id": 1}]}, "categories[0]: found {'id': 1}, expected an id (a number) and a name"),
        ({"categories": [*CATEGORIES, {"id": 17, "name": "cow"}]}, "17 is the id of 'cat' already"),
        ({}, "names no images"),
    ],
)
def test_coco_that_is_none_is_refused_whole(tmp_path, parts, why):
    with pytest.raises(InvalidArgumentError) as error:
        read("coco", coco(tmp_path, **parts))
    assert why in error.value.message


@pytest.mark.parametrize("name", ["coco", "label-studio"])
@pytest.mark.parametrize(
    ("text", "why"), [("{", "line 1: not JSON"), ("3", "expected one"), ("[" * 100_000, "not JSON"), ("1" * 5000, "")]
)
def test_no_json_and_other_json_is_refused(tmp_path, name, text, why):
    path = tmp_path / "one.json"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError) as error:
        read(name, path)
    assert error.value.message.startswith(str(path))
    assert why in error.value.message


def test_a_folder_is_the_label_of_what_lies_in_it_wherever_it_lay_before(tmp_path):
    out, _ = exported(tmp_path, "folder", sample(ONE, "dog"), sample(TWO, "dog"))
    (out / "cat").mkdir()
    (out / "dog" / f"{TWO}.jpg").rename(out / "cat" / f"{TWO}.jpg")
    (out / "cat" / "new.PNG").write_bytes(b"\x89PNG\r\n\x1a\n")
    (out / "cat" / ".DS_Store").write_bytes(b"x")
    found = read("folder", out)
    assert found.refused == []
    assert [(one.sample_id, one.label, one.source) for one in found.entries] == [
        (TWO, "cat", "door-1"),
        ("", "cat", ""),
        (ONE, "dog", "door-1"),
    ]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("other", FORMATS)
def test_what_another_format_wrote_is_refused_with_the_format_that_reads_it(tmp_path, name, other):
    out, _ = exported(tmp_path, other, sample(ONE, "dog"))
    if name == other:
        assert len(read(name, out).entries) == 1
        return
    with pytest.raises(InvalidArgumentError) as error:
        read(name, out)
    [held] = {"samples.json", "labels.csv", "annotations.json", "tasks.json"} & {one.name for one in out.iterdir()}
    assert error.value.message.startswith(f"{out} holds {held}, which is read with --format {other}, not {name}")


def test_a_list_and_folders_of_classes_are_told_apart(tmp_path):
    pets = tmp_path / "pets"
    (pets / "dog").mkdir(parents=True)
    (pets / "dog" / "one.jpg").write_bytes(JPEG % 1)
    with pytest.raises(InvalidArgumentError, match="if folders such as dog are classes, use --format folder"):
        read("csv", pets)
    (pets / "labels.csv").write_text("file,label\n")
    with pytest.raises(InvalidArgumentError, match="nonetheless, put that file elsewhere"):
        read("folder", pets)
    with pytest.raises(InvalidArgumentError, match="labels.csv is read with --format csv, not folder"):
        read("folder", pets / "labels.csv")


def test_what_does_not_belong_into_folders_is_refused(tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(JPEG % 1)
    out = tmp_path / "pets"
    for directory in ("dog/deep", "no+label"):
        (out / directory).mkdir(parents=True)
    (out / "stray.jpg").write_bytes(JPEG % 1)
    (out / "no+label" / "one.jpg").write_bytes(JPEG % 1)
    (out / "dog" / "notes.txt").write_text("x")
    (out / "dog" / "link.jpg").symlink_to(secret)
    found = read("folder", out)
    assert found.entries == []
    for (where, why), (name, expected) in zip(
        refusals(found),
        (
            ("dog/deep", "is a folder in a class's folder; expected pictures alone"),
            ("dog/link.jpg", "is a link that leads out of"),
            ("dog/notes.txt", "is no picture by its name, expected .jpg, .jpeg, .png, .webp"),
            ("no+label/one.jpg", "found the label 'no+label'"),
            ("stray.jpg", "lies in no class's folder"),
        ),
        strict=True,
    ):
        assert where == str(out / name)
        assert expected in why
        assert str(out / name) not in why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty, expected a JPEG, PNG or WebP picture"),
        (b"GIF89a..", "begins with b'GIF89a..', expected a JPEG, PNG or WebP picture"),
        (JPEG % 1 + b"x" * (32 << 20), "is longer than 33554432 bytes"),
    ],
)
def test_a_picture_that_is_none_is_not_sent(tmp_path, content, why):
    path = tmp_path / "one.jpg"
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError) as error:
        files.read_picture(path)
    assert why in error.value.message


def test_a_list_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LIST_BYTES", 10)
    with pytest.raises(InvalidArgumentError, match="is longer than 10 bytes"):
        read("csv", lines(tmp_path, f"id,label\n{ONE},dog\n"))


@pytest.mark.parametrize("label", ["dog", "a b", "x" * 64, "-x", "_", "b.2"])
def test_labels(label):
    assert label_fault(label) == ""


@pytest.mark.parametrize("label", ["", "x" * 65, "..", ".a", " a", "a ", "a/b", "d\u00f6g", "a\nb", "a\x00"])
def test_no_labels(label):
    assert "expected 1 to 64 letters" in label_fault(label)
