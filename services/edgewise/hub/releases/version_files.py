"""Which files a model version is made of, found in a directory before they are released."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.core.file_names import MAX_FILES, checked_name

MODEL_FILES: Final = ("model.onnx", "saved_model.pb")
SETTINGS: Final = "model.toml"
_MAX_SETTINGS_BYTES: Final = 1 << 20


def version_files(directory: Path) -> dict[str, Path]:
    """The files of a version, by their names in it.

    Files with a dot in front are left out. A model.toml for all versions of the model, which lies one level up, is taken along where the
    version has none of its own: at a site a version stands alone.

    Raises:
        NotFoundError: there is no such directory.
        FailedPreconditionError: it holds no model, or a file that cannot be part of one.
    """
    if not directory.is_dir():
        raise NotFoundError(f"{directory} is no directory; expected a model version's, such as models/pets/2")
    files = dict(sorted(_below(directory)))
    above = directory.parent / SETTINGS
    if SETTINGS not in files and above.is_file() and directory.name.isdecimal():
        files[SETTINGS] = above
    if len(files) > MAX_FILES:
        raise FailedPreconditionError(f"{directory} holds more than {MAX_FILES} files; expected one model version")
    _look_for_model(directory, files)
    return files


def _below(directory: Path) -> Iterator[tuple[str, Path]]:
    top = directory.resolve()
    for root, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*folders, *names]:
            path = Path(root) / name
            if path.is_symlink():
                _check_link(path, top)
        for name in names:
            path = Path(root) / name
            if name.startswith("."):
                continue
            if not path.is_file():
                raise FailedPreconditionError(f"{path} is neither a file nor a directory, which no version can hold")
            yield checked_name(path.relative_to(directory).as_posix(), what=str(directory)), path


def _check_link(path: Path, top: Path) -> None:
    target = path.resolve()
    if path.is_dir():
        raise FailedPreconditionError(f"{path} is a link to a directory; put the directory itself there")
    if not target.is_relative_to(top):
        raise FailedPreconditionError(f"{path} is a link that leads out of {top}; put the file itself there")


def _look_for_model(directory: Path, files: dict[str, Path]) -> None:
    names = [*MODEL_FILES, _named_file(files)]
    found = [name for name in names if name in files]
    if not found:
        there = ", ".join(list(files)[:5]) or "no file"
        raise FailedPreconditionError(
            f"{directory} holds no model: expected {' or '.join(MODEL_FILES)} in it, found {there}"
        )
    for name in found:
        if not files[name].stat().st_size:
            raise FailedPreconditionError(f"{directory / name} is empty")


def _named_file(files: dict[str, Path]) -> str:
    """The file that model.toml names as the model; "" when it names none.

    Raises: FailedPreconditionError: it is no TOML: no site could load this version.
    """
    path = files.get(SETTINGS)
    if path is None:
        return ""
    if path.stat().st_size > _MAX_SETTINGS_BYTES:
        raise FailedPreconditionError(f"{path} is longer than {_MAX_SETTINGS_BYTES} bytes")
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("file", ""))
    except (ValueError, RecursionError) as error:
        raise FailedPreconditionError(f"{path} is not TOML: {error}") from None
