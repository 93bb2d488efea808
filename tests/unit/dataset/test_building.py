"""A dataset out of files: what is in it, what is refused, and that nothing half-made stays."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.dataset.building import build
from edgewise.dataset.checking import check
from edgewise.dataset.settings import Augmentation, BuildSettings, Change
from edgewise.dataset.synthetic import make
from edgewise.dataset.telling import built_text, checked_text
from edgewise.protocols.dataset_manifest import SPLITS, read_dataset
from support.pictures import content, folder, nearly, picture

COUNTS = {"cat": 12, "dog": 14, "other": 9}
ALL = Augmentation(tuple(Change), 2)


def quiet(step, done, total):
    pass


def built(paths, out, created_s=0.0, **settings):
    paths = [paths] if isinstance(paths, Path) else paths
    return build(paths, out, BuildSettings("pets", **settings), tell=quiet, created_s=created_s)


def refusal(paths, out, error=FailedPreconditionError, **settings):
    with pytest.raises(error) as caught:
        built(paths, out, **settings)
    assert not out.exists()
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
    return caught.value.message


@pytest.fixture
def pictures(tmp_path):
    return folder(tmp_path / "pictures", COUNTS)


def files(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_what_is_built(pictures, tmp_path):
    done = built(pictures, tmp_path / "out", size=(16, 20), augmentation=ALL)
    dataset = read_dataset(tmp_path / "out")
    assert dataset == done.dataset
    assert dataset.classes == ("cat", "dog", "other")
    originals = {split: dataset.of_split(split, augmented=False) for split in SPLITS}
    assert sum(map(len, originals.values())) == 35
    assert all(dataset.counts(split)[label] for split in SPLITS for label in COUNTS)
    # Copies of each original of train, and of nothing else.
    copies = [image for image in dataset.images if image.augmented_from]
    assert {image.augmented_from for image in copies} == {image.file for image in originals["train"]}
    assert len(copies) == 2 * len(originals["train"])
    assert {image.split for image in copies} == {"train"}
    assert all(pixels(tmp_path / "out" / image.file).shape == (16, 20, 3) for image in dataset.images)
    on_disk = files(tmp_path / "out").keys() - {"dataset.json", "train.txt", "validation.txt", "test.txt"}
    assert on_disk == {image.file for image in dataset.images}
    means = [pixels(tmp_path / "out" / image.file).mean(axis=(0, 1)) for image in originals["train"]]
    assert dataset.mean == pytest.approx(np.mean(means, axis=0), abs=1e-3)
    lines = (tmp_path / "out" / "train.txt").read_text().splitlines()
    assert sorted(lines) == sorted(f"{i.file} {dataset.classes.index(i.label)}" for i in dataset.of_split("train"))
    assert lines != sorted(lines)
    checked = check(tmp_path / "out", tell=quiet)
    assert (checked.damages, checked.leaks) == ((), ())
    assert "nothing is in two splits" in checked_text(checked, tmp_path / "out")
    assert f"digest: {dataset.digest}" in built_text(done, tmp_path / "out")
    assert "\nwarning: none of the 35 pictures states a source, so those of a night " in built_text(
        done, tmp_path / "out"
    )


def test_pictures_without_a_source_are_warned_of_as_far_as_there_are_any(pictures, tmp_path):
    make(tmp_path / "drawn", ["cat", "dog"], 16, (24, 24), 1, tell=quiet)
    all_state = built(tmp_path / "drawn", tmp_path / "one", near_bits=0)
    assert "warning" not in built_text(all_state, tmp_path / "one")
    some = build([tmp_path / "drawn", pictures], tmp_path / "two", BuildSettings("x"), tell=quiet, created_s=0.0)
    assert "warning: 35 do not state a source" in built_text(some, tmp_path / "two")


def test_the_same_pictures_give_the_same_bytes(pictures, tmp_path):
    words = {"size": (16, 16), "augmentation": ALL}
    one = built(pictures, tmp_path / "one", created_s=0.0, **words).dataset
    shutil.copytree(pictures, tmp_path / "elsewhere")
    other = built(tmp_path / "elsewhere", tmp_path / "other", created_s=1e9, **words).dataset
    assert one.digest == other.digest
    first, second = files(tmp_path / "one"), files(tmp_path / "other")
    assert first.pop("dataset.json") != second.pop("dataset.json")  # created
    assert first == second
    assert built(pictures, tmp_path / "third", seed=2, **words).dataset.digest != one.digest


def test_doubles_are_there_once_and_their_sources_together(tmp_path):
    root = folder(tmp_path / "pictures", {"cat": 8, "dog": 8})
    for name in ("door_900.png", "hall_900.png", "door_901.png", "hall_902.png"):
        number = 900 if "900" in name else int(name[5:8])
        (root / "cat" / name).write_bytes(content(picture(number)))
    done = built(root, tmp_path / "out", source_pattern=re.compile("(door|hall)_"))
    assert done.doubles == 1
    assert len(done.dataset.images) == 19
    splits = {image.split for image in done.dataset.images if image.source in {"door", "hall"}}
    assert len(splits) == 1


def test_one_picture_with_two_labels(tmp_path):
    root = folder(tmp_path / "pictures", COUNTS)
    shutil.copy(root / "cat" / "003.png", root / "dog" / "mine.png")
    message = refusal(root, tmp_path / "out", error=InvalidArgumentError)
    assert message == (
        "one picture has two labels, expected one each; keep the right file and remove the other:\n"
        f"  {root}/cat/003.png (cat) and {root}/dog/mine.png (dog)"
    )


def test_pictures_that_are_nearly_the_same_stay_together(tmp_path):
    root = folder(tmp_path / "pictures", {"cat": 5, "dog": 40})
    for number in range(30):
        like = Image.fromarray(pixels(root / "dog" / f"{number:03d}.png"))
        (root / "dog" / f"like-{number:03d}.png").write_bytes(content(nearly(like)))
    done = built(root, tmp_path / "out")
    assert done.joined == 60
    split_of = {image.origin: image.split for image in done.dataset.images}
    for number in range(30):
        assert split_of[f"file:dog/{number:03d}.png"] == split_of[f"file:dog/like-{number:03d}.png"]
    assert not check(tmp_path / "out", tell=quiet).leaks


def test_bad_files_are_named_or_passed_over(pictures, tmp_path):
    (pictures / "cat" / "bad.jpg").write_bytes(b"no picture")
    (pictures / "dog" / "cut.png").write_bytes(content(picture(1, (99, 99)))[:3000])
    message = refusal(pictures, tmp_path / "out", error=InvalidArgumentError)
    assert message == (
        "2 files cannot be trained on; mend or remove them, or pass them over with --skip-bad:\n"
        f"  {pictures}/cat/bad.jpg is no picture; expected JPEG, PNG, WebP, GIF or BMP\n"
        f"  {pictures}/dog/cut.png is truncated or damaged"
    )
    done = built(pictures, tmp_path / "out", skip_bad=True)
    assert len(done.bad) == 2
    assert len(done.dataset.images) == 35
    assert f"bad files passed over: 2\n  {pictures}/cat/bad.jpg is no picture" in built_text(done, tmp_path / "out")


def test_only_bad_files(tmp_path):
    (tmp_path / "p" / "cat").mkdir(parents=True)
    (tmp_path / "p" / "cat" / "a.jpg").write_bytes(b"")
    message = refusal(tmp_path / "p", tmp_path / "out", skip_bad=True)
    assert message == f"none of the 1 files is a picture; the first: {tmp_path}/p/cat/a.jpg is empty"


def test_what_cannot_be_split(tmp_path):
    out = tmp_path / "out"
    assert "all 5 pictures are of the class 'cat'; expected two classes or more" in refusal(
        folder(tmp_path / "a", {"cat": 5}), out
    )
    one = folder(tmp_path / "b", {"cat": 9, "dog": 1})
    assert "the class 'dog' has 1 picture, and train, validation and test need one each" in refusal(one, out)
    assert "there is no picture of the class 'owl'" in refusal(one, out, classes=("cat", "dog", "owl"))
    same = folder(tmp_path / "c", {"cat": 9})
    (same / "dog").mkdir()
    for number in range(5):
        (same / "dog" / f"{number}.png").write_bytes(content(nearly(picture(99), number)))
    assert (
        f"'dog' has 5 pictures, which have to stay together: one source or nearly the same ({same}/dog/0.png)"
        in refusal(same, out)
    )
    assert built(same, out, allow_missing=True).dataset.counts("train")["dog"] == 5


def test_nothing_to_build_of(tmp_path):
    root = folder(tmp_path / "field", {"junk": 2})
    assert refusal(root, tmp_path / "out", labels={"junk": ""}) == (
        f"there are no labelled pictures in {root} (passed over: 2 left out by [labels]); expected some of two classes or more"
    )
    refusal(tmp_path / "none", tmp_path / "out", error=NotFoundError)


def test_a_place_that_is_taken(pictures, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(AlreadyExistsError, match="out is there already; name another directory, or remove it first"):
        built(pictures, tmp_path / "out")
    assert (tmp_path / "out" / "mine").exists()
    with pytest.raises(InvalidArgumentError, match="which is what it is built of; name a directory elsewhere"):
        built(pictures, pictures / "dataset")


def test_an_earlier_dataset_keeps_its_splits(tmp_path):
    old = folder(tmp_path / "old", {"cat": 10, "dog": 10})
    (old / "cat" / "door_1.png").write_bytes(content(picture(700)))
    words = {"source_pattern": re.compile("(door)_"), "size": (16, 16)}
    first = built(old, tmp_path / "first", **words).dataset
    new = folder(tmp_path / "new", {"cat": 30, "dog": 5}, first=500)
    (new / "cat" / "door_2.png").write_bytes(content(picture(701)))
    second = built(
        [old, new], tmp_path / "second", keep=tmp_path / "first", seed=9, shares=(50, 25, 25), **words
    ).dataset
    assert second.build["keep"] == first.digest
    split_of = {image.sha256: image.split for image in second.images}
    assert all(split_of[image.sha256] == image.split for image in first.images)
    assert len({image.split for image in second.images if image.source == "door"}) == 1


SIZES = pytest.mark.parametrize("size", [(16, 16), (24, 24)], ids=["same size", "another size"])


def splits_by_origin(dataset):
    return {image.origin: image.split for image in dataset.images}


@pytest.fixture
def north_and_south(tmp_path):
    """Two directories of one name, with files of the same names that are other pictures."""
    counts = {"cat": 12, "dog": 12}
    return [folder(tmp_path / side / "pictures", counts, first=at) for side, at in (("north", 0), ("south", 500))]


@SIZES
def test_pictures_of_one_name_below_several_paths_keep_each_its_split(north_and_south, tmp_path, size):
    north, south = north_and_south
    first = splits_by_origin(built([north, south], tmp_path / "first", size=(16, 16)).dataset)
    assert len(first) == 48
    words = {"keep": tmp_path / "first", "size": size, "seed": 9}
    second = built([south, north], tmp_path / "second", **words).dataset
    assert splits_by_origin(second) == first
    alone = splits_by_origin(built(north, tmp_path / "alone", allow_missing=True, **words).dataset)
    assert alone == {origin: first[origin.replace("file:", "file:north/pictures/")] for origin in alone}


@SIZES
def test_a_path_that_came_since_moves_no_picture(north_and_south, tmp_path, size):
    first = splits_by_origin(built(north_and_south[0], tmp_path / "first", size=(16, 16)).dataset)
    words = {"keep": tmp_path / "first", "size": size, "seed": 9}
    second = splits_by_origin(built(north_and_south, tmp_path / "second", **words).dataset)
    assert {origin: second[origin.replace("file:", "file:north/pictures/")] for origin in first} == first


def test_a_picture_that_came_since_is_not_held_by_the_name_of_another(north_and_south, tmp_path):
    north, south = north_and_south
    first = splits_by_origin(built(north, tmp_path / "first").dataset)
    cats = {split: origin[5:] for origin, split in first.items() if origin.startswith("file:cat/")}
    (south / cats["test"]).write_bytes(content(nearly(Image.fromarray(pixels(north / cats["train"])))))
    second = splits_by_origin(built([north, south], tmp_path / "second", keep=tmp_path / "first").dataset)
    assert second[f"file:south/pictures/{cats['test']}"] == "train"


def test_an_earlier_dataset_whose_splits_cannot_be_kept(tmp_path):
    old = folder(tmp_path / "old", {"cat": 10, "dog": 10})
    first = built(old, tmp_path / "first").dataset
    one, other = (next(image for image in first.images if image.split == split) for split in ("train", "test"))
    for image in (one, other):
        name = image.origin.removeprefix("file:")
        (old / name).rename((old / name).with_name(f"door_{image.split}.png"))
    message = refusal(old, tmp_path / "out", keep=tmp_path / "first", source_pattern=re.compile("(door)_"))
    assert "door_test.png (test) and " in message
    assert "door_train.png (train) were in two splits of 'pets', and have to stay together now" in message


def test_synthetic_pictures_are_marked_to_the_end(tmp_path):
    drawn = make(tmp_path / "drawn", ["cat", "dog"], 16, (24, 24), 1, tell=quiet)
    assert len(drawn) == 32
    assert json.loads((tmp_path / "drawn" / "samples.json").read_text())["synthetic"] is True
    done = built(tmp_path / "drawn", tmp_path / "out", augmentation=Augmentation((Change.FLIP,)))
    assert done.dataset.synthetic
    assert all(image.synthetic for image in done.dataset.images)
    assert len({image.source for image in done.dataset.images}) == 8
    assert "of 2 classes, synthetic" in built_text(done, tmp_path / "out")
    make(tmp_path / "again", ["cat", "dog"], 16, (24, 24), 1, tell=quiet)
    assert files(tmp_path / "again") == files(tmp_path / "drawn")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat"], "found 1 class, expected 2 to 24"),
        (["cat", "cat"], "found the class 'cat' a second time"),
        (["cat", "a/b"], "found the class 'a/b', expected 1 to 64 letters"),
    ],
)
def test_classes_that_cannot_be_drawn(tmp_path, classes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make(tmp_path / "drawn", classes, 4, (24, 24), 1, tell=quiet)
    assert not (tmp_path / "drawn").exists()
