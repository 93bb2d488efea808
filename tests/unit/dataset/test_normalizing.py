"""Whatever a picture was, what is kept is upright RGB without a word about where it was taken."""

import io

import numpy as np
import pytest
from PIL import Image

from edgewise.dataset.normalizing import BadPictureError, guarded, normalize
from edgewise.dataset.settings import Fit
from support.pictures import content, picture

PIXELS = 1_000_000


def kept(tmp_path, data, size=None, fit=Fit.CROP, most=PIXELS):
    path = tmp_path / "picture"
    path.write_bytes(data)
    with guarded():
        return normalize(path, size, fit, most)


def opened(made):
    return Image.open(io.BytesIO(made.content))


def refusal(tmp_path, data, **words):
    with pytest.raises(BadPictureError) as caught:
        kept(tmp_path, data, **words)
    return caught.value.message


def test_a_png_stays_one_and_loses_nothing(tmp_path):
    made = kept(tmp_path, content(picture(1)))
    assert made.suffix == ".png"
    assert np.array_equal(np.asarray(opened(made)), np.asarray(picture(1)))
    assert made.mean == pytest.approx(np.asarray(picture(1)).reshape(-1, 3).mean(axis=0))


def test_a_photograph_is_turned_upright_and_its_exif_goes(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held so that the right side was up
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # GPSLatitude
    exif[0x010F] = "a camera"
    data = content(picture(1, (400, 200)), "JPEG", exif=exif, comment=b"at home", quality=95)
    assert b"a camera" in data
    made = kept(tmp_path, data)
    image = opened(made)
    assert made.suffix == ".jpg"
    assert image.size == (200, 400)
    assert not image.getexif()
    assert not {"exif", "comment", "icc_profile"} & image.info.keys()
    turned = np.asarray(picture(1, (400, 200)).transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(image).astype(int) - turned).mean() < 4


@pytest.mark.parametrize(
    ("kind", "words", "suffix"),
    [("WEBP", {"lossless": True}, ".jpg"), ("GIF", {}, ".png"), ("BMP", {}, ".png")],
)
def test_other_formats_are_taken(tmp_path, kind, words, suffix):
    made = kept(tmp_path, content(picture(2), kind, **words))
    assert (made.suffix, opened(made).mode, opened(made).size) == (suffix, "RGB", (32, 24))


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    made = kept(tmp_path, content(picture(3).convert(mode), kind))
    assert opened(made).mode == "RGB"


def test_transparency_is_shown_on_white(tmp_path):
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert opened(kept(tmp_path, content(clear))).getpixel((0, 0)) == (255, 255, 255)


def test_greyscale_of_16_bits_keeps_its_shades(tmp_path):
    grey = Image.fromarray(np.full((8, 8), 128 << 8, np.uint16))
    assert opened(kept(tmp_path, content(grey))).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("fit", Fit)
def test_every_fit_gives_the_wanted_size(tmp_path, fit):
    made = opened(kept(tmp_path, content(picture(4, (60, 20))), (30, 40), fit))
    assert made.size == (40, 30)


def test_crop_takes_the_middle_pad_adds_bars_and_stretch_takes_all(tmp_path):
    # Red to the left and right, green in the middle.
    data = np.zeros((20, 60, 3), np.uint8)
    data[:, :20, 0] = data[:, 40:, 0] = data[:, 20:40, 1] = 255
    wide = content(Image.fromarray(data))
    crop = np.asarray(opened(kept(tmp_path, wide, (20, 20), Fit.CROP)))
    pad = np.asarray(opened(kept(tmp_path, wide, (30, 30), Fit.PAD)))
    stretch = np.asarray(opened(kept(tmp_path, wide, (30, 30), Fit.STRETCH)))
    assert crop[10, 1:-1, 1].min() > 240
    assert crop[10, 1:-1, 0].max() < 20
    assert pad[:9].max() == 0
    assert pad[15, 2, 0] > 240
    assert stretch[2, 2, 0] > 240
    assert stretch[2, 15, 1] > 240


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"a letter to nobody", "is no picture; expected JPEG, PNG, WebP, GIF or BMP"),
        (content(picture(5, (200, 200)), "JPEG")[:2000], "is truncated or damaged"),
        (content(picture(5, (200, 200)))[:2000], "is truncated or damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no picture; expected JPEG, PNG, WebP, GIF or BMP"),
    ],
)
def test_what_is_no_good_picture_says_why(tmp_path, data, message):
    assert refusal(tmp_path, data) == message


def test_what_would_take_all_memory_is_not_decoded(tmp_path):
    bomb = content(Image.new("1", (1200, 1200)))
    assert refusal(tmp_path, bomb) == "is 1200 × 1200 pixels, and 1,000,000 in all is the most (max_pixels)"
    # Pillow refuses these by itself.
    head = bytearray(bomb)
    head[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    head[29:33] = zlib.crc32(bytes(head[12:29])).to_bytes(4, "big")
    assert refusal(tmp_path, bytes(head)) == "has far too many pixels; 1,000,000 is the most (max_pixels)"


def test_a_side_that_no_dataset_takes_needs_a_size(tmp_path):
    long = content(Image.new("L", (9000, 2)))
    assert refusal(tmp_path, long) == "is 9000 × 2 pixels, 8192 is the most of a side; give --size"
    assert opened(kept(tmp_path, long, (8, 8))).size == (8, 8)


def test_a_directory_and_a_pipe_are_no_pictures(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(BadPictureError, match="is no regular file"):
            normalize(path, None, Fit.CROP, PIXELS)


def test_the_same_file_gives_the_same_bytes(tmp_path):
    data = content(picture(6, (64, 48)), "JPEG")
    assert kept(tmp_path, data, (32, 32)).sha256 == kept(tmp_path, data, (32, 32)).sha256
