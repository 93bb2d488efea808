"""The test split that goes along with a version."""

import pytest

from edgewise.protocols.dataset_manifest import DatasetImage
from edgewise.protocols.heldout import MAX_EXAMPLE_BYTES, check_heldout, read_heldout
from edgewise.train.held_out import MOST_EXAMPLES, HeldOut, add_held_out, held_out

LARGE = MAX_EXAMPLE_BYTES + 1


def dataset(directory, sizes):
    images = []
    for number, size in enumerate(sizes):
        image = DatasetImage(f"test/cat/{number:016x}.jpg", "0" * 64, "cat", "test")
        (directory / image.file).parent.mkdir(parents=True, exist_ok=True)
        (directory / image.file).write_bytes(bytes([number % 256]) * size)
        images.append(image)
    return images


def of_sources(*sources):
    return tuple(DatasetImage(f"test/cat/{at}.jpg", "0" * 64, "cat", "test", each) for at, each in enumerate(sources))


def test_a_site_finds_every_picture_and_what_it_shows(tmp_path):
    images = dataset(tmp_path / "door", [10, LARGE, 20])
    staged = tmp_path / "staged"
    staged.mkdir()
    add_held_out(staged, tmp_path / "door", held_out(tmp_path / "door", images), {"cat": "tom"}.get)
    files = {path.name: path.stat().st_size for path in (staged / "heldout").iterdir()}
    found = check_heldout((staged / "heldout" / "heldout.json").read_bytes(), files)
    assert [(example.file, example.label) for example in found.examples] == [("0001.jpg", "tom"), ("0002.jpg", "tom")]
    assert (staged / "heldout" / "0002.jpg").read_bytes() == b"\x02" * 20


def test_so_many_and_no_more_and_large_ones_take_no_place(tmp_path):
    going = held_out(tmp_path, dataset(tmp_path, [LARGE] * 3 + [1] * (MOST_EXAMPLES + 5)))
    assert (len(going.images), going.tested, going.too_large) == (MOST_EXAMPLES, MOST_EXAMPLES + 8, 3)
    assert going.images[-1].file.endswith(f"{MOST_EXAMPLES + 7:x}.jpg")


def test_without_a_small_picture_there_is_no_folder(tmp_path):
    staged = tmp_path / "staged"
    staged.mkdir()
    add_held_out(staged, tmp_path, held_out(tmp_path, dataset(tmp_path, [LARGE])), str)
    assert list(staged.iterdir()) == []


@pytest.mark.parametrize(
    ("going", "said"),
    [
        (
            HeldOut(of_sources("a", "b", "a"), 1200, 9),
            "3 of 1,200 test pictures go along as held-out examples, of 2 sources; 9 are over 1 MiB",
        ),
        (HeldOut(of_sources("a"), 1, 0), "1 of 1 test pictures go along as held-out examples, of 1 source"),
        (
            HeldOut(of_sources("a", "b", ""), 3, 0),
            "3 of 3 test pictures go along as held-out examples, of 2 sources, 1 of sources that nobody stated",
        ),
        (
            HeldOut(of_sources(""), 1, 0),
            "1 of 1 test pictures go along as held-out examples, of sources that nobody stated",
        ),
        (
            HeldOut((), 2, 2),
            "none of 2 test pictures goes along as a held-out example; 2 are over 1 MiB: a rollout's gate `accuracy` has nothing to ask",
        ),
    ],
)
def test_what_goes_along_is_told(going, said):
    assert str(going) == said


def test_sources_go_along_without_their_names(tmp_path):
    images = of_sources("home/back door", "home/garage", "home/back door", "")
    for image in images:
        (tmp_path / image.file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / image.file).write_bytes(b"picture")
    staged = tmp_path / "staged"
    staged.mkdir()
    add_held_out(staged, tmp_path, held_out(tmp_path, images), str.upper)
    written = read_heldout((staged / "heldout" / "heldout.json").read_bytes())
    assert [one.source for one in written.examples] == ["1", "2", "1", ""]
    assert {one.label for one in written.examples} == {"CAT"}
