"""Checkpoints: the weights and the optimizer as they were after an epoch, and all that the training knew.

Each is one file that is whole or absent, also when the process is killed or the power goes while it is written.
"""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import FailedPreconditionError
from edgewise.train.curves import Epoch, Watch, epoch_of
from edgewise.trust.durable_files import sync_directory

LAST: Final = "last.npz"
FORMAT: Final = 1
_BEST: Final = "best-*.npz"

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after an epoch.

    Attributes:
        settings_digest, dataset_digest: what it is a training of.
        stage: from 0.
        done: epochs of this stage.
        epochs: all so far.
        best_loss, best_epoch, waited: as the `Watch` has them.
        weights: all variables of the network, in its order.
        optimizer: all variables of the stage's optimizer.
    """

    settings_digest: str
    dataset_digest: str
    stage: int
    done: int
    epochs: tuple[Epoch, ...]
    best_loss: float
    best_epoch: int
    waited: int
    weights: Arrays
    optimizer: Arrays

    def watch(self, watch: Watch) -> None:
        """Let a watch go on from here."""
        watch.best_loss, watch.best_epoch, watch.waited = self.best_loss, self.best_epoch, self.waited


class Checkpoints:
    """The checkpoints of one training.

    Args:
        directory: made when it is not there.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def save_best(self, epoch: int, weights: Arrays) -> None:
        """Keep the weights of the best epoch so far; those of earlier ones stay until `save` no longer names them."""
        self._write(self._best(epoch), {f"w{at}": one for at, one in enumerate(weights)})

    def save(self, checkpoint: Checkpoint) -> None:
        """Put this epoch in place of the last one."""
        state = {
            "format": FORMAT,
            "settings": checkpoint.settings_digest,
            "dataset": checkpoint.dataset_digest,
            "stage": checkpoint.stage,
            "done": checkpoint.done,
            "epochs": [asdict(one) for one in checkpoint.epochs],
            "best_loss": checkpoint.best_loss,
            "best_epoch": checkpoint.best_epoch,
            "waited": checkpoint.waited,
        }
        arrays = {"state": np.frombuffer(json.dumps(state).encode(), np.uint8)}
        arrays |= {f"w{at}": one for at, one in enumerate(checkpoint.weights)}
        arrays |= {f"o{at}": one for at, one in enumerate(checkpoint.optimizer)}
        self._write(self._directory / LAST, arrays)
        for path in self._directory.glob(_BEST):
            if path != self._best(checkpoint.best_epoch):
                path.unlink(missing_ok=True)

    def last(self) -> Checkpoint | None:
        """The last checkpoint; None when there is none.

        Raises: FailedPreconditionError: it cannot be read.
        """
        path = self._directory / LAST
        if not path.is_file():
            return None
        found = _read(path)
        state = json.loads(found.pop("state").tobytes())
        return Checkpoint(
            settings_digest=state["settings"],
            dataset_digest=state["dataset"],
            stage=state["stage"],
            done=state["done"],
            epochs=tuple(epoch_of(one) for one in state["epochs"]),
            best_loss=state["best_loss"],
            best_epoch=state["best_epoch"],
            waited=state["waited"],
            weights=_numbered(found, "w"),
            optimizer=_numbered(found, "o"),
        )

    def best(self, epoch: int) -> Arrays:
        """The weights of the best epoch.

        Raises: FailedPreconditionError: they are not there, or cannot be read.
        """
        return _numbered(_read(self._best(epoch)), "w")

    def _best(self, epoch: int) -> Path:
        return self._directory / f"best-{epoch:05d}.npz"

    def _write(self, path: Path, arrays: dict[str, NDArray[Any]]) -> None:
        beside = path.with_name(f".{path.name}.new")
        try:
            with beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            # On a full disk what it could not hold would keep it full.
            beside.unlink(missing_ok=True)
            raise
        sync_directory(self._directory)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FailedPreconditionError(
            f"the checkpoint {path} cannot be read: it is missing or damaged; train anew in another directory"
        ) from error


def _numbered(found: dict[str, NDArray[Any]], letter: str) -> tuple[NDArray[Any], ...]:
    names = [name for name in found if name[0] == letter and name[1:].isdecimal()]
    return tuple(found[name] for name in sorted(names, key=lambda name: int(name[1:])))
