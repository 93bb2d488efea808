"""Disks of a given size, and what else root alone can mount."""

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


def small_disk(place: Path, size: str) -> AbstractContextManager[Path]:
    """A disk that holds no more than that, such as "3m", at a directory of this name."""
    return mounted(place, "-t", "tmpfs", "-o", f"size={size}", "none")


@contextmanager
def mounted(place: Path, *words: str) -> Iterator[Path]:
    """What these words of `mount` name, at a directory that is made if need be; skips the test where nobody may mount."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        # Lazily: a process that a failed test left may hold it.
        subprocess.run(["umount", "--lazy", str(place)], check=True)
