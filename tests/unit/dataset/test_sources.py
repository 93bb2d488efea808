import json
import re

import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.dataset.settings import BuildSettings
from edgewise.dataset.sources import find
from support.pictures import folder


def found(*paths, **settings):
    return find(paths, BuildSettings("pets", **settings))


def refusal(*paths, error=InvalidArgumentError, **settings):
    with pytest.raises(error) as caught:
        found(*paths, **settings)
    return caught.value.message


def export(root, samples):
    root.mkdir(exist_ok=True)
    for sample in samples:
        if "file" in sample:
            (root / sample["file"]).parent.mkdir(parents=True, exist_ok=True)
            (root / sample["file"]).write_bytes(b"x")
    (root / "samples.json").write_text(json.dumps({"format": "edgewise-samples/1", "samples": samples}))
    return root


def test_a_folder_for_each_class(tmp_path):
    folder(tmp_path, {"dog": 1, "cat": 1})
    (tmp_path / "cat" / "door" / "deep").mkdir(parents=True)
    (tmp_path / "cat" / "door" / "deep" / "a.jpg").write_bytes(b"x")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.txt").write_bytes(b"x")
    assert [(each.origin, each.label, each.source) for each in found(tmp_path).pictures] == [
        ("file:cat/000.png", "cat", ""),
        ("file:cat/door/deep/a.jpg", "cat", ""),
        ("file:dog/000.png", "dog", ""),
    ]


def test_the_order_of_the_paths_does_not_matter(tmp_path):
    one, two = folder(tmp_path / "one", {"cat": 2, "dog": 1}), folder(tmp_path / "two", {"cat": 1, "dog": 3})
    assert found(one, two) == found(two, one)


def test_several_paths_are_told_apart_by_as_much_of_their_names_as_it_takes(tmp_path):
    north, south, shelter = (
        folder(tmp_path / name, {"cat": 1}) for name in ("north/pictures", "south/pictures", "shelter")
    )
    (tmp_path / "list.txt").write_text(f"shelter/cat/000.png cat\n{shelter}/cat/000.png cat\n")
    origins = [each.origin for each in found(north, south, shelter, tmp_path / "list.txt").pictures]
    assert origins == sorted(
        [
            "file:north/pictures/cat/000.png",
            "file:south/pictures/cat/000.png",
            "file:shelter/cat/000.png",
            f"file:{tmp_path.name}/shelter/cat/000.png",
            f"file:{shelter}/cat/000.png",
        ]
    )


