"""The directory of a training: what lies where in it, who may write to it, and what is said of the training in run.json."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.trust.durable_files import write_durably

FORMAT: Final = "edgewise-train-run/1"
RUNNING: Final = "running"
FINISHED: Final = "finished"
_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where everything of a training is."""

    root: Path

    @property
    def description(self) -> Path:
        """run.json: what was trained on what, how far it is, and what came out."""
        return self.root / "run.json"

    @property
    def spec(self) -> Path:
        """The specification as it was given."""
        return self.root / "spec.toml"

    @property
    def metrics(self) -> Path:
        """A line each epoch."""
        return self.root / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """What a training that was stopped goes on from."""
        return self.root / "checkpoints"

    @property
    def cache(self) -> Path:
        """What can be made again: decoded pictures. Gone when the training has finished."""
        return self.root / "cache"

    @property
    def plots(self) -> Path:
        """Pictures of the curves."""
        return self.root / "plots"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.root / "report.html"

    @property
    def model(self) -> Path:
        """The trained network, as Keras writes it."""
        return self.root / "model.keras"

    @property
    def saved_model(self) -> Path:
        """The trained network as a SavedModel."""
        return self.root / "saved_model"

    def write(self, found: dict[str, Any]) -> None:
        """Replace run.json."""
        write_durably(self.description, (json.dumps(found, indent=1) + "\n").encode())

    def read(self) -> dict[str, Any]:
        """What run.json says.

        Raises:
            NotFoundError: there is none.
            FailedPreconditionError: it is none.
        """
        if not self.description.is_file():
            raise NotFoundError(f"{self.root} holds no run.json; expected a directory that `edgewise train run` wrote")
        try:
            with self.description.open("rb") as file:
                found = json.loads(file.read(_MAX_BYTES))
        except (OSError, ValueError) as error:
            raise FailedPreconditionError(
                f"{self.description} cannot be read; train anew in another directory"
            ) from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise FailedPreconditionError(f"{self.description} is not of a training, expected the format {FORMAT!r}")
        return found

    def finished(self) -> dict[str, Any]:
        """What run.json says of a training that has come to its end.

        Raises: FailedPreconditionError: it has not.
        """
        found = self.read()
        if found.get("state") != FINISHED:
            raise FailedPreconditionError(
                f"the training in {self.root} has not finished; go on with: edgewise train run SPEC.toml --out {self.root} --resume"
            )
        return found


@contextmanager
def held(root: Path) -> Iterator[RunDirectory]:
    """A training's directory, for one process at a time.

    Raises: FailedPreconditionError: another process trains there, or it cannot be written to.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FailedPreconditionError(f"{root} cannot be written to: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FailedPreconditionError(
                f"another process trains in {root}; wait for it, or choose another --out"
            ) from error
        yield RunDirectory(root)
    finally:
        os.close(number)


def check_new(directory: RunDirectory) -> None:
    """Look whether a training may begin here.

    Raises: AlreadyExistsError: there is one already.
    """
    if directory.description.exists() or (directory.checkpoints / "last.npz").exists():
        state = ""
        with contextlib.suppress(FailedPreconditionError, NotFoundError):
            state = str(directory.read().get("state", ""))
        if state == FINISHED:
            raise AlreadyExistsError(
                f"{directory.root} holds a training that has finished, which stays as it is; look at it with `edgewise train show {directory.root}`, "
                "or choose another directory with --out"
            )
        what = f"a training that is {state}" if state else "a training"
        raise AlreadyExistsError(
            f"{directory.root} holds {what}; go on with --resume, or choose another directory with --out"
        )


def check_same(directory: RunDirectory, settings_digest: str, dataset_digest: str) -> dict[str, Any]:
    """Look whether a training may go on here.

    Returns: what run.json says.

    Raises:
        NotFoundError: there is none to go on with.
        FailedPreconditionError: it is of another specification or another dataset.
    """
    found = directory.read()
    if found.get("spec_digest") != settings_digest:
        raise FailedPreconditionError(
            f"the training in {directory.root} was begun with another specification (see its spec.toml); "
            "go on with that one, or train anew in another directory"
        )
    if found.get("dataset", {}).get("digest") != dataset_digest:
        raise FailedPreconditionError(
            f"the training in {directory.root} was begun on the dataset {str(found.get('dataset', {}).get('digest'))[:12]}, "
            f"this one is {dataset_digest[:12]}; train anew in another directory"
        )
    return found
