"""Reads `model.toml`; the keys are described in docs/model-toml.md.

Anything the file says that cannot be served is a `ModelConfigError` (FAILED_PRECONDITION) naming file, key, what was
found and what is allowed.
"""

import os
import re
from pathlib import Path, PurePosixPath

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.requests import DEFAULT_SIGNATURE
from edgewise.core.tensors import DType, Method
from edgewise.core.toml_table import is_integer
from edgewise.model_server.config.model_config import (
    FILE_NAME,
    BackendName,
    Batching,
    Golden,
    Group,
    ImageInput,
    Interpolation,
    LabelOutput,
    Layout,
    ModelConfig,
    Pipeline,
    SignatureOverride,
    TensorOverride,
    Warmup,
)
from edgewise.model_server.config.toml_table import ModelConfigError, Table
from edgewise.protocols.toml_files import parse_toml

MAX_FILE_BYTES = 16 << 20
MAX_BATCH_SIZE = 4096
MAX_SIDE_PX = 8192
MAX_PIXELS = 1_000_000_000
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")

_TOP_KEYS = (
    "backend",
    "file",
    "description",
    "trained",
    "threads",
    "confidence",
    "batching",
    "warmup",
    "golden",
    "signatures",
)
_IMAGE_KEYS = ("kind", "base", "input", "preprocess", "postprocess")
_PLAIN_KEYS = ("kind", "method", "inputs", "outputs")
_PREPROCESS_KEYS = ("tensor", "resize", "crop", "mean", "scale", "layout", "max_pixels", "interpolation")
_POSTPROCESS_KEYS = ("tensor", "labels", "labels_file", "top_k", "groups", "otherwise")
_METHODS = {"predict": Method.PREDICT, "classify": Method.CLASSIFY, "regress": Method.REGRESS}
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


def load_model_config(version_dir: Path) -> ModelConfig:
    """What `model.toml` says of the version in `version_dir`, checked.

    The file is looked for in `version_dir`, then one level up; without one the defaults hold and the backend is
    guessed from the files.

    Returns: the configuration; for the onnx backend `file` is always filled in.

    Raises:
        ModelConfigError: the file is unreadable or says what cannot be served.
        FailedPreconditionError: no backend is named and none can be guessed.
    """
    for directory in (version_dir, version_dir.parent):
        path = directory / FILE_NAME
        if os.path.lexists(path):  # a link to nowhere is a mistake to report, not an absent file
            return _parse(path, version_dir)
    backend, file = _guess(version_dir)
    return ModelConfig(backend=backend, file=file)


def find_onnx_file(version_dir: Path) -> str:
    """The name of the one ONNX file in `version_dir`, or of `model.onnx` among several.

    Raises:
        FailedPreconditionError: there is none, or it is not clear which.
    """
    names = sorted(path.name for path in version_dir.glob("*.onnx"))
    if len(names) == 1:
        return names[0]
    if "model.onnx" in names:
        return "model.onnx"
    where = _short(version_dir)
    if names:
        raise FailedPreconditionError(
            f"{where}: {len(names)} ONNX files ({', '.join(names[:5])}); say which with `file` in {FILE_NAME}"
        )
    raise FailedPreconditionError(f"{where}: no ONNX file; looked for *.onnx")


def _guess(version_dir: Path) -> tuple[BackendName, str]:
    if next(version_dir.glob("*.onnx"), None) is not None:
        return BackendName.ONNX, find_onnx_file(version_dir)
    if any((version_dir / name).is_file() for name in SAVED_MODEL_FILES):
        return BackendName.TENSORFLOW, ""
    raise FailedPreconditionError(f"{_short(version_dir)}: no model; looked for *.onnx and {SAVED_MODEL_FILES[0]}")


def _short(path: Path) -> str:
    """`model/version`, which tells an operator enough and a client nothing about the machine."""
    return "/".join(path.parts[-2:])


