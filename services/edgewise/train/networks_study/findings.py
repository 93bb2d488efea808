"""What a comparison of networks found, collected from what its steps left on the disk."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgewise.study.results import Calibration, CellResult, StudyResult


@dataclass(frozen=True, slots=True)
class Training:
    """What training a network cost, and what came of it.

    Attributes:
        weights: "none" or "imagenet": what it began from.
        seconds_an_epoch, images_per_s: in the mean of the epochs behind the first, which also makes the graph; of that where it is alone.
        accuracy: on the test split, of `test_images` pictures.
        epochs: for each, `train.curves.Epoch` as a mapping.
        peak_memory_bytes: of the process that trained it.
    """

    network: str
    weights: str
    parameters: int
    trained_images: int
    seconds_an_epoch: float
    images_per_s: float
    peak_memory_bytes: int
    accuracy: float
    test_images: int
    epochs: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Version:
    """One network in one format, as a model server has it.

    Attributes:
        size_bytes: of the files that make up the model.
        memory_bytes: resident, of a server with this version alone, after some predictions; `peak_bytes` is the most it has had.
        ready_s: from the start of the server until it answered.
        accuracy: on the test split; nan where unknown.
        agreement: how often it gives the same verdict as float32; nan but for int8.
    """

    network: str
    form: str
    size_bytes: int
    memory_bytes: int
    peak_bytes: int
    ready_s: float
    accuracy: float = math.nan
    agreement: float = math.nan

    @property
    def model(self) -> str:
        """Its name in the study that asked it."""
        return f"{self.network}-{self.form}"


@dataclass(frozen=True, slots=True)
class NetworksResult:
    """All of a comparison.

    Attributes:
        asked: the study that asked the versions; None where it did not come to that.
        environment: how it was measured, for people.
        missing: what could not be done, with the reason.
        synthetic: the pictures were drawn by a program.
        reduced: what was made smaller than one would in earnest, for people.
    """

    title: str
    networks: tuple[str, ...]
    formats: tuple[str, ...]
    trainings: tuple[Training, ...]
    versions: tuple[Version, ...]
    asked: StudyResult | None
    synthetic: bool
    reduced: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def training(self, network: str) -> Training | None:
        """Of this network."""
        return next((one for one in self.trainings if one.network == network), None)

    def version(self, network: str, form: str) -> Version | None:
        """Of this network, in this format."""
        return next((one for one in self.versions if (one.network, one.form) == (network, form)), None)

    def cells(self, network: str, form: str) -> tuple[CellResult, ...]:
        """What was measured of a version, and answered at least 99 % of its requests."""
        found = self.asked.cells if self.asked else ()
        model = f"{network}-{form}"
        return tuple(one for one in found if one.cell.model == model and one.availability.value >= 0.99)

    def capacity(self, network: str, form: str, target: str) -> float:
        """Answers a second of a version with so many requests at once that it always has work; nan where unknown."""
        found: Sequence[Calibration] = self.asked.calibrations if self.asked else ()
        for one in found:
            if (one.model, one.target) == (f"{network}-{form}", target) and one.capacity_per_s:
                return max(one.capacity_per_s)
        return math.nan

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Target and network of each place that was asked, in their order."""
        found = self.asked.cells if self.asked else ()
        return tuple(dict.fromkeys((one.cell.target, one.cell.profile) for one in found))


def training_of(run: Path) -> Training | None:
    """What a training's directory says; None where it has not finished."""
    try:
        found = json.loads((run / "run.json").read_bytes())
    except (OSError, ValueError):
        return None
    if found.get("state") != "finished":
        return None
    # The first epoch also makes the graph, which takes longer than a small epoch does.
    counted = found["epochs"][1:] or found["epochs"]
    return Training(
        network=found["settings"]["network"],
        weights=found["settings"]["weights"],
        parameters=found["parameters"],
        trained_images=sum(found["dataset"]["splits"]["train"].values()),
        seconds_an_epoch=sum(one["seconds"] for one in counted) / len(counted),
        images_per_s=len(counted) / sum(1.0 / one["images_per_s"] for one in counted),
        peak_memory_bytes=found["peak_memory_bytes"],
        accuracy=found["test"]["accuracy"],
        test_images=found["test"]["images"],
        epochs=found["epochs"],
    )


def version_of(weighed: Path, lineage: Path) -> Version | None:
    """What was weighed of a version, and what its export measured; None where it was not weighed."""
    try:
        found = json.loads(weighed.read_bytes())
        told = json.loads(lineage.read_bytes())
    except (OSError, ValueError):
        return None
    name = {"tensorflow": "keras"}.get(found["form"], found["form"])
    agreement = told["agreement"]["verdict_ratio"] if found["form"] == "int8" else math.nan
    return Version(**found, accuracy=told["accuracy"].get(name, math.nan), agreement=agreement)


def weighed_text(version: Version) -> bytes:
    """As `version_of` reads it."""
    found = asdict(version)
    return json.dumps({name: value for name, value in found.items() if name not in ("accuracy", "agreement")}).encode()
