"""What a camera saw in one visit is in one split, also over midnight, and a check sees where it is not."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.dataset.building import build, list_name, list_text
from edgewise.dataset.checking import check
from edgewise.dataset.settings import Augmentation, BuildSettings, Change
from edgewise.dataset.telling import built_text
from edgewise.dataset.visits import PAUSE_S, kept_apart, visits
from edgewise.protocols.dataset_manifest import SPLITS, decode_dataset, encode_dataset, read_dataset
from support.pictures import content, picture

DAY_S = 86400
HOUR_S = 3600
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def days(times_s):
    return [visit.day for visit in visits(times_s) for _ in range(visit.first, visit.end)]


def quiet(step, done, total):
    pass


def export(root, samples):
    """An export of (number of the picture, hours after the first of November); one picture in two is a cat."""
    listed = []
    for number, hours in samples:
        label = ("cat", "dog")[number % 2]
        name = f"{label}/{number:03d}-{len(listed):03d}.png"
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content(picture(number)))
        captured = (FIRST + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        sample = {"id": f"{len(listed):032x}", "file": name, "site": "edge", "source": "door", "captured": captured}
        listed.append(sample)
    (root / "samples.json").write_text(json.dumps({"format": "edgewise-samples/1", "samples": listed}))
    return root


def built(root, out, **settings):
    return build([root], out, BuildSettings("pets", **settings), tell=quiet, created_s=0.0)


def nights(count=10):
    """A cat and a dog on each side of midnight, fifteen seconds apart, every other night."""
    each = [(23 + 3590 / HOUR_S, 0), (24 + 5 / HOUR_S, 2)]
    return [
        (number + at, 48 * night + hours)
        for night in range(count)
        for hours, at in each
        for number in (4 * night, 4 * night + 1)
    ]


def as_by_calendar(dataset):
    """As a build by the calendar's days made it: no times, each day in a split of its own, the second of each night in another."""
    images = []
    for image in dataset.images:
        day = max(image.taken)[:-10]
        split = "train" if int(day[-2:]) % 2 else "test"
        images.append(replace(image, source=day, split=split, taken=(), file=image.file.replace(image.split, split, 1)))
    return replace(dataset, images=tuple(sorted(images, key=lambda image: image.file)))


def written(directory, dataset):
    directory.mkdir(exist_ok=True)
    (directory / "dataset.json").write_bytes(encode_dataset(dataset))
    return directory


def test_a_visit_is_counted_to_the_day_on_which_it_begins():
    assert days([]) == []
    night = [DAY_S - 10, DAY_S + 5, DAY_S + HOUR_S, DAY_S + 2 * HOUR_S]
    # The last is an hour after the one before, which is a pause.
    assert days(night) == [0, 0, 0, 1]
    assert days([DAY_S - 1800, DAY_S + 1800, DAY_S + 1801]) == [0, 1, 1]


