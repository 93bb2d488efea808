"""What run.json says of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgewise import __version__
from edgewise.protocols.dataset_manifest import SPLITS, Dataset
from edgewise.study import environment
from edgewise.train.evaluation import Evaluation, Mistake
from edgewise.train.pictures import View
from edgewise.train.run_directory import FINISHED, FORMAT, RUNNING
from edgewise.train.settings import TrainSettings
from edgewise.train.witnesses import sources_value

if TYPE_CHECKING:
    from edgewise.train.training import TrainResult

SHOWN_MISTAKES: Final = 24
_PACKAGES: Final = ("tensorflow", "keras", "numpy", "onnx", "onnxruntime", "tf2onnx")


def begun(
    settings: TrainSettings, dataset: Dataset, source: Path, shown: View, weights: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Of a training that begins or goes on.

    Args:
        weights: that it began from, where `ancestry` knows of any.
    """
    found = {
        "format": FORMAT,
        "name": settings.name,
        "state": RUNNING,
        "begun": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "code": code_version(),
        "spec_digest": settings.digest,
        "settings": asdict(settings),
        "dataset": {
            "name": dataset.name,
            "path": str(source.resolve()),
            "digest": dataset.digest,
            "classes": list(dataset.classes),
            "splits": {split: dataset.counts(split) for split in SPLITS},
            "mean": list(dataset.mean),
            "synthetic": dataset.synthetic,
            "test_sources": sources_value(dataset),
        },
        "view": asdict(shown),
        "environment": {
            "processor": environment.processor(),
            "cores": environment.cores(),
            "memory": environment.memory(),
            **{name: version for name in _PACKAGES if (version := environment.package_version(name))},
        },
    }
    return {**found, "begun_from": dict(weights)} if weights else found


def finished(found: dict[str, Any], result: "TrainResult", files: Sequence[str]) -> dict[str, Any]:
    """Of a training that has come to its end.

    Args:
        found: what was said when it began.
        files: of the test split, in the order in which it was evaluated.
    """
    return {
        **found,
        "state": FINISHED,
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "parameters": result.parameters,
        "epochs": [asdict(one) for one in result.epochs],
        "best_epoch": result.best_epoch,
        "parted": result.parted,
        "seconds": result.seconds,
        "seconds_an_epoch": result.seconds_an_epoch,
        "images_per_s": result.images_per_s,
        "peak_memory_bytes": result.peak_memory_bytes,
        "validation_accuracy": result.validation_accuracy,
        "test": result.evaluation.shown(),
        "mistakes": [
            {"file": files[one.row], "actual": one.actual, "called": one.called, "sure": one.sure}
            for one in result.evaluation.mistakes[:SHOWN_MISTAKES]
        ],
    }


def evaluation_of(found: Mapping[str, Any], files: Sequence[str]) -> Evaluation:
    """On the test split, as `finished` described it, which keeps the surest mistakes alone.

    Args:
        files: as there.
    """
    rows = {file: row for row, file in enumerate(files)}
    return Evaluation(
        classes=tuple(found["dataset"]["classes"]),
        confusion=tuple(tuple(row) for row in found["test"]["confusion"]),
        loss=found["test"]["loss"],
        mistakes=tuple(
            Mistake(rows[one["file"]], one["actual"], one["called"], one["sure"]) for one in found["mistakes"]
        ),
    )


def code_version() -> str:
    """Version and commit of this code, "+" behind the commit when files were changed since."""
    commit = environment.git_commit(Path(__file__).parents[1])
    return f"{__version__} {commit}".strip()
