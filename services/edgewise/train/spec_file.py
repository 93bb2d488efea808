"""Reads a training's specification, a TOML file; docs/train.md describes its keys.

Each error says where in the file, what was found and what would be right.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from edgewise.core.toml_table import is_number
from edgewise.protocols.toml_files import read_toml
from edgewise.study.scenario_table import Table
from edgewise.train.networks import NETWORKS
from edgewise.train.settings import (
    ALL_GROUPS,
    FROM_SCRATCH,
    PUBLISHED,
    ClassWeights,
    EarlyStopping,
    Optimizer,
    Schedule,
    Stage,
    TrainSettings,
)

MAX_STAGES: Final = 32
MAX_EPOCHS: Final = 10_000
_TOP: Final = (
    "name",
    "dataset",
    "network",
    "weights",
    "size",
    "batch_size",
    "seed",
    "optimizer",
    "dropout",
    "class_weights",
    "early_stopping",
    "stage",
)
_STAGE: Final = ("name", "epochs", "learning_rate", "schedule", "decay", "every", "warmup", "unfreeze")
_STOPPING: Final = ("patience", "min_delta")
_DECAY: Final = {Schedule.CONSTANT: 1.0, Schedule.STEP: 0.1, Schedule.EXPONENTIAL: 0.9, Schedule.COSINE: 0.0}


@dataclass(frozen=True, slots=True)
class Spec:
    """A specification file.

    Attributes:
        dataset: the dataset's directory.
        text: as it was read.
    """

    settings: TrainSettings
    dataset: Path
    text: str


def load(path: Path) -> Spec:
    """Read a specification; paths in it are relative to the file's directory.

    Raises: InvalidArgumentError: it cannot be read, or says what cannot be done.
    """
    text, values = read_toml(path, "the specification")
    top = Table(path.name, "", values, _TOP, {"[[stage]]": _STAGE, "[early_stopping]": _STOPPING})
    return Spec(_settings(top, path), _path(path, top.text("dataset")), text)


def _settings(top: Table, path: Path) -> TrainSettings:
    network = top.choice("network", tuple(NETWORKS))
    stopping = top.table("early_stopping", _STOPPING)
    weights = _weights(top, network, path)
    # Drawn layers that are left as they are would be all that a head has to learn from.
    unfreeze = ALL_GROUPS if weights == FROM_SCRATCH else 0
    stages = tuple(_stage(one, network, unfreeze) for one in _stage_tables(top, path))
    if not 1 <= len(stages) <= MAX_STAGES:
        raise top.error("stage", f"found {len(stages)} stages, expected 1 to {MAX_STAGES} tables [[stage]]")
    return TrainSettings(
        network=network,
        weights=weights,
        stages=stages,
        name=top.name_of("name") if "name" in top else path.stem,
        batch_size=top.integer("batch_size", 1, 4096, 16),
        seed=top.integer("seed", 0, 2**31 - 1, 1),
        size=_size(top, network),
        optimizer=Optimizer(top.choice("optimizer", _words(Optimizer), Optimizer.ADAM)),
        dropout=top.number("dropout", 0.0, 0.9, 0.2),
        class_weights=_class_weights(top),
        early_stopping=EarlyStopping(
            patience=stopping.integer("patience", 0, MAX_EPOCHS, 5),
            min_delta=stopping.number("min_delta", 0.0, 100.0, 0.0),
        ),
    )


class _StageTable(Table):
    """Its messages count stages from 1, as a training's log does."""

    __slots__ = ()

    def path(self, name: str) -> str:
        """The stage, and the key in it."""
        return f"{self._key}, {name}"


def _stage_tables(top: Table, path: Path) -> list[_StageTable]:
    found = []
    for number, value in enumerate(top.items("stage", top.tables_words("stage")), 1):
        if not isinstance(value, dict):
            raise top.wrong("stage", value, top.item_words("stage"))
        found.append(_StageTable(path.name, f"stage {number}", value, _STAGE))
    return found


def _stage(table: Table, network: str, unfreeze: int) -> Stage:
    schedule = Schedule(table.choice("schedule", _words(Schedule), Schedule.CONSTANT))
    epochs = table.integer("epochs", 1, MAX_EPOCHS)
    warmup = table.number("warmup", 0.0, float(epochs), 0.0)
    return Stage(
        epochs=epochs,
        learning_rate=table.number("learning_rate", 1e-9, 10.0, 1e-4),
        schedule=schedule,
        decay=table.number("decay", 0.0, 1.0, _DECAY[schedule]),
        every=table.integer("every", 1, MAX_EPOCHS, 10),
        warmup=warmup,
        unfreeze=_unfreeze(table, network, unfreeze),
        name=table.text("name", ""),
    )


def _unfreeze(table: Table, network: str, default: int) -> int:
    most = NETWORKS[network].groups
    expected = f'a whole number in 0..{most} (groups of layers of {network} from the top) or "all"'
    value = table.get("unfreeze", required=False, expected=expected)
    if value is None:
        return default
    if value == "all":
        return ALL_GROUPS
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise table.wrong("unfreeze", value, expected)
    return value


def _weights(top: Table, network: str, path: Path) -> str:
    word = top.text("weights", FROM_SCRATCH)
    if word == FROM_SCRATCH:
        return word
    if word == PUBLISHED:
        if not NETWORKS[network].published:
            known = ", ".join(name for name, one in NETWORKS.items() if one.published)
            raise top.wrong(
                "weights", word, f"'none' or a file: published weights are installed along for {known} only"
            )
        return word
    return str(_path(path, word))


def _size(top: Table, network: str) -> int:
    least = NETWORKS[network].least_px
    size = top.integer("size", 0, 1024, 0)
    if size and size < least:
        raise top.wrong("size", size, f"at least {least} pixels for {network}, or 0 for its own size")
    return size


def _class_weights(top: Table) -> ClassWeights | dict[str, float]:
    if not top.holds_table("class_weights"):
        return ClassWeights(top.choice("class_weights", _words(ClassWeights), ClassWeights.NONE))
    table = top.table("class_weights")
    found: dict[str, float] = {}
    for name in table:
        value = table.get(name, required=True, expected="a number")
        if not is_number(value) or not 0.0 < value <= 1000.0:
            raise table.wrong(name, value, "a number over 0 and up to 1000")
        found[name] = float(value)
    return found


def _words(kind: type[StrEnum]) -> tuple[str, ...]:
    return tuple(str(one) for one in kind)


def _path(spec: Path, word: str) -> Path:
    path = Path(word).expanduser()
    return path if path.is_absolute() else (spec.parent / path).resolve()
