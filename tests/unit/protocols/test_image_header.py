"""Headers are read, refused and stripped before a decoder sees the file."""

import io
import struct
import zlib

import pytest
from PIL import Image

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.image_header import MAX_PARTS, ImageFormat, check_whole, picture_type, read_header

LIMIT = 1_000_000


def encoded(image_format: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 128).save(file, image_format, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def with_orientation(image_format: str, value: int, order: str = "<") -> bytes:
    exif = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, value, 0)
    return encoded(image_format, exif=b"Exif\0\0" + exif)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_size_and_format_are_read(image_format):
    header = read_header(encoded(image_format), LIMIT)
    assert (header.width, header.height, header.orientation) == (40, 30, 1)
    assert header.format is {"JPEG": ImageFormat.JPEG, "PNG": ImageFormat.PNG, "WEBP": ImageFormat.WEBP}[image_format]


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_kind_of_webp_says_size_and_transparency(options, mode):
    file = io.BytesIO()
    image = Image.new(mode, (17, 9), (1, 2, 3, 4)[: len(mode)])
    image.save(file, "WEBP", **options)
    header = read_header(file.getvalue(), LIMIT)
    assert (header.width, header.height, header.alpha) == (17, 9, mode == "RGBA")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_is_read(image_format, value, order):
    assert read_header(with_orientation(image_format, value, order), LIMIT).orientation == value


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(value):
    assert read_header(with_orientation("JPEG", value), LIMIT).orientation == 1


def test_metadata_is_dropped_and_colours_stay():
    data = encoded("JPEG", comment=b"secret", icc_profile=b"p" * 100_000)
    stripped = read_header(data, LIMIT).data
    assert b"secret" not in stripped
    assert len(stripped) < 2000
    assert stripped.startswith(b"\xff\xd8\xff\xe0"), "the JFIF segment tells the colour space"
    assert Image.open(io.BytesIO(stripped)).getpixel((0, 0)) == Image.open(io.BytesIO(data)).getpixel((0, 0))


def test_later_frames_of_an_animated_png_are_dropped():
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    stripped = read_header(file.getvalue(), LIMIT).data
    assert b"fdAT" not in stripped
    assert b"acTL" not in stripped
    assert Image.open(io.BytesIO(stripped)).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