def _read_text(path: Path, name: str) -> str:
    # A pipe or a device would hang the read.
    if not path.is_file():
        raise ModelConfigError(f"{name}: not a regular file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelConfigError(f"{name}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelConfigError(f"{name}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelConfigError(f"{name}: not UTF-8 (byte {error.start})") from error


def _parse(path: Path, version_dir: Path) -> ModelConfig:
    name = "/".join(path.parts[-3:] if path.parent == version_dir else path.parts[-2:])
    try:
        values = parse_toml(_read_text(path, name), name)
    except InvalidArgumentError as error:
        raise ModelConfigError(error.message) from error
    top = Table(name, "", values, _TOP_KEYS)
    backend, file = _model_file(top, version_dir)
    batching = _batching(top.table("batching", Batching.__slots__))
    plain, pipelines = _signatures(top.table("signatures"), version_dir)
    return ModelConfig(
        backend=backend,
        file=file,
        threads=top.integer("threads", 0, 1024, 0),
        description=top.text("description", "", empty=True),
        trained=top.flag("trained", default=True),
        confidence=top.text("confidence", "", empty=True),
        signatures=plain,
        pipelines=pipelines,
        batching=batching,
        warmup=_warmup(top.table("warmup", Warmup.__slots__), batching),
        golden=tuple(_golden(table, version_dir) for table in top.tables("golden", Golden.__slots__)),
    )


def _model_file(top: Table, version_dir: Path) -> tuple[BackendName, str]:
    file = top.text("file", "")
    if file:
        # Links are followed: operators link large model files, and nothing of a model file is shown to clients.
        if not (version_dir / _inside(top, "file", file)).exists():
            raise top.error("file", f"no such file or directory {file!r} in {_short(version_dir)}")
        guessed = BackendName.ONNX if file.endswith(".onnx") else BackendName.TENSORFLOW
        return top.choice("backend", BackendName, guessed), file
    if "backend" not in top:
        return _guess(version_dir)
    backend = top.choice("backend", BackendName)
    return backend, find_onnx_file(version_dir) if backend is BackendName.ONNX else ""


def _inside(table: Table, key: str, file: str) -> PurePosixPath:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\0" in file:
        raise table.wrong(key, file, "a relative path without '..'")
    return path


def _data_file(table: Table, key: str, file: str, version_dir: Path) -> Path:
    """A file that may be shown to clients in parts, so links out of the model's directory are not followed."""
    relative = _inside(table, key, file)
    real_dir = version_dir.resolve()
    for directory in (version_dir, version_dir.parent):
        path = directory / relative
        if path.exists():
            real = path.resolve()
            if not any(real.is_relative_to(root) for root in (real_dir.parent, version_dir.parent.resolve())):
                raise table.wrong(key, file, "a file inside the model's directory, not a link out of it")
            return path
    raise table.error(key, f"no such file {file!r} in {_short(version_dir)} or one level up")


def _batching(table: Table) -> Batching:
    defaults = Batching()
    most = table.integer("max_batch_size", 1, MAX_BATCH_SIZE, defaults.max_batch_size)
    sizes = table.integers("allowed_batch_sizes", 1, most, ())
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != most):
        raise table.wrong("allowed_batch_sizes", list(sizes), f"rising sizes that end with max_batch_size = {most}")
    return Batching(
        max_batch_size=most,
        max_delay_ms=table.number("max_delay_ms", 0, 10_000, defaults.max_delay_ms),
        allowed_batch_sizes=sizes,
        max_queue=table.integer("max_queue", 1, 1_000_000, defaults.max_queue),
        instances=table.integer("instances", 1, 64, defaults.instances),
    )


def _warmup(table: Table, batching: Batching) -> Warmup:
    defaults = Warmup()
    return Warmup(
        batch_sizes=table.integers("batch_sizes", 1, batching.max_batch_size, defaults.batch_sizes),
        repeats=table.integer("repeats", 0, 1000, defaults.repeats),
    )


def _golden(table: Table, version_dir: Path) -> Golden:
    file = table.text("file")
    _data_file(table, "file", file, version_dir)
    expected = "a string, a number or a list of numbers"
    value = table.value("expect", expected)
    expect = value if isinstance(value, str) else table.numbers("expect", expected)
    return Golden(
        signature=table.text("signature", DEFAULT_SIGNATURE),
        file=file,
        output=table.text("output"),
        expect=expect,
        tolerance=table.number("tolerance", 0, 1e9, 1e-3),
    )


def _signatures(table: Table, version_dir: Path) -> tuple[tuple[SignatureOverride, ...], tuple[Pipeline, ...]]:
    plain: list[SignatureOverride] = []
    pipelines: list[Pipeline] = []
    for name in table:
        if not name or len(name) > 200 or not name.isprintable():
            raise table.error(repr(name)[:60], "a signature's name is 1..200 printable characters")
        kind = table.table(name).text("kind", "plain")
        if kind == "image":
            pipelines.append(_pipeline(name, table.table(name, _IMAGE_KEYS), version_dir))
        elif kind == "plain":
            plain.append(_plain(name, table.table(name, _PLAIN_KEYS)))
        else:
            raise table.table(name).wrong("kind", kind, "one of 'image', 'plain'")
    names = {pipeline.name for pipeline in pipelines}
    for pipeline in pipelines:
        if pipeline.base in names:
            raise table.table(pipeline.name).wrong(
                "base", pipeline.base, "the name of a signature that is not an image's"
            )
    return tuple(plain), tuple(pipelines)


def _plain(name: str, table: Table) -> SignatureOverride:
    method = table.text("method", "") if "method" in table else ""
    if method and method not in _METHODS:
        raise table.wrong("method", method, "one of " + ", ".join(repr(known) for known in _METHODS))
    return SignatureOverride(
        name=name,
        inputs=_tensors(table.table("inputs")),
        outputs=_tensors(table.table("outputs")),
        method=_METHODS.get(method),
    )


def _tensors(table: Table) -> tuple[TensorOverride, ...]:
    tensors = []
    for name in table:
        entry = table.table(name, ("tensor", "dtype", "shape", "batched"))
        tensors.append(
            TensorOverride(
                name=name,
                tensor=entry.text("tensor", ""),
                dtype=entry.choice("dtype", DType) if "dtype" in entry else None,
                shape=entry.integers("shape", -1, (1 << 31) - 1, ()) if "shape" in entry else None,
                batched=entry.flag("batched", default=True) if "batched" in entry else None,
            )
        )
    return tuple(tensors)


def _pipeline(name: str, table: Table, version_dir: Path) -> Pipeline:
    for key in ("preprocess", "postprocess"):
        if key not in table:
            raise table.error(key, f"missing, expected a table [{table.path(key)}]")
    return Pipeline(
        name=name,
        base=table.text("base", DEFAULT_SIGNATURE),
        input_name=table.text("input", "image"),
        image=_image_input(table.table("preprocess", _PREPROCESS_KEYS)),
        output=_label_output(table.table("postprocess", _POSTPROCESS_KEYS), version_dir),
    )


def _image_input(table: Table) -> ImageInput:
    height_px, width_px = _crop(table)
    defaults = ImageInput(tensor="", resize_px=1, height_px=1, width_px=1)
    longest = max(height_px, width_px)
    resize_px = table.integer("resize", 1, MAX_SIDE_PX, longest)
    if resize_px < longest:
        raise table.wrong("resize", resize_px, f"at least {longest}, the longer side of crop")
    scale = _channels(table, "scale", defaults.scale)
    if 0.0 in scale:
        raise table.wrong("scale", 0, "numbers other than 0 (values are divided by them)")
    return ImageInput(
        tensor=table.text("tensor"),
        resize_px=resize_px,
        height_px=height_px,
        width_px=width_px,
        mean=_channels(table, "mean", defaults.mean),
        scale=scale,
        layout=table.choice("layout", Layout, defaults.layout),
        max_pixels=table.integer("max_pixels", 1, MAX_PIXELS, defaults.max_pixels),
        interpolation=table.choice("interpolation", Interpolation, defaults.interpolation),
    )


def _crop(table: Table) -> tuple[int, int]:
    expected = f"a side or [height, width] in pixels, 1..{MAX_SIDE_PX}"
    value = table.value("crop", expected)
    height_px, width_px = value if isinstance(value, list) and len(value) == 2 else (value, value)
    if not (is_integer(height_px, 1, MAX_SIDE_PX) and is_integer(width_px, 1, MAX_SIDE_PX)):
        raise table.wrong("crop", value, expected)
    return height_px, width_px


def _channels(table: Table, key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    if key not in table:
        return default
    expected = "a number or three numbers (red, green, blue) in units of 0..255 pixel values"
    numbers = table.numbers(key, expected)
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise table.wrong(key, list(numbers), expected)
    return numbers[0], numbers[1], numbers[2]


def _label_output(table: Table, version_dir: Path) -> LabelOutput:
    labels = _labels(table, version_dir)
    top_k = table.integer("top_k", 1, len(labels), min(5, len(labels)))
    groups = tuple(_group(group, len(labels)) for group in table.tables("groups", ("name", "classes", "threshold")))
    names = [group.name for group in groups]
    otherwise = table.text("otherwise", "other") if groups else ""
    if "otherwise" in table and not groups:
        raise table.error("otherwise", f"needs at least one [[{table.path('groups')}]]")
    if len({*names, otherwise}) != len(names) + 1 and groups:
        raise table.error("groups", f"names must differ from each other and from otherwise = {otherwise!r}")
    return LabelOutput(tensor=table.text("tensor"), labels=labels, top_k=top_k, groups=groups, otherwise=otherwise)


def _labels(table: Table, version_dir: Path) -> tuple[str, ...]:
    if ("labels" in table) == ("labels_file" in table):
        raise table.error("labels", "give exactly one of labels and labels_file")
    if "labels" in table:
        labels = table.texts("labels")
        if not labels:
            raise table.wrong("labels", [], "one label a class, in the order of the class axis")
        return labels
    file = table.text("labels_file")
    path = _data_file(table, "labels_file", file, version_dir)
    text = _read_text(path, f"{_short(version_dir)}/{file}")
    # Only the last line may be without an end, and a blank line is a class without a name.
    lines = tuple(line.strip() for line in text.removesuffix("\n").split("\n")) if text else ()
    if not lines:
        raise table.wrong("labels_file", file, "a file with one label a line, in the order of the class axis")
    return lines


def _group(table: Table, class_count: int) -> Group:
    classes: list[int] = []
    expected = f"a class index in 0..{class_count - 1} or a range such as '0-{class_count - 1}'"
    for index, value in enumerate(table.items("classes", f"a list of {expected}")):
        low = high = value
        if isinstance(value, str) and (match := _RANGE.fullmatch(value)):
            low, high = int(match[1]), int(match[2])
        if not (is_integer(low, 0, class_count - 1) and is_integer(high, low, class_count - 1)):
            raise table.wrong(f"classes[{index}]", value, expected)
        classes.extend(range(low, high + 1))
    if not classes:
        raise table.error("classes", f"missing, expected a list of {expected}")
    if len(set(classes)) != len(classes):
        raise table.error("classes", "a class occurs twice")
    return Group(name=table.text("name"), classes=tuple(classes), threshold=table.number("threshold", 0, 1, 0.5))
