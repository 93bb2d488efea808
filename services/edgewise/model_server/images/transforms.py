"""From encoded images to the tensor that a network expects, and from its probabilities to what people expect.

Pillow is imported when the first image is decoded. Its process-wide settings are neither read nor changed: sizes are
checked in `image_header`, and the format's own reader is used, which skips the checks that those settings steer.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.model_server.config.model_config import ImageInput, Interpolation, LabelOutput, Layout, Pipeline
from edgewise.model_server.images.webp import decode_webp
from edgewise.protocols.image_header import ImageFormat, ImageHeader, read_header

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BATCH_BYTES = 1 << 28
MAX_BATCH_IMAGES_OF_MAX_PIXELS = 8

LABELS = "labels"
PROBABILITIES = "probabilities"
VERDICT = "verdict"

# By EXIF orientation: whether the stored columns, the stored rows are mirrored, and whether the axes are then swapped.
_ORIENTATIONS = {
    1: (False, False, False),
    2: (True, False, False),
    3: (True, True, False),
    4: (False, True, False),
    5: (False, False, True),
    6: (False, True, True),
    7: (True, True, True),
    8: (True, False, True),
}
# Decoding a JPEG at 1/2, 1/4 or 1/8 loses nothing that the resize would keep as long as this much is left.
_DRAFT_RATIO = 2
# One grey pixel as JPEG, PNG and WebP; making them would import encoders that nothing else here needs.
_ONE_PIXEL = (
    (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP////////////////////////////////////////////////////////////////////////////"
        "//////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
    ),
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==",
    "UklGRiQAAABXRUJQVlA4IBgAAABQAQCdASoBAAEADMDOJaQABHQAAAAAAAA=",
)
# Averages whole pixels first when shrinking by much; from 3 on the result is hardly different from a full resample.
_REDUCING_GAP = 3.0


def row_shape(spec: ImageInput) -> tuple[int, int, int]:
    """The shape of one decoded image."""
    if spec.layout is Layout.NCHW:
        return 3, spec.height_px, spec.width_px
    return spec.height_px, spec.width_px, 3


def decode_image(data: bytes, spec: ImageInput, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Decode, orient, resize, crop and scale one image.

    Args:
        data: a JPEG, PNG or WebP file; the first frame of an animation counts.
        spec: what the network expects.
        out: where to write; made when not given.

    Returns: float32[3, height, width] or float32[height, width, 3], as the spec's layout says.

    Raises:
        InvalidArgumentError: not such an image, damaged or too large.
        ResourceExhaustedError: there was no memory for it.
    """
    return _decode(read_header(data, spec.max_pixels), spec, out)


def decode_images(images: Sequence[bytes], spec: ImageInput) -> NDArray[np.float32]:
    """Decode a batch of images.

    Returns: float32[batch, ...] of rows as `decode_image` makes them.

    Raises:
        InvalidArgumentError: an image cannot be decoded (the message has its index), or they are too many at once.
        ResourceExhaustedError: there was no memory for them.
    """
    shape = row_shape(spec)
    most = MAX_BATCH_BYTES // (4 * shape[0] * shape[1] * shape[2])
    if len(images) > max(1, most):
        raise InvalidArgumentError(f"{len(images)} images in one request, expected at most {most}")
    headers = []
    for index, image in enumerate(images):  # all headers first: what is refused costs no decoding
        with _naming(index, images):
            headers.append(read_header(image, spec.max_pixels))
    pixels = sum(header.width * header.height for header in headers)
    if pixels > MAX_BATCH_IMAGES_OF_MAX_PIXELS * spec.max_pixels:
        raise InvalidArgumentError(
            f"the images of one request have {pixels} pixels together, "
            f"expected at most {MAX_BATCH_IMAGES_OF_MAX_PIXELS * spec.max_pixels}"
        )
    batch = np.empty((len(images), *shape), np.float32)
    for index, header in enumerate(headers):
        with _naming(index, images):
            _decode(header, spec, batch[index])
    return batch


