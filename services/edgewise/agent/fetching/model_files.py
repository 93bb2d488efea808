"""Whether what was fetched is a model version at all."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from edgewise.agent.fetching.tree import Written
from edgewise.core.errors import FailedPreconditionError

MODEL_FILES = ("model.onnx", "saved_model.pb")
_MAX_SHOWN = 5
_MAX_SETTINGS_BYTES = 1 << 20
# The first field of an ONNX file is its format's version, a small number (onnx.proto, ModelProto.ir_version).
_ONNX_FIRST_BYTE = 0x08
_MAX_IR_VERSION = 0x1F


def model_file_name(path: Path, name: str, shown: str) -> str:
    """What a file that was fetched alone is called in its version.

    Args:
        path: where it lies.
        name: what its source calls it.
        shown: what to call it in a message.

    Raises:
        FailedPreconditionError: it is no model.
        OSError: it cannot be read.
    """
    if name in MODEL_FILES:
        return name
    with path.open("rb") as file:
        head = file.read(512)
    if name.endswith(".onnx") or (
        len(head) > 1 and head[0] == _ONNX_FIRST_BYTE and 0 < head[1] <= _MAX_IR_VERSION and "." not in name
    ):
        return "model.onnx"
    page = " (it looks like a web page)" if looks_like_page(head) else ""
    raise FailedPreconditionError(
        f"{shown} is neither an archive nor a model{page}; expected .tar, .tar.gz, .zip, a file that ends in .onnx, "
        "or a directory with a model"
    )


def looks_like_page(head: bytes) -> bool:
    """Whether a server answered with a page for people: a login, an error."""
    return head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html", b"<?xml"))


def version_root(files: Mapping[str, Written]) -> tuple[str, Mapping[str, Written]]:
    """Where in an archive the version is: at its top, or in the one directory that is packed.

    Returns: that directory, "" for the top, and the files with names relative to it.
    """
    if any(name in files for name in MODEL_FILES):
        return "", files
    # What macOS and others put beside it is no second directory.
    tops = {name.partition("/")[0] for name in files if not name.startswith((".", "__MACOSX/"))}
    if len(tops) != 1:
        return "", files
    top = next(iter(tops))
    inner = {name[len(top) + 1 :]: file for name, file in files.items() if name.startswith(top + "/")}
    return (top, inner) if any(name in inner for name in MODEL_FILES) else ("", files)


def look_for_model(files: Mapping[str, Written], top: Path, shown: str) -> None:
    """Refuse what no model server could load.

    Args:
        top: where the files lie.
        shown: what to call them in a message.

    Raises:
        FailedPreconditionError: there is no model, or an empty one.
        OSError: they cannot be read.
    """
    found = [name for name in (*MODEL_FILES, _named_file(files, top)) if name in files]
    if not found:
        deeper = sorted(name for name in files if name.endswith(tuple("/" + model for model in MODEL_FILES)))
        there = ", ".join(sorted(files)[:_MAX_SHOWN]) + (", …" if len(files) > _MAX_SHOWN else "")
        hint = f"; {deeper[0]} lies deeper: fetch or pack that directory" if deeper else ""
        raise FailedPreconditionError(
            f"{shown} holds no model: expected {' or '.join(MODEL_FILES)} at its top, found {there or 'no file'}{hint}"
        )
    for name in found:
        if not files[name].size_bytes:
            raise FailedPreconditionError(f"{shown}: {name} is empty; was it cut when it was packed?")


def _named_file(files: Mapping[str, Written], top: Path) -> str:
    """The file that the version's own model.toml says is its model; "" when it says nothing that can be read."""
    if "model.toml" not in files or files["model.toml"].size_bytes > _MAX_SETTINGS_BYTES:
        return ""
    try:
        settings = tomllib.loads((top / "model.toml").read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        # The model server says what is wrong with it, in its own words.
        return ""
    return str(settings.get("file", ""))
