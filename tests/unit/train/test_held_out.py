"""The test split that goes along with a version."""

from edgewise.protocols.dataset_manifest import DatasetImage
from edgewise.protocols.heldout import MAX_EXAMPLE_BYTES, check_heldout
from edgewise.train.held_out import MOST_EXAMPLES, add_held_out


def dataset(directory, sizes):
    images = []
    for number, size in enumerate(sizes):
        image = DatasetImage(f"test/cat/{number:016x}.jpg", "0" * 64, "cat", "test")
        (directory / image.file).parent.mkdir(parents=True, exist_ok=True)
        (directory / image.file).write_bytes(bytes([number % 256]) * size)
        images.append(image)
    return images


def test_a_site_finds_every_picture_and_what_it_shows(tmp_path):
    images = dataset(tmp_path / "door", [10, MAX_EXAMPLE_BYTES + 1, 20])
    staged = tmp_path / "staged"
    staged.mkdir()
    assert add_held_out(staged, tmp_path / "door", images, {"cat": "tom"}.get) == 2
    files = {path.name: path.stat().st_size for path in (staged / "heldout").iterdir()}
    found = check_heldout((staged / "heldout" / "heldout.json").read_bytes(), files)
    assert [(example.file, example.label) for example in found.examples] == [("0001.jpg", "tom"), ("0002.jpg", "tom")]
    assert (staged / "heldout" / "0002.jpg").read_bytes() == b"\x02" * 20


def test_so_many_and_no_more(tmp_path):
    images = dataset(tmp_path / "door", [1] * (MOST_EXAMPLES + 5))
    staged = tmp_path / "staged"
    staged.mkdir()
    assert add_held_out(staged, tmp_path / "door", images, str) == MOST_EXAMPLES


def test_without_a_small_picture_there_is_no_folder(tmp_path):
    staged = tmp_path / "staged"
    staged.mkdir()
    assert add_held_out(staged, tmp_path, [], str) == 0
    assert list(staged.iterdir()) == []
