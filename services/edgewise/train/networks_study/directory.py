"""The directory of a comparison of networks.

scenario.toml, state.json     what is compared; what could not be done, and how the machine was
drawn/, dataset/, pictures/   drawn pictures, the dataset made of them, what the servers are asked
training/NAME/                `edgewise train run`
versions/NAME/                `edgewise train export`, and weighed-FORMAT.json
deployment/                   the study that asked the versions, with its own report
logs/                         what the commands wrote
report.html, summary.json, summary.csv, plots/      what came out
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.study import journal
from edgewise.study.study_directory import Taking
from edgewise.train.networks_study.scenario import NetworksScenario
from edgewise.trust.durable_files import write_durably

FORMAT: Final = "edgewise-networks/1"
STATE: Final = "state.json"
SCENARIO: Final = "scenario.toml"
OURS: Final = (
    SCENARIO,
    STATE,
    "drawn",
    "dataset",
    "pictures",
    "training",
    "versions",
    "deployment",
    "logs",
    "weighing",
    "plots",
    "report.html",
    "summary.json",
    "summary.csv",
    ".lock",
)


@dataclass(slots=True)
class State:
    """What state.json says.

    Attributes:
        place: where relative file names of the scenario begin.
        missing: what could not be done, and why; of the last session.
        busy: the machine's load average at the beginning of each step.
    """

    title: str
    scenario_sha256: str
    place: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    sessions: int = 1
    finished: bool = False


class Directory:
    """Where everything of a comparison is."""

    def __init__(self, root: Path, state: State) -> None:
        self.root = root
        self.state = state

    @property
    def dataset(self) -> Path:
        """Made of drawn pictures."""
        return self.root / "dataset"

    @property
    def pictures(self) -> Path:
        """What the servers are asked, with labels.csv."""
        return self.root / "pictures"

    @property
    def deployment(self) -> Path:
        """The study that asks the versions."""
        return self.root / "deployment"

    def training(self, network: str) -> Path:
        """Of a network."""
        return self.root / "training" / network

    def versions(self, network: str) -> Path:
        """All formats of a network."""
        return self.root / "versions" / network

    def weighed(self, network: str, form: str) -> Path:
        """What was measured of one version's server."""
        return self.versions(network) / f"weighed-{form}.json"

    def log(self, name: str) -> Path:
        """Of a step."""
        return self.root / "logs" / f"{name}.log"

    def keep(self) -> None:
        """Write the state down.

        Raises: FailedPreconditionError: the disk is full, or cannot be written.
        """
        said = {"format": FORMAT, **{name: getattr(self.state, name) for name in State.__slots__}}
        try:
            write_durably(self.root / STATE, (json.dumps(said, indent=1) + "\n").encode())
        except OSError as error:
            raise FailedPreconditionError(f"{self.root} cannot be written: {error.strerror or error}") from error


def is_networks_study(root: Path) -> bool:
    """Whether a directory holds one."""
    return _read(root) is not None


def opened(root: Path) -> Directory:
    """What is there, to be read.

    Raises: NotFoundError: there is none.
    """
    found = _read(root)
    if found is None:
        raise NotFoundError(f"{root} holds no comparison of networks; name what `edgewise study run networks` wrote")
    return Directory(root, found)


@contextmanager
def taken(root: Path, scenario: NetworksScenario, how: Taking, environment: Mapping[str, str]) -> Iterator[Directory]:
    """Make the directory this comparison's, or go on with what is there; for one process at a time.

    Raises:
        AlreadyExistsError: it holds a study, or other files.
        FailedPreconditionError: it holds another scenario's, cannot be written, or another process writes it.
        NotFoundError: there is nothing to go on with.
    """
    try:
        # Before it is made: what is refused leaves nothing.
        _check(root, scenario, how)
        root.mkdir(parents=True, exist_ok=True)
        number = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FailedPreconditionError(f"{root} cannot hold a study: {error.strerror or error}") from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, number)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FailedPreconditionError(
                f"another study writes {root}; wait for its end, or name another directory with --out"
            ) from None
        found = _read(root) if how.resume else None
        if found is None:
            _clear(root)
            found = State(
                scenario.title, journal.digest(scenario.text), str(scenario.place.resolve()), dict(environment)
            )
            (root / SCENARIO).write_text(scenario.text, encoding="utf-8")
        else:
            found.sessions += 1
            found.missing.clear()
            found.finished = False
        made = Directory(root, found)
        made.keep()
        yield made


def _check(root: Path, scenario: NetworksScenario, how: Taking) -> None:
    there = _read(root)
    if how.resume:
        if there is None:
            raise NotFoundError(f"there is no study in {root} to go on with; leave --resume out to begin one")
        if there.scenario_sha256 != journal.digest(scenario.text):
            raise FailedPreconditionError(
                f"{root} holds a study of another scenario ({there.title!r}), or the scenario was changed since; "
                f"it was begun with {root / SCENARIO}. Begin anew with --force, or name another directory with --out"
            )
        return
    if there is not None and not how.force:
        words = "a finished study" if there.finished else "a study that was not finished"
        raise AlreadyExistsError(
            f"{root} holds {words} ({there.title!r}); go on with --resume, or begin anew with --force"
        )
    others = sorted(one.name for one in root.iterdir() if one.name not in OURS) if root.exists() else []
    if others and there is None:
        raise AlreadyExistsError(
            f"{root} holds other files, such as {others[0]}; name a directory that is empty or not there yet"
        )


def _clear(root: Path) -> None:
    for name in OURS:
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif name != ".lock":
            path.unlink(missing_ok=True)


def _read(root: Path) -> State | None:
    try:
        said: dict[str, Any] = json.loads((root / STATE).read_bytes())
        if said.pop("format") != FORMAT:
            return None
        return State(**said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