def test_a_source_is_found_in_the_name(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in ("door1_07.png", "door2_08.png", "other.png"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    pictures = found(tmp_path, source_pattern=re.compile(r"(door\d+)_")).pictures
    assert [each.source for each in pictures] == ["door1", "door2", ""]


def test_an_export_knows_camera_and_day(tmp_path):
    export(
        tmp_path,
        [
            {
                "id": "a" * 32,
                "file": "cat/a.jpg",
                "label": "cat",
                "site": "north",
                "source": "door",
                "captured": "2026-11-20T07:12:00Z",
            },
            {"id": "b" * 32, "file": "dog/b.jpg", "label": "dog", "site": "north", "captured": "2026-11-21T07:12:00Z"},
            {"id": "c" * 32, "file": "dog/c.jpg", "label": "dog", "source": "shelter", "synthetic": True},
            {"id": "d" * 32, "file": "dog/d.jpg", "label": "dog", "captured": "2026-11-21T07:12:00Z"},
        ],
    )
    (tmp_path / "cat" / "mine.jpg").write_bytes(b"x")
    there = found(tmp_path)
    assert [(each.origin[:8], each.label, each.source, each.synthetic) for each in there.pictures] == [
        ("file:cat", "cat", "", False),
        ("sample:a", "cat", "north/door 2026-11-20", False),
        ("sample:b", "dog", "north 2026-11-21", False),
        ("sample:c", "dog", "shelter", True),
        ("sample:d", "dog", "", False),
    ]
    assert there.passed_over == {}


def test_a_picture_that_was_moved_has_the_label_of_its_folder(tmp_path):
    export(
        tmp_path,
        [
            {"id": "a" * 32, "file": "cat/a.jpg", "label": "cat", "source": "door"},
            {"id": "b" * 32, "file": "cat/b.jpg", "label": "cat", "source": "door"},
            {"id": "c" * 32, "file": "cat/c.jpg", "label": "cat", "source": "door"},
        ],
    )
    (tmp_path / "dog").mkdir()
    (tmp_path / "cat" / "a.jpg").rename(tmp_path / "dog" / "a.jpg")
    (tmp_path / "cat" / "b.jpg").unlink()
    there = found(tmp_path)
    assert [(each.origin[:8], each.label, each.source) for each in there.pictures] == [
        ("sample:a", "dog", "door"),
        ("sample:c", "cat", "door"),
    ]
    assert there.passed_over == {"listed in samples.json and not there": 1}


def test_an_export_that_is_none(tmp_path):
    folder(tmp_path, {"cat": 1})
    (tmp_path / "samples.json").write_text("{")
    assert "samples.json is not JSON" in refusal(tmp_path)
    (tmp_path / "samples.json").write_text('{"format": "edgewise-samples/9"}')
    assert "format: found 'edgewise-samples/9', expected edgewise-samples/1" in refusal(tmp_path)
    export(tmp_path, [{"file": "cat/a.jpg"}, {"file": "dog/a.jpg"}])
    assert "samples[1].file: two are called 'a.jpg'; expected names that differ" in refusal(tmp_path)


def test_a_list(tmp_path):
    folder(tmp_path, {"pictures": 3})
    listed = tmp_path / "train.txt"
    listed.write_text("# shuffled\npictures/002.png dog\n\npictures/000.png cat\r\npictures/001.png\tbig cat\n")
    assert [(each.name, each.label) for each in found(listed).pictures] == [
        ("pictures/000.png", "cat"),
        ("pictures/001.png", "big cat"),
        ("pictures/002.png", "dog"),
    ]
    listed.write_text("pictures/000.png 0\npictures/001.png 1\n")
    assert [each.label for each in found(listed, classes=("cat", "dog")).pictures] == ["cat", "dog"]


def test_a_list_that_is_none(tmp_path):
    listed = tmp_path / "train.txt"
    listed.write_text("none.png cat\n")
    assert refusal(listed).endswith("train.txt, line 1: there is no file 'none.png' beside the list")
    listed.write_text("\nlonely\n")
    assert refusal(listed).endswith("train.txt, line 2: found 'lonely', expected a file and its class")
    listed.write_bytes(b"\xff\xfe\x00")
    assert "is no list: not UTF-8 (byte 0)" in refusal(listed)


def test_labels_are_renamed_and_left_out(tmp_path):
    folder(tmp_path, {"tabby": 1, "dog": 1, "junk": 2})
    there = found(tmp_path, classes=("dog", "cat"), labels={"tabby": "cat", "junk": ""})
    assert [each.label for each in there.pictures] == ["dog", "cat"]
    assert there.passed_over == {"left out by [labels]": 2}


def test_a_wrong_label(tmp_path):
    folder(tmp_path, {"cta": 1, "dog": 1})
    assert refusal(tmp_path, classes=("cat", "dog")) == (
        f"{tmp_path}/cta/000.png has the label 'cta', which is none of the classes (did you mean 'cat'?); expected cat, dog, or an "
        "entry for it in [labels]"
    )
    (tmp_path / "cta").rename(tmp_path / "ca+t")
    assert "has the label 'ca+t', expected 1 to 64 letters, digits, spaces" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: (root / "a.jpg").write_bytes(b"x"), "a.jpg lies in no class's folder; expected "),
        (lambda root: (root / "dog").mkdir(), "dog is empty; expected pictures of the class 'dog', or no folder"),
        (
            lambda root: (root / "dataset.json").write_bytes(b"x"),
            "is a dataset already; name the pictures that it was built of",
        ),
    ],
)
def test_a_directory_that_is_laid_out_otherwise(tmp_path, make, message):
    folder(tmp_path, {"cat": 1})
    make(tmp_path)
    assert message in refusal(tmp_path, error=FailedPreconditionError)


def test_a_directory_that_is_split_already(tmp_path):
    folder(tmp_path, {"train": 1, "val": 1})
    message = refusal(tmp_path, error=FailedPreconditionError)
    assert "holds train, val, which are splits and no classes" in message
    assert f"name {tmp_path}/train {tmp_path}/val to have them split anew" in message


def test_what_is_not_there(tmp_path):
    assert refusal(tmp_path / "none", error=NotFoundError).startswith(
        f"{tmp_path}/none is not there; expected a directory"
    )
    assert "holds no folders; expected one for each class" in refusal(tmp_path, error=FailedPreconditionError)
