"""Keras and TensorFlow, imported when something is trained or exported: it takes seconds.

The one module of this room that imports them.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from edgewise.core.errors import FailedPreconditionError


@lru_cache(maxsize=1)
def keras() -> Any:
    """The package keras on TensorFlow, told to be quiet.

    Raises: FailedPreconditionError: it is not installed, or runs on something else already.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    tensorflow()
    try:
        import keras as found  # noqa: PLC0415  (slow, large and optional)
    except ImportError as error:
        raise _missing("Keras") from error
    if found.backend.backend() != "tensorflow":
        raise FailedPreconditionError(
            f"Keras runs on {found.backend.backend()} in this process, expected TensorFlow: start it with KERAS_BACKEND=tensorflow"
        )
    return found


@lru_cache(maxsize=1)
def tensorflow() -> Any:
    """The package tensorflow, told to be quiet.

    Raises: FailedPreconditionError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _quiet():
            import tensorflow as tf  # noqa: PLC0415  (as above)

            tf.config.list_physical_devices()
    except ImportError as error:
        raise _missing("TensorFlow") from error
    tf.get_logger().setLevel("ERROR")
    return tf


def tf2onnx() -> Any:
    """The package tf2onnx.

    Raises: FailedPreconditionError: it is not installed.
    """
    try:
        found = importlib.import_module("tf2onnx")
        importlib.import_module("tf2onnx.convert")
    except ImportError as error:
        raise _missing("tf2onnx") from error
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow's C++ says while it starts, whatever its log level, off the terminal: half of it has the word error in it."""
    sys.stderr.flush()
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _missing(what: str) -> FailedPreconditionError:
    return FailedPreconditionError(f"training needs {what}, which is not installed: pip install 'edgewise[train]'")
