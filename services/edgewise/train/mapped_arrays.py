"""Arrays in files that are mapped: what is written to them does not have to fit into memory."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


def new_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[Any]]":
    """Make a `.npy` file of a shape and map it, with its whole length on the disk.

    Raises: OSError: there is no room for it, or it cannot be made; the error names the file, which is gone then.
    """
    try:
        made = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        # The file is sparse so far: a write through the mapping that found no room would end the process with SIGBUS, without a word.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    return made