@contextmanager
def _naming(index: int, images: Sequence[bytes]) -> Iterator[None]:
    """Say which image of several an error is about."""
    try:
        yield
    except InvalidArgumentError as error:
        if len(images) == 1:
            raise
        raise InvalidArgumentError(f"image {index}: {error.message}") from error


def warm_up(spec: ImageInput) -> None:
    """Import what decoding needs and run it once per format, so that no request pays for it."""
    for pixel in _ONE_PIXEL:
        decode_image(b64decode(pixel), spec)


def _decode(header: ImageHeader, spec: ImageInput, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if out is None:
        out = np.empty(row_shape(spec), np.float32)
    try:
        pixels = _pixels(header, spec)
    except MemoryError as error:
        raise ResourceExhaustedError("no memory to decode the image; try again", retry_after_s=1.0) from error
    except Exception as error:
        # Decoders raise almost anything on damaged files; the details are theirs and not for the client.
        raise InvalidArgumentError(f"the {header.format} image is truncated or damaged") from error
    mean, factor = _scaling(spec)
    if spec.layout is Layout.NCHW:
        np.subtract(pixels.transpose(2, 0, 1), mean, out=out, dtype=np.float32)
        out *= factor
    else:
        # Whole rows at a time: an innermost loop over three channels is four times slower.
        rows = out.reshape(spec.height_px, -1)
        np.subtract(np.ascontiguousarray(pixels).reshape(rows.shape), mean, out=rows, dtype=np.float32)
        rows *= factor
    return out


@lru_cache(maxsize=64)
def _scaling(spec: ImageInput) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means and factors, shaped to broadcast over the layout."""
    mean = np.array(spec.mean, np.float32)
    factor = (1.0 / np.array(spec.scale, np.float64)).astype(np.float32)
    if spec.layout is Layout.NCHW:
        return mean.reshape(3, 1, 1), factor.reshape(3, 1, 1)
    return np.tile(mean, spec.width_px), np.tile(factor, spec.width_px)


def _pixels(header: ImageHeader, spec: ImageInput) -> NDArray[np.uint8]:
    """uint8[height, width, 3], oriented, resized and cropped."""
    from PIL.Image import Resampling  # noqa: PLC0415  (only those who decode images pay for Pillow)

    image, shrunk = _decoded(header, _DRAFT_RATIO * spec.resize_px)
    mirror_x, mirror_y, swap = _ORIENTATIONS[header.orientation]
    size = (spec.height_px, spec.width_px) if swap else (spec.width_px, spec.height_px)
    box = _crop_box(header, shrunk, size, spec.resize_px, (mirror_x, mirror_y))
    resampling = Resampling.BILINEAR if spec.interpolation is Interpolation.BILINEAR else Resampling.BICUBIC
    image = _rgb(_resizable(image).resize(size, resampling, box, reducing_gap=_REDUCING_GAP))
    pixels: NDArray[np.uint8] = np.asarray(image)
    if mirror_x:
        pixels = pixels[:, ::-1]
    if mirror_y:
        pixels = pixels[::-1]
    return pixels.swapaxes(0, 1) if swap else pixels


def _decoded(header: ImageHeader, enough_px: int) -> tuple["Image", int]:
    """The decoded image, and by how much a JPEG's decoder made it smaller, its short side still `enough_px` or more."""
    from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: PLC0415  (as in _pixels)
    from PIL.Image import fromarray  # noqa: PLC0415

    file = BytesIO(header.data)
    image: Image
    shrunk = 1
    match header.format:
        case ImageFormat.JPEG:
            image = JpegImagePlugin.JpegImageFile(file)
            short = min(header.width, header.height)
            shrunk = next((by for by in (8, 4, 2) if short >= by * enough_px), 1)
            image.draft(None, (header.width // shrunk, header.height // shrunk))
        case ImageFormat.PNG:
            image = PngImagePlugin.PngImageFile(file)
        case ImageFormat.WEBP:
            pixels = decode_webp(header.data, header.width, header.height, alpha=header.alpha)
            image = WebPImagePlugin.WebPImageFile(file) if pixels is None else fromarray(pixels)
    image.load()
    return image, shrunk


def _crop_box(
    header: ImageHeader, shrunk: int, crop: tuple[int, int], resize_px: int, mirrored: tuple[bool, bool]
) -> tuple[float, float, float, float]:
    """The part of the decoded pixels that the crop shows, so that the resize computes nothing else.

    Args:
        header: of the image.
        shrunk: by how much the decoder made it smaller than stored.
        crop: width and height in pixels after the resize, in stored orientation.
        resize_px: length of the short side after the resize.
        mirrored: whether the axis will be mirrored; an odd rest lies on the far side as it is seen.

    Returns: left, upper, right, lower in decoded pixels.
    """
    short = min(header.width, header.height)
    edges = []
    for stored, length, mirror in zip((header.width, header.height), crop, mirrored, strict=True):
        resized = resize_px if stored == short else round(stored * resize_px / short)
        rest = resized - length
        low = rest - rest // 2 if mirror else rest // 2
        edges.append((low * stored / resized / shrunk, (low + length) * stored / resized / shrunk))
    (left, right), (upper, lower) = edges
    return left, upper, right, lower


def _resizable(image: "Image") -> "Image":
    """The image in a mode whose values can be averaged: greyscale, RGB or RGBA."""
    if image.mode.startswith("I"):  # 16-bit greyscale; Pillow's own conversion would clip at 255
        from PIL.Image import fromarray  # noqa: PLC0415  (as in _pixels)

        return fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def _rgb(image: "Image") -> "Image":
    """The image in RGB, transparency shown on white as on a page."""
    from PIL.Image import alpha_composite, new  # noqa: PLC0415  (as in _pixels)

    if image.mode == "RGBA":
        image = alpha_composite(new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def pipeline_signature(pipeline: Pipeline) -> Signature:
    """The signature that clients see of an image pipeline."""
    top_k = pipeline.output.top_k
    outputs = [
        TensorSpec(LABELS, DType.STRING, (-1, top_k)),
        TensorSpec(PROBABILITIES, DType.FLOAT32, (-1, top_k)),
    ]
    if pipeline.output.groups:
        outputs.append(TensorSpec(VERDICT, DType.STRING, (-1,)))
    return Signature(pipeline.name, (TensorSpec(pipeline.input_name, DType.STRING, (-1,)),), tuple(outputs))


def check_pipeline(pipeline: Pipeline, signatures: Mapping[str, Signature]) -> None:
    """Check that a pipeline fits the model that it stands on.

    Args:
        pipeline: as configured.
        signatures: the loaded model's own.

    Raises:
        FailedPreconditionError: its base signature, input or output is not there or has another shape or type.
    """
    where = f"signatures.{pipeline.name}"
    base = signatures.get(pipeline.base)
    if base is None:
        raise FailedPreconditionError(f"{where}.base: found {pipeline.base!r}, expected one of {_names(signatures)}")
    image, output = pipeline.image, pipeline.output
    fed, read = base.input(image.tensor), base.output(output.tensor)
    if fed is None or len(base.inputs) != 1:
        raise FailedPreconditionError(
            f"{where}.preprocess.tensor: found {image.tensor!r}, expected the only input of {pipeline.base!r}, "
            f"which has {_names(spec.name for spec in base.inputs)}"
        )
    if fed.dtype is not DType.FLOAT32 or not _fits(fed.shape, (-1, *row_shape(image))):
        raise FailedPreconditionError(
            f"{where}.preprocess: makes float32 {[-1, *row_shape(image)]}, "
            f"but input {image.tensor!r} takes {fed.dtype} {list(fed.shape or ())}"
        )
    if read is None:
        raise FailedPreconditionError(
            f"{where}.postprocess.tensor: found {output.tensor!r}, expected one of "
            f"{_names(spec.name for spec in base.outputs)}"
        )
    classes = abs(prod(read.shape[1:])) if read.shape and -1 not in read.shape[1:] else None
    if classes is not None and classes != len(output.labels):
        raise FailedPreconditionError(
            f"{where}.postprocess: {len(output.labels)} labels, but output {output.tensor!r} has {classes} classes"
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _fits(shape: tuple[int, ...] | None, made: tuple[int, ...]) -> bool:
    return shape is None or (
        len(shape) == len(made) and all(-1 in (is_, be) or is_ == be for is_, be in zip(shape, made, strict=True))
    )


class Labeller:
    """Names the most probable classes and gives the verdict, for a batch at a time."""

    __slots__ = ("_labels", "_membership", "_spec", "_thresholds", "_verdicts")

    def __init__(self, spec: LabelOutput) -> None:
        self._spec = spec
        self._labels = np.array([label.encode() for label in spec.labels] or [b""], np.object_)
        self._membership = np.zeros((len(spec.labels), len(spec.groups)), np.float32)
        for column, group in enumerate(spec.groups):
            self._membership[list(group.classes), column] = 1.0
        self._thresholds = np.array([group.threshold for group in spec.groups], np.float32)
        self._verdicts = np.array(
            [*(group.name.encode() for group in spec.groups), spec.otherwise.encode()], np.object_
        )

    def __call__(self, probabilities: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """See `label`."""
        spec = self._spec
        scores = np.asarray(probabilities, np.float32).reshape(len(probabilities), prod(probabilities.shape[1:]))
        if scores.shape[1] != len(spec.labels):
            raise FailedPreconditionError(
                f"output {spec.tensor!r} has {scores.shape[1]} classes, but the model has {len(spec.labels)} labels"
            )
        best = top_k(scores, spec.top_k)
        outputs = {LABELS: self._labels[best], PROBABILITIES: np.take_along_axis(scores, best, axis=1)}
        if spec.groups:
            sums = scores @ self._membership
            reached = np.where(sums >= self._thresholds, sums, -np.inf)
            winner = reached.argmax(axis=1)
            winner[np.isneginf(reached.max(axis=1))] = len(spec.groups)
            outputs[VERDICT] = self._verdicts[winner]
        return outputs


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Indices of the `k` greatest scores of each row, best first; on equal scores the lower index, NaN last.

    Args:
        scores: float32[batch, classes].
        k: at most the number of classes.

    Returns: intp[batch, k].
    """
    lowest = -scores  # so that one ascending, stable order serves values, ties and NaN alike
    if k < scores.shape[1]:
        picked = np.sort(np.argpartition(lowest, k - 1, axis=1)[:, :k], axis=1)
        candidates = np.take_along_axis(lowest, picked, axis=1)
        # A partition picks freely among equals; where some of the k-th value were left out, sort the row instead.
        if ((lowest <= candidates.max(axis=1, keepdims=True)).sum(axis=1) == k).all():
            order = np.argsort(candidates, axis=1, kind="stable")
            return np.take_along_axis(picked, order, axis=1)
    return np.argsort(lowest, axis=1, kind="stable")[:, :k]


# The specs are kept with their labellers, so an identity is never used anew while it is a key here.
_labellers: dict[int, tuple[LabelOutput, Labeller]] = {}
_MAX_LABELLERS = 64


def label(probabilities: NDArray[Any], spec: LabelOutput) -> dict[str, NDArray[Any]]:
    """Turn class probabilities into what people expect.

    Args:
        probabilities: float32[batch, classes]; further dimensions of length 1 are dropped.
        spec: the same object for every call of a model, since what is derived from it is kept.

    Returns: labels: STRING [batch, k], probabilities: float32[batch, k] and, with groups, verdict: STRING [batch].

    Raises:
        FailedPreconditionError: as many classes as labels are expected.
    """
    found = _labellers.get(id(spec))  # hashing a thousand labels costs more than labelling
    if found is None:
        if len(_labellers) >= _MAX_LABELLERS:
            _labellers.clear()
        found = _labellers[id(spec)] = spec, Labeller(spec)
    return found[1](probabilities)
