"""Makes versions of a model from a training: float32 for the cloud, int8 for the edge, with golden inputs and lineage."""

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InternalError, InvalidArgumentError
from edgewise.core.versions import is_model_name
from edgewise.model_server.building import photographs
from edgewise.model_server.building.quantization import measure_agreement, run_network
from edgewise.model_server.building.version_directory import Agreement, copy_file, write_version
from edgewise.model_server.config.model_config import FILE_NAME, Layout
from edgewise.model_server.images.transforms import VERDICT, label
from edgewise.protocols.dataset_manifest import TEST, TRAIN, Dataset, DatasetImage, read_dataset
from edgewise.train import ancestry, networks, version_config
from edgewise.train.held_out import HeldOut, add_held_out, evenly, held_out
from edgewise.train.pictures import View, unlike_served
from edgewise.train.run_directory import RunDirectory
from edgewise.train.scratch import scratch_near
from edgewise.trust.durable_files import write_durably

Tell = Callable[[str], None]

CLOUD: Final = "cloud"
EDGE: Final = "edge"
TENSORFLOW: Final = "tensorflow"
LINEAGE: Final = "lineage.json"
MAX_CALIBRATION: Final = 96
MAX_COMPARED: Final = 400
_SCRATCH_BYTES: Final = 10
"""That a parameter takes on the disk while it is converted: at the most the network lies there twice in float32 (EfficientNet-Lite0), and a little more."""
_SAME: Final = 1e-3
"""How far probabilities of Keras and of ONNX may differ."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        directories: of the versions, by tier.
        agreement: of int8 with float32 on the test split.
        difference: the greatest of a probability between Keras and ONNX in float32.
        accuracy: on the test split, by what answered: "keras", "float32", "int8".
        lineage: where it comes from, each value as text.
        release_command: what to type next.
    """

    directories: Mapping[str, Path]
    agreement: Agreement
    difference: float
    accuracy: Mapping[str, float]
    lineage: Mapping[str, str]
    release_command: str


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the networks say of pictures of the test split."""

    images: tuple[DatasetImage, ...]
    keras: NDArray[np.float32]
    float32: NDArray[np.float32]
    int8: NDArray[np.float32]


def export(
    run: Path,
    out: Path,
    *,
    model: str,
    version: int,
    agreement: float = 0.95,
    thresholds: Mapping[str, float] | None = None,
    dataset: Path | None = None,
    tensorflow: bool = False,
    force: bool = False,
    tell: Tell = print,
) -> Exported:
    """Write `out/cloud/model/version` in float32, `out/edge/model/version` in int8, and `out/lineage.json`.

    Args:
        run: the directory of a training that has finished.
        agreement: the least share of the test split on which both have to give the same verdict.
        thresholds: how probable a class has to be to be the verdict, where it is not 0.5.
        dataset: where the dataset is by now; None is where it was.
        tensorflow: also write `out/tensorflow/model/version`, which serves the SavedModel.
        force: replace versions that are there.

    Raises:
        NotFoundError: there is no training, or its dataset is gone.
        InvalidArgumentError: a bad name or version, or a threshold of no class.
        FailedPreconditionError: the training has not finished, the dataset is another, or the networks disagree too often.
        AlreadyExistsError: a version is there and is another.
        InternalError: ONNX says something else than Keras.
    """
    if not is_model_name(model):
        raise InvalidArgumentError(
            f"the model's name is {model!r}, expected up to 128 letters, digits, '_', '-' and '.', such as pets"
        )
    directory = RunDirectory(run)
    found = directory.finished()
    source = dataset or Path(found["dataset"]["path"])
    content = _dataset(source, found)
    plan = version_config.plan(found, content.classes, dict(thresholds or {}))
    digest = hashlib.sha256(directory.model.read_bytes()).hexdigest()
    wanted = {CLOUD, EDGE, *([TENSORFLOW] if tensorflow else [])}
    earlier = None if force else _check_earlier(out, model, version, digest, thresholds or {})
    if earlier and wanted <= earlier.directories.keys() and earlier.agreement.verdict_ratio >= agreement:
        for place in earlier.directories.values():
            tell(f"{place}: made of this training (there already)")
        return earlier
    tell("converting the network to ONNX")
    network = networks.build(plan.network, len(content.classes), plan.view.size_px, str(directory.model))
    with scratch_near(out, _SCRATCH_BYTES * network.model.count_params()):
        float32, int8 = _converted(network, source, content, plan.view)
    answers = _asked(network, source, content, plan.view, (float32, int8))
    measured = measure_agreement(answers.float32, answers.int8, plan.output)
    difference = float(np.abs(answers.keras - answers.float32).max())
    accuracy = _accuracy(answers, content)
    tell(f"int8 against float32: {measured}")
    tell(
        f"Keras against ONNX: probabilities differ by at most {difference:.1e}; accuracy on {len(answers.images)} test pictures: "
        + ", ".join(f"{name} {share:.1%}" for name, share in accuracy.items())
    )
    _check(measured, difference, agreement)
    golden = _golden(answers, plan, content)
    going = held_out(source, content.of_split(TEST))
    tell(str(going))
    if unlike := unlike_served(content, plan.view):
        tell(unlike)
    written = {CLOUD: float32, EDGE: int8}
    directories = {}
    for tier, network_bytes in written.items():
        config = version_config.config(
            plan, tier, digest, [(f"golden-{name}", expected) for _, name, expected in golden]
        )

        def fill(staged: Path, network_bytes: bytes = network_bytes) -> None:
            (staged / "model.onnx").write_bytes(network_bytes)
            _add_files(staged, source, golden, going, plan)

        directories[tier] = _write(out / tier, model, version, config, fill, force=force, tell=tell)
    if tensorflow:
        config = version_config.config(
            plan, TENSORFLOW, digest, [(f"golden-{name}", expected) for _, name, expected in golden]
        )

        def fill_saved(staged: Path) -> None:
            shutil.copytree(directory.saved_model, staged, dirs_exist_ok=True)
            _add_files(staged, source, golden, going, plan)

        directories[TENSORFLOW] = _write(out / TENSORFLOW, model, version, config, fill_saved, force=force, tell=tell)
    lineage = _lineage(found, accuracy, measured)
    facts = {
        "model": model,
        "version": version,
        "lineage": lineage,
        "agreement": asdict(measured),
        "keras_difference": difference,
        "accuracy": accuracy,
        "compared": len(answers.images),
        "environment": found["environment"],
        "network": digest,
        "thresholds": dict(thresholds or {}),
        "tiers": sorted(directories),
    }
    write_durably(out / LINEAGE, (json.dumps(facts, indent=1) + "\n").encode())
    return Exported(directories, measured, difference, accuracy, lineage, _command(model, version, out, lineage))


def _dataset(source: Path, found: Mapping[str, Any]) -> Dataset:
    content = read_dataset(source)
    if content.digest != found["dataset"]["digest"]:
        raise FailedPreconditionError(
            f"{source} is another dataset ({content.digest[:12]}) than the training's ({found['dataset']['digest'][:12]}); name the right one with --dataset"
        )
    return content


def _converted(network: networks.Network, source: Path, content: Dataset, view: View) -> tuple[bytes, bytes]:
    from edgewise.train.onnx_conversion import convert, quantized  # noqa: PLC0415  (imports TensorFlow)

    model = convert(network)
    calibration = _tensors(source, evenly(content.of_split(TRAIN), MAX_CALIBRATION), view)
    return model.SerializeToString(), quantized(model, calibration, network)


def _asked(
    network: networks.Network, source: Path, content: Dataset, view: View, models: tuple[bytes, bytes]
) -> _Answers:
    from edgewise.train.stage_model import Examples, predict  # noqa: PLC0415  (imports TensorFlow)

    images = evenly(content.of_split(TEST), MAX_COMPARED)
    inputs = _tensors(source, images, view)
    said = predict(network.model, Examples(inputs, lambda rows: np.ascontiguousarray(rows.transpose(0, 2, 3, 1))))
    return _Answers(images, said, run_network(models[0], inputs), run_network(models[1], inputs))


def _tensors(source: Path, images: tuple[DatasetImage, ...], view: View) -> NDArray[np.float32]:
    """float32[images, 3, px, px], as the server makes them."""
    spec = view.spec(Layout.NCHW)
    return np.stack([photographs.served_view(source / image.file, spec) for image in images])


def _accuracy(answers: _Answers, content: Dataset) -> dict[str, float]:
    actual = np.array([content.classes.index(image.label) for image in answers.images])
    of = {"keras": answers.keras, "float32": answers.float32, "int8": answers.int8}
    return {name: float((said.argmax(axis=1) == actual).mean()) for name, said in of.items()}


def _check(measured: Agreement, difference: float, bound: float) -> None:
    if not difference <= _SAME:
        raise InternalError(
            f"ONNX says something else than Keras: probabilities differ by {difference:.2g}, expected at most {_SAME:g}; nothing was written"
        )
    if measured.verdict_ratio < bound:
        raise FailedPreconditionError(
            f"int8 and float32 give the same verdict on {measured.verdict_ratio:.1%} of {measured.images} test pictures, expected at least "
            f"{bound:.1%}; nothing was written. Train on more pictures, or say with --agreement what is enough"
        )


def _golden(answers: _Answers, plan: version_config.Plan, content: Dataset) -> list[tuple[DatasetImage, str, str]]:
    """For each verdict the picture of the test split that both networks are surest of and right about.

    Returns: picture, name of its file, verdict.
    """
    verdicts = [label(said, plan.output)[VERDICT] for said in (answers.float32, answers.int8)]
    found: dict[str, tuple[float, DatasetImage]] = {}
    for row, image in enumerate(answers.images):
        column = content.classes.index(image.label)
        expected = plan.verdict_of(image.label)
        if any(verdict[row].decode() != expected for verdict in verdicts):
            continue
        sure = min(float(answers.float32[row, column]), float(answers.int8[row, column]))
        if expected not in found or sure > found[expected][0]:
            found[expected] = sure, image
    if not found:
        raise FailedPreconditionError(
            "no picture of the test split is called right by float32 and by int8; nothing was written: train longer, or on more pictures"
        )
    named: dict[str, tuple[DatasetImage, str, str]] = {}
    for expected, (_, image) in sorted(found.items()):
        stem, count = expected.replace(" ", "-"), 1
        # The classes "a b" and "a-b" have a file each.
        while (name := stem if count == 1 else f"{stem}-{count}") in named:
            count += 1
        named[name] = image, f"{name}{Path(image.file).suffix}", expected
    return list(named.values())


def _add_files(
    staged: Path,
    source: Path,
    golden: list[tuple[DatasetImage, str, str]],
    going: HeldOut,
    plan: version_config.Plan,
) -> None:
    (staged / "labels.txt").write_text("\n".join(plan.output.labels) + "\n", encoding="utf-8")
    for image, name, _ in golden:
        copy_file(source / image.file, staged / f"golden-{name}")
    add_held_out(staged, source, going, plan.verdict_of)


def _write(
    place: Path,
    model: str,
    version: int,
    config: dict[str, Any],
    fill: Callable[[Path], None],
    *,
    force: bool,
    tell: Tell,
) -> Path:
    written = write_version(place, model, version, config=config, fill=fill, force=force)
    target = place / model / str(version)
    tell(f"{target}: {config['description']}" + ("" if written else " (there already)"))
    return target


def _lineage(found: Mapping[str, Any], accuracy: Mapping[str, float], measured: Agreement) -> dict[str, str]:
    return {
        "dataset": found["dataset"]["digest"],
        "dataset-name": found["dataset"]["name"],
        "code": found["code"],
        "network": found["settings"]["network"],
        **ancestry.lineage(found),
        "spec": found["spec_digest"],
        "epochs": f"{len(found['epochs'])}",
        "best-epoch": f"{found['best_epoch']}",
        "test-accuracy": f"{found['test']['accuracy']:.4f}",
        "test-images": f"{found['test']['images']}",
        "int8-accuracy": f"{accuracy['int8']:.4f}",
        "int8-agreement": f"{measured.verdict_ratio:.4f}",
    }


def _command(model: str, version: int, out: Path, lineage: Mapping[str, str]) -> str:
    words = ["edgewise", "release", "create", model, str(version)]
    for tier in (CLOUD, EDGE):
        words += [f"--{tier}", str(out / tier / model / str(version))]
    for name, value in lineage.items():
        words += ["--lineage", f"{name}={value}"]
    return shlex.join(words) + " --trust DIR"


def _check_earlier(
    out: Path, model: str, version: int, digest: str, thresholds: Mapping[str, float]
) -> Exported | None:
    """Look what an earlier export wrote, before minutes go by in converting.

    Returns: what came of it, where it was of the same training and the same thresholds; None where nothing is known of one.

    Raises: AlreadyExistsError: it was another.
    """
    try:
        facts = json.loads((out / LINEAGE).read_bytes())
        made = Exported(
            {tier: out / tier / model / str(version) for tier in facts["tiers"]},
            Agreement(**facts["agreement"]),
            facts["keras_difference"],
            facts["accuracy"],
            facts["lineage"],
            _command(model, version, out, facts["lineage"]),
        )
        same = (facts["network"], facts["thresholds"]) == (digest, dict(thresholds))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = [place for place in made.directories.values() if place.exists()]
    if (facts["model"], facts["version"]) != (model, version) or not there:
        return None
    if not same:
        raise AlreadyExistsError(
            f"{there[0]} is there already, of another training or with other thresholds; replace it with --force, or choose another --version or --out"
        )
    return made if all(_is_whole(place, digest) for place in made.directories.values()) else None


def _is_whole(place: Path, digest: str) -> bool:
    try:
        text = (place / FILE_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return digest[:12] in text and any((place / name).is_file() for name in ("model.onnx", "saved_model.pb"))
