"""Reads the scenario of a comparison of networks: `[networks]`, and beside it the tables that any study has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import scenario_file
from edgewise.study.results import NetworkProfile
from edgewise.study.scenario import Scenario
from edgewise.study.scenario_table import Table
from edgewise.train.networks import NETWORKS
from edgewise.train.settings import FROM_SCRATCH, PUBLISHED

FORMATS: Final = ("tensorflow", "float32", "int8")
TIERS: Final[Mapping[str, str]] = {"tensorflow": "tensorflow", "float32": "cloud", "int8": "edge"}
"""Where `edgewise train export` puts the version of each format."""

KEY: Final = scenario_file.NETWORKS
_KEYS: Final = (
    "names",
    "formats",
    "size",
    "dataset",
    "classes",
    "images",
    "epochs",
    "batch_size",
    "learning_rate",
    "pretrained",
)


@dataclass(frozen=True, slots=True)
class NetworksScenario:
    """What is compared.

    Attributes:
        text: the file.
        path: of the file.
        place: where relative file names in it begin.
        values: its tables.
        names: of networks, in `edgewise.train.networks.NETWORKS`.
        formats: of `FORMATS`.
        size_px: side of the pictures that the networks see; 0 is each network's own.
        dataset: a directory that `edgewise data build` made; None draws pictures.
        classes, images: of what is drawn, and how many of each class.
        epochs, batch_size, learning_rate: of each training.
        pretrained: networks that begin with published weights, of which the head alone is trained.
    """

    title: str
    seed: int
    text: str
    path: Path
    place: Path
    values: Mapping[str, Any]
    names: tuple[str, ...]
    formats: tuple[str, ...]
    size_px: int
    dataset: Path | None
    classes: tuple[str, ...]
    images: int
    epochs: int
    batch_size: int
    learning_rate: float
    pretrained: tuple[str, ...]

    @property
    def versions(self) -> tuple[tuple[str, str], ...]:
        """Network and format of each version, in their order."""
        return tuple((name, form) for name in self.names for form in self.formats)

    def deployment(
        self, profiles: Mapping[str, NetworkProfile], models: Mapping[str, Mapping[str, Any]], pictures: Path | None
    ) -> Scenario:
        """The study that asks the versions.

        Args:
            models: tables `[model.NAME]`.
            pictures: a directory with labels.csv; None takes Edgewise's own.
        Raises: InvalidArgumentError: the scenario says something that cannot be measured.
        """
        values = {key: value for key, value in self.values.items() if key != KEY}
        values["model"] = models
        values["sweep"] = {**values["sweep"], "models": list(models)}
        if pictures is not None:
            values["inputs"] = {**values.get("inputs", {}), "images": str(pictures.resolve())}
        return scenario_file.scenario_of(self.path, self.text, values, profiles, directory=self.place)


def model_name(network: str, form: str) -> str:
    """What a version is called in the study that asks it."""
    return f"{network}-{form}"


def compares_networks(path: Path) -> bool:
    """Whether a scenario is one of these.

    Raises: InvalidArgumentError: it cannot be read.
    """
    return KEY in scenario_file.read(path)[1]


def load(path: Path, profiles: Mapping[str, NetworkProfile], *, directory: Path | None = None) -> NetworksScenario:
    """Read a scenario.

    Args:
        directory: where relative file names in it begin; the file's own directory.
    Raises: InvalidArgumentError: it cannot be read, or says what cannot be measured; the message names the file, the key, what was found and
        what is allowed.
    """
    text, values = scenario_file.read(path)
    top = Table(str(path), "", values)
    table = top.table(KEY, _KEYS)
    names = table.words("names", tuple(NETWORKS), "network")
    pretrained = (
        table.words("pretrained", names, "network", ()) if table.get("pretrained", required=False, expected="") else ()
    )
    for at, name in enumerate(pretrained):
        if not NETWORKS[name].published:
            raise table.error(f"pretrained[{at}]", f"there are no published weights of {name!r}")
    size = table.integer("size", 0, 1024, 0)
    for name in names:
        if 0 < size < NETWORKS[name].least_px:
            raise table.wrong(
                "size", size, f"at least {NETWORKS[name].least_px} for {name}, or 0 for each network's own"
            )
    place = path.parent if directory is None else directory
    dataset = place / table.text("dataset") if "dataset" in table else None
    for key in ("classes", "images"):
        if dataset is not None and key in table:
            raise table.error(key, "goes with drawn pictures, and there is a dataset")
    found = NetworksScenario(
        title=top.text("title", path.stem),
        seed=top.integer("seed", 0, 2**31 - 1, 1),
        text=text,
        path=path,
        place=place,
        values=values,
        names=names,
        formats=table.words("formats", FORMATS, "format", FORMATS),
        size_px=size,
        dataset=dataset,
        classes=_classes(table),
        images=table.integer("images", 8, 10_000, 32),
        epochs=table.integer("epochs", 1, 1000, 2),
        batch_size=table.integer("batch_size", 1, 4096, 16),
        learning_rate=table.number("learning_rate", 1e-7, 10, 1e-4),
        pretrained=pretrained,
    )
    sweep = top.table("sweep")
    for key, of in (("models", sweep), ("model", top)):
        if key in of:
            raise of.error(key, "the models are those of [networks]; leave it out")
    if "sweep" not in values:
        raise top.missing("sweep", "a table with targets, protocols and loads")
    # Whatever is wrong with the other tables shows before anything is trained. `pets` takes photographs, as these will.
    found.deployment(profiles, {model_name(*one): {"kind": "pets"} for one in found.versions}, None)
    return found


def _classes(table: Table) -> tuple[str, ...]:
    if "classes" not in table:
        return ("cat", "dog", "other")
    found = table.items("classes", "a list of two classes or more")
    if len(found) < 2 or not all(isinstance(one, str) for one in found):
        raise table.wrong("classes", found, "a list of two classes or more")
    return tuple(found)


def training_text(scenario: NetworksScenario, network: str, dataset: Path) -> str:
    """The specification of a training, for `edgewise train run`."""
    published = network in scenario.pretrained
    weights = PUBLISHED if published else FROM_SCRATCH
    lines = [
        f'name = "{network}"',
        f'dataset = "{dataset.resolve()}"',
        f'network = "{network}"',
        f'weights = "{weights}"',
        f"size = {scenario.size_px}",
        f"batch_size = {scenario.batch_size}",
        f"seed = {scenario.seed}",
        "[early_stopping]",
        "patience = 0",
        "[[stage]]",
        f"epochs = {scenario.epochs}",
        f"learning_rate = {scenario.learning_rate:g}",
        "unfreeze = 0" if published else 'unfreeze = "all"',
    ]
    return "\n".join(lines) + "\n"


def check_dataset(scenario: NetworksScenario) -> None:
    """Look whether the dataset is there.

    Raises: InvalidArgumentError: it is not.
    """
    if scenario.dataset is not None and not (scenario.dataset / "dataset.json").is_file():
        raise InvalidArgumentError(
            f"{scenario.path}: networks.dataset: {scenario.dataset} holds no dataset.json; expected what `edgewise data build` made"
        )
