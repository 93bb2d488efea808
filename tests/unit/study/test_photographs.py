"""Photographs as a study sends them: read, scaled, varied, labelled."""

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import photographs
from edgewise.study.scenario import Inputs


@pytest.fixture
def directory(tmp_path):
    """Two photographs of 60 by 40 pixels, the left half red, the right half blue; one is a PNG."""
    image = Image.new("RGB", (60, 40), "red")
    image.paste("blue", (30, 0, 60, 40))
    image.save(tmp_path / "a.jpg", quality=90)
    image.save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no photograph")
    return tmp_path


def size(content):
    assert content.startswith(b"\xff\xd8\xff")
    return Image.open(io.BytesIO(content)).size


def test_what_needs_no_change_is_sent_as_it_is(directory):
    jpeg, png = photographs.load(Inputs(directory), seed=1)
    assert (jpeg.name, jpeg.content) == ("a.jpg", (directory / "a.jpg").read_bytes())
    assert (png.name, size(png.content)) == ("b.png", (60, 40))
    (large, _) = photographs.load(Inputs(directory, short_side_px=41), seed=1)
    assert large.content == jpeg.content


def test_a_photograph_is_scaled_to_its_short_side(directory):
    assert [size(one.content) for one in photographs.load(Inputs(directory, short_side_px=20), seed=1)] == [
        (30, 20)
    ] * 2


def test_a_turned_photograph_is_sent_upright(directory):
    image = Image.open(directory / "a.jpg")
    tags = image.getexif()
    tags[0x0112] = 6
    image.save(directory / "a.jpg", exif=tags)
    assert size(photographs.load(Inputs(directory, short_side_px=20, limit=1), seed=1)[0].content) == (20, 30)


def test_variations_follow_the_photographs_and_have_their_labels(directory):
    (directory / "labels.csv").write_text("file,label\na.jpg,red\n\nb.png,blue\n")
    inputs = Inputs(directory, labels=directory / "labels.csv", augment=3, limit=7)
    found = photographs.load(inputs, seed=1)
    assert [one.name for one in found] == ["a.jpg", "b.png", "a.jpg#1", "b.png#1", "a.jpg#2", "b.png#2", "a.jpg#3"]
    assert {one.name: one.label for one in found}["a.jpg#2"] == "red"
    assert len({one.content for one in found}) == 7
    for one in found[2:]:
        width, height = size(one.content)
        assert 10 <= width <= 60
        assert 10 <= height <= 40


def test_the_same_seed_makes_the_same_variations(directory):
    inputs = Inputs(directory, augment=2)
    first = photographs.load(inputs, seed=1)
    photographs.load.cache_clear()
    assert photographs.load(inputs, seed=1) == first
    assert photographs.load(inputs, seed=2)[2:] != first[2:]


def test_a_variation_shows_none_of_what_turning_left_empty(tmp_path):
    Image.new("RGB", (90, 60), "white").save(tmp_path / "white.jpg", quality=95)
    found = photographs.load(Inputs(tmp_path, augment=30, limit=31), seed=5)
    for one in found[1:]:
        pixels = np.asarray(Image.open(io.BytesIO(one.content)).convert("L"), np.float64)
        # Brightness is that of the whole photograph: a corner that was cut off would be black.
        assert pixels.min() > 0.9 * pixels.max()


def test_variations_are_darker_brighter_and_mirrored(directory):
    found = photographs.load(Inputs(directory, augment=40, limit=82), seed=5)
    colours = [np.asarray(Image.open(io.BytesIO(one.content)), np.float64) for one in found[2:]]
    red_left = [
        pixels[:, : pixels.shape[1] // 4, 0].mean() > pixels[:, -pixels.shape[1] // 4 :, 0].mean() for pixels in colours
    ]
    assert 15 < sum(red_left) < 65
    brightest = sorted(pixels.max() for pixels in colours)
    assert brightest[0] < 150
    assert brightest[-1] > 250


def test_a_directory_without_photographs_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="holds no photographs; expected .jpg, .jpeg, .png, .webp"):
        photographs.load(Inputs(tmp_path), seed=1)
    with pytest.raises(InvalidArgumentError, match="cannot be read: No such file or directory"):
        photographs.load(Inputs(tmp_path / "nowhere"), seed=1)


def test_a_file_that_is_no_photograph_is_refused_by_name(directory):
    (directory / "c.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    with pytest.raises(InvalidArgumentError, match=r"c\.jpg cannot be decoded"):
        photographs.load(Inputs(directory), seed=1)
    (directory / "c.jpg").write_bytes((directory / "a.jpg").read_bytes()[:300])
    with pytest.raises(InvalidArgumentError, match=r"c\.jpg cannot be decoded"):
        photographs.load(Inputs(directory, short_side_px=20), seed=1)


def test_a_photograph_of_too_many_pixels_is_refused_before_it_is_decoded(directory):
    header = io.BytesIO()
    Image.new("L", (1, 1)).save(header, "PNG")
    png = bytearray(header.getvalue())
    png[16:24] = (8000).to_bytes(4) + (8000).to_bytes(4)
    import zlib

    png[29:33] = zlib.crc32(bytes(png[12:29])).to_bytes(4)
    (directory / "c.png").write_bytes(bytes(png))
    with pytest.raises(InvalidArgumentError, match=r"c\.png has more than 50,000,000 pixels"):
        photographs.load(Inputs(directory), seed=1)


def test_more_than_fits_in_memory_is_refused(directory, monkeypatch):
    monkeypatch.setattr(photographs, "_MAX_TOTAL_BYTES", (directory / "a.jpg").stat().st_size)
    with pytest.raises(
        InvalidArgumentError, match=r"the first 2 photographs .* expected fewer \(limit = 1\) or smaller"
    ):
        photographs.load(Inputs(directory, limit=2), seed=11)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na.jpg,red\n", "the first line is 'name,label'; expected 'file,label'"),
        ("", "the first line is ''; expected 'file,label'"),
        ("file,label\nc.jpg,red\n", "line 2: there is no photograph 'c.jpg' (did you mean 'a.jpg'?)"),
        ("file,label\na.jpg\n", "line 2: found 'a.jpg', expected a file and its label"),
        ("file,label\na.jpg,\n", "line 2: found 'a.jpg,', expected a file and its label"),
        ("file,label\na.jpg,red\na.jpg,blue\n", "line 3: 'a.jpg' has the label 'red' above; expected one"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(directory, text, message):
    (directory / "labels.csv").write_text(text)
    with pytest.raises(InvalidArgumentError) as caught:
        photographs.load(Inputs(directory, labels=directory / "labels.csv"), seed=1)
    assert message in caught.value.message


def test_labels_that_are_not_text_are_refused(directory):
    (directory / "labels.csv").write_bytes(b"file,label\n\xff\xfe,x\n")
    with pytest.raises(InvalidArgumentError, match="is no CSV file"):
        photographs.load(Inputs(directory, labels=directory / "labels.csv"), seed=1)


def test_every_example_photograph_is_labelled(images):
    assert photographs.example_images().samefile(images)
    found = photographs.load(Inputs(images, labels=images / "labels.csv"), seed=1)
    assert {one.label for one in found} == {"dog", "cat", "other"}
    assert [one.name for one in found if one.label == "cat"] == ["cat.jpg", "kitten.jpg"]
    assert [one.name for one in found if one.label == "dog"] == ["dog.jpg"]
    lines = (images / "labels.csv").read_text().splitlines()[1:]
    assert all(before < after for before, after in pairwise(lines))