REFUSED = [
    (b"", "the input is not a JPEG, PNG or WebP image but empty"),
    (b"hello", "the input is not a JPEG, PNG or WebP image"),
    (b"GIF89a" + bytes(100), "the input is not a JPEG, PNG or WebP image"),
    (b"\xff\xd8\xff", "the image is truncated before its pixels begin"),
    (b"\xff\xd8\xff\xe0\x00", "the image is truncated before its pixels begin"),
    (b"\xff\xd8\xff\xe0\x00\x01abc", "the JPEG image is damaged: a segment ends too early"),
    (b"\xff\xd8\xff\xe0\xff\xff" + bytes(100), "the JPEG image is damaged: a segment ends too early"),
    (b"\xff\xd8\xff\xe0\x00\x02\x00\x00", "the JPEG image is damaged: a marker is missing"),
    (b"\xff\xd8\xff\xda" + bytes(100), "the JPEG image is damaged: it has no frame"),
    (
        b"\xff\xd8\xff\xc9\x00\x11\x08" + bytes(100),
        "the JPEG image is lossless or arithmetic-coded; send a baseline or progressive one",
    ),
    (
        b"\xff\xd8" + 2 * (b"\xff\xc0\x00\x08\x08\x00\x10\x00\x10\x03") + b"\xff\xda",
        "the JPEG image is damaged: it has two frames",
    ),
    (b"\xff\xd8" + (b"\xff\xc0\x00\x08\x08\x00\x00\x00\x10\x03") + b"\xff\xda", "the JPEG image is damaged: it has no pixels"),
    (b"\xff\xd8" + b"\xff" * 5000, "the JPEG image is damaged: more than 2000 segments before the pixels"),
    (b"\xff\xd8" + b"\xff\xe1\x00\x02" * 5000, "the JPEG image is damaged: more than 2000 segments before the pixels"),
    (b"\x89PNG\r\n\x1a\n", "the image is truncated before its pixels begin"),
    (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IDAT", bytes(8)), "the PNG image is damaged: it does not begin with a header"),
    (png_header(0, 5), "the PNG image is damaged: it has no pixels"),
    (png_header(5, 5) + png_chunk(b"tEXt") * 5000, "the PNG image is damaged: too many chunks"),
    (b"RIFF\0\0\0\0WEBP", "the WebP image is damaged: the first chunk is unknown"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "the WebP image is damaged: the start code is missing"),
    (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0", "the image is truncated before its pixels begin"),
    (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0a", "the WebP image is damaged: the signature byte is missing"),
    (b"RIFF\0\0\0\0WEBPVP8X\0\0", "the WebP image is damaged: it ends in its header"),
    (
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10) + b"ANMF\0\0\0\0" * 5000,
        "the WebP image is damaged: more than 2000 chunks",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "problem"), REFUSED, ids=[f"{data[:16]!r}" for data, _ in REFUSED])
def test_what_is_no_image_is_refused(data, problem):
    with pytest.raises(InvalidArgumentError) as caught:
        read_header(data, LIMIT)
    assert caught.value.message == problem


def jpeg_header(width: int, height: int) -> bytes:
    return b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + bytes(9) + b"\xff\xda"


BOMBS = {
    "png": png_header(50_000, 50_000) + png_chunk(b"IDAT", zlib.compress(bytes(9_000_000), 9)),
    "jpeg": jpeg_header(65_535, 65_535) + bytes(10_000),
    "webp": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2 + bytes(10_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_gigapixels_are_refused_without_being_unpacked(name):
    with pytest.raises(InvalidArgumentError, match=r"the image has .* pixels, expected at most 1000000$"):
        read_header(BOMBS[name], LIMIT)


def test_a_progressive_image_of_very_many_scans_is_refused():
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    head = b"\xff\xd8\xff\xc2\x00\x0b\x08\x04\x00\x04\x00\x01\x01\x11\x00"
    assert read_header(head + scan * 100 + b"\xff\xd9", 1 << 30).width == 1024
    with pytest.raises(InvalidArgumentError, match="more than 100 scans"):
        read_header(head + scan * 101 + b"\xff\xd9", 1 << 30)
    # A phone appends a video to the photograph; its bytes are no scans.
    assert read_header(head + scan + b"\xff\xd9" + b"\xff\xda" * 500, 1 << 30).width == 1024


def test_an_image_of_many_real_chunks_is_read():
    pixels = zlib.compress(bytes(range(256)) * 40, 0)
    pieces = b"".join(png_chunk(b"IDAT", pixels[at : at + 2048]) for at in range(0, len(pixels), 2048))
    header = read_header(png_header(10, 10) + pieces + png_chunk(b"IEND"), LIMIT)
    assert header.data == png_header(10, 10) + pieces + png_chunk(b"IEND")
    assert MAX_PARTS == 2000


def test_pictures_are_known_by_their_first_bytes():
    heads = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP", b"RIFF....WAVE", b"GIF89a", b"")
    assert [picture_type(head) for head in heads] == ["image/jpeg", "image/png", "image/webp", "", "", ""]


def with_preview():
    """A JPEG as a camera makes it: in its metadata lies another one, with an end marker of its own."""
    inner = encoded("JPEG", (8, 6))
    whole = encoded("JPEG")
    segment = b"Exif\0\0" + inner
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + whole[2:]


WHOLE = {
    "a JPEG": encoded("JPEG"),
    "a progressive JPEG": encoded("JPEG", progressive=True),
    "a JPEG with a preview": with_preview(),
    "a PNG": encoded("PNG"),
    "a WebP": encoded("WEBP"),
    "a lossless WebP": encoded("WEBP", lossless=True),
    "an animation": encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (40, 30))]),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_picture_is_whole_up_to_its_end_and_cut_before_that(data):
    check_whole(data)
    check_whole(data + b"what a phone puts behind it \xff\xd8")
    for shorter in (1, 2, 13, 24):
        cut = data[:-shorter]
        with pytest.raises(InvalidArgumentError, match="image is damaged: .*, so it was cut off; copy it again"):
            check_whole(cut)
