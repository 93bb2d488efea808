"""What makes a version of `tiny` that is on disk unfit to serve."""

from pathlib import Path

import numpy as np

from edgewise.model_server.building import tiny


def truncate(directory: Path) -> None:
    """Leave the beginning of the model's file."""
    path = directory / "model.onnx"
    path.write_bytes(path.read_bytes()[:100])


def expect_another_answer(directory: Path) -> None:
    """Name a golden answer that the model does not give."""
    np.save(directory / "golden.npy", np.ones((1, tiny.INPUT_SIZE), np.float32))
    golden = '\n[[golden]]\nfile = "golden.npy"\noutput = "y"\nexpect = [0.25, 0.75]\n'
    (directory / "model.toml").write_text((directory / "model.toml").read_text() + golden)