def test_a_camera_without_a_pause_is_cut_in_the_longest_near_each_midnight():
    steady = [1800.0 * number for number in range(48 * 20)]
    assert days(steady) == [int(at_s // DAY_S) for at_s in steady]
    # At night it sees a thing a minute; of the days' pauses one is a little longer, before noon or after it.
    busy = [60.0 * number for number in range(24 * 60 * 3)]
    paused = [at_s for at_s in busy if not (20 * HOUR_S < at_s < 20.5 * HOUR_S or 50 * HOUR_S < at_s < 50.4 * HOUR_S)]
    found = dict(zip(paused, days(paused), strict=True))
    assert (found[20.0 * HOUR_S], found[20.5 * HOUR_S], found[25.0 * HOUR_S]) == (0, 1, 1)
    assert (found[50.0 * HOUR_S], found[51.0 * HOUR_S], found[71.0 * HOUR_S]) == (1, 2, 2)


@pytest.mark.parametrize("step_s", [7, 997, 3599, 3600, 90000])
def test_days_follow_each_other_and_only_a_pause_of_an_hour_or_a_long_visit_parts_them(step_s):
    times_s = [5000.0 + step_s * number for number in range(500_000 // step_s + 3)]
    found = days(times_s)
    assert found == sorted(found)
    assert max(found.count(day) for day in set(found)) * step_s <= 2 * DAY_S + step_s
    if step_s >= PAUSE_S:
        assert found == [int(at_s // DAY_S) for at_s in times_s]


def test_a_visit_over_midnight_is_in_one_split(tmp_path):
    made = built(export(tmp_path / "export", nights()), tmp_path / "out")
    assert made.groups == 10
    assert (made.parted, made.cuts) == ((), ())
    assert {image.source for image in made.dataset.images} == {
        f"edge/door 2026-11-{day:02d}" for day in range(1, 21, 2)
    }
    assert not check(tmp_path / "out", tell=quiet).leaks


def test_a_check_sees_a_visit_in_two_splits(tmp_path):
    built(export(tmp_path / "export", nights()), tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    image = next(image for image in dataset.of_split("train") if image.taken[0].endswith("T00:00:05Z"))
    moved = replace(image, split="test", source="", file=image.file.replace("train", "test", 1))
    (tmp_path / "out" / image.file).rename(tmp_path / "out" / moved.file)
    images = sorted((moved if each == image else each for each in dataset.images), key=lambda each: each.file)
    changed = replace(dataset, images=tuple(images))
    written(tmp_path / "out", changed)
    for split in SPLITS:
        (tmp_path / "out" / list_name(split)).write_text(list_text(changed, split))
    found = check(tmp_path / "out", tell=quiet)
    assert found.damages == ()
    assert any(moved.file in leak and "are of one visit: edge/door took them " in leak for leak in found.leaks)


def test_a_double_stands_for_all_times_at_which_it_was_seen(tmp_path):
    # Picture 0 is seen again at the end of a later day, and next to picture 2 after midnight.
    samples = [(0, 10), (0, 47.9), (2, 48.1), *((number, 100 + 30 * number) for number in range(3, 20))]
    made = built(export(tmp_path / "export", samples), tmp_path / "out", allow_missing=True)
    seen = {image.origin[-2:]: image for image in made.dataset.images}
    assert seen["00"].taken == ("edge/door 2026-11-01T10:00:00Z", "edge/door 2026-11-02T23:54:00Z")
    assert (seen["00"].source, seen["02"].source) == ("edge/door 2026-11-01", "edge/door 2026-11-02")
    assert seen["00"].split == seen["02"].split


def test_splits_of_a_dataset_that_was_cut_at_midnight_are_kept_and_told(tmp_path):
    root = export(tmp_path / "export", nights())
    old = as_by_calendar(built(root, tmp_path / "new").dataset)
    # What comes since in these nights goes with the nearest that is known.
    later = [(number, 48 * (number - 100) + 23.9) for number in range(100, 110)]
    export(root, [*nights(), *later])
    made = built(root, tmp_path / "out", keep=written(tmp_path / "old", old), allow_missing=True)
    split_of = {image.sha256: image.split for image in made.dataset.images}
    assert {image.sha256: image.split for image in old.images}.items() <= split_of.items()
    added = [image for image in made.dataset.images if "T23:54:00Z" in image.taken[0]]
    assert len(added) == 10
    assert {(image.split, image.source[-2:]) for image in added} == {("train", f"{day:02d}") for day in range(1, 21, 2)}
    assert len(made.parted) == 10
    assert "visits of a camera in two splits, as the dataset that was kept has them: 10" in built_text(made, root)
    assert len(check(tmp_path / "out", tell=quiet).leaks) == 10


def test_a_picture_that_fills_a_pause_moves_none_that_was_there(tmp_path):
    root = export(
        tmp_path / "export", [(number, 24 * (number // 2) + 23.3 + 1.5 * (number % 2)) for number in range(30)]
    )
    first = built(root, tmp_path / "first").dataset
    bridges = [(number, 24 * (number - 100) + 24.1) for number in range(100, 114)]
    export(root, [*((n, 24 * (n // 2) + 23.3 + 1.5 * (n % 2)) for n in range(30)), *bridges])
    second = built(root, tmp_path / "second", keep=tmp_path / "first").dataset
    kept = {image.sha256: (image.split, image.source) for image in second.images}
    assert {image.sha256: (image.split, image.source) for image in first.images}.items() <= kept.items()


def test_cuts_of_a_camera_that_makes_no_pause_are_told_and_are_no_leaks(tmp_path):
    samples = [(number, 0.9 * number) for number in range(80)]
    made = built(export(tmp_path / "export", samples), tmp_path / "out")
    assert made.groups == 3
    assert made.cuts
    assert made.parted == ()
    assert "the shortest of 54 min (edge/door)" in built_text(made, tmp_path / "out")
    assert not check(tmp_path / "out", tell=quiet).leaks


def test_times_are_kept_for_originals_and_manifests_without_them_stay_as_they_were(tmp_path):
    root = export(tmp_path / "export", nights(4))
    dataset = built(root, tmp_path / "out", augmentation=Augmentation((Change.FLIP,)), allow_missing=True).dataset
    assert all(bool(image.taken) is (image.augmented_from is None) for image in dataset.images)
    assert decode_dataset(encode_dataset(dataset)) == dataset
    without = replace(dataset, images=tuple(replace(image, taken=()) for image in dataset.images))
    assert b"taken" not in encode_dataset(without)
    assert kept_apart(without) == ([], [])
    spoiled = encode_dataset(dataset).replace(b"T00:00:05Z", b"T00:00:99Z")
    with pytest.raises(InvalidArgumentError, match=r"taken: found .*expected a list of cameras and times"):
        decode_dataset(spoiled)


@pytest.mark.parametrize(
    ("captured", "source", "taken"),
    [
        ("2026-11-01T23:59:50Z", "edge/door 2026-11-01", ("edge/door 2026-11-01T23:59:50Z",)),
        ("2026-11-01 23:59:50.25", "edge/door 2026-11-01", ("edge/door 2026-11-01T23:59:50Z",)),
        ("2026-11-01T23:59:50-02:00", "edge/door 2026-11-02", ("edge/door 2026-11-02T01:59:50Z",)),
        ("2026-11-01", "edge/door 2026-11-01", ()),
        ("2026-11-01T99:00", "edge/door 2026-11-01", ()),
        ("", "edge/door", ()),
    ],
)
def test_times_as_people_write_them(tmp_path, captured, source, taken):
    root = export(tmp_path / "export", [(number, 50.0 * number) for number in range(8)])
    about = json.loads((root / "samples.json").read_text())
    about["samples"][0]["captured"] = captured
    (root / "samples.json").write_text(json.dumps(about))
    images = built(root, tmp_path / "out", shares=(100, 0, 0)).dataset.images
    image = next(image for image in images if image.origin == f"sample:{0:032x}")
    assert (image.source, image.taken) == (source, taken)
