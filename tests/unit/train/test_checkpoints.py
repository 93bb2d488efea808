"""A checkpoint comes back as it was; a damaged one is named."""

import errno
import os

import numpy as np
import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.train import checkpoints
from edgewise.train.checkpoints import LAST, Checkpoint, Checkpoints
from edgewise.train.curves import Epoch, Watch
from edgewise.train.settings import EarlyStopping

EPOCH = Epoch(1, 1, 1e-4, 1.0, 0.5, 2.0, 0.5, 1.0, 100.0, 1 << 20)


def checkpoint(best: int = 1, count: int = 12) -> Checkpoint:
    return Checkpoint(
        settings_digest="s",
        dataset_digest="d",
        stage=1,
        done=2,
        epochs=(EPOCH,),
        best_loss=0.25,
        best_epoch=best,
        waited=3,
        weights=[np.full((2,), at, np.float32) for at in range(count)],
        optimizer=[np.array(7, np.int64)],
    )


def test_checkpoint_is_read_back_in_order(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    assert kept.last() is None
    kept.save(checkpoint())
    found = Checkpoints(tmp_path / "checkpoints").last()
    assert (found.stage, found.done, found.epochs, found.best_epoch, found.waited) == (1, 2, (EPOCH,), 1, 3)
    # More than ten: their names sorted as text would be another order.
    assert [array[0] for array in found.weights] == list(range(12))
    assert found.optimizer[0] == 7
    watch = Watch(EarlyStopping())
    found.watch(watch)
    assert (watch.best_loss, watch.best_epoch, watch.waited) == (0.25, 1, 3)


def test_only_the_best_weights_that_are_named_are_kept(tmp_path):
    kept = Checkpoints(tmp_path)
    for epoch in (1, 2):
        kept.save_best(epoch, [np.array([float(epoch)])])
        kept.save(checkpoint(best=epoch))
    assert kept.best(2)[0] == [2.0]
    with pytest.raises(FailedPreconditionError, match="missing or damaged"):
        kept.best(1)


def test_damaged_checkpoint_is_named(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.save(checkpoint())
    path = tmp_path / LAST
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FailedPreconditionError, match=r"last\.npz cannot be read"):
        kept.last()


def test_what_a_killed_process_left_half_written_is_not_taken(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.save(checkpoint())
    (tmp_path / f".{LAST}.new").write_bytes(b"half")
    assert kept.last().best_epoch == 1


def test_what_found_no_room_does_not_keep_the_disk_full(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path)
    kept.save(checkpoint())

    def savez(file, **_arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints.np, "savez", savez)
    with pytest.raises(OSError, match="No space left"):
        kept.save(checkpoint(best=2))
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
    assert kept.last().best_epoch == 1
