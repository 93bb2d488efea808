"""Manifests from an overlay, as `kubectl kustomize` or `kustomize build` renders them, from a file, or from standard input."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.manifests import MAX_BYTES
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError

RENDER_S: Final = 60.0
_FILES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_OVERLAYS: Final = Path("deploy") / "k8s" / "overlays"


def read_file(name: str) -> tuple[str, str]:
    """Manifests from a file, or from standard input for "-".

    Returns: the text and what it is called in messages.
    Raises:
        InvalidArgumentError: it cannot be read, is no text, or is too much.
    """
    source = "standard input" if name == "-" else name
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"--file {name} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise InvalidArgumentError(f"{source} is longer than {MAX_BYTES} bytes; expected rendered manifests")
    try:
        return data.decode(), source
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"{source} is not text in UTF-8; expected rendered manifests") from None


def render(overlay: str) -> tuple[str, str]:
    """Manifests of an overlay.

    Args:
        overlay: a directory with a kustomization.yaml, or the name of one under deploy/k8s/overlays.
    Returns: the text and what it is called in messages.
    Raises:
        InvalidArgumentError: there is no such overlay, or it does not build.
        FailedPreconditionError: neither kubectl nor kustomize is there.
    """
    directory = find_overlay(overlay, (Path.cwd(), Path(__file__).resolve().parents[4]))
    command = _command()
    try:
        done = subprocess.run(  # noqa: S603 - a program found on PATH, given one directory
            [*command, str(directory)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RENDER_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidArgumentError(
            f"{' '.join(command)} did not render {directory} within {RENDER_S:g} s; does it fetch something from afar?"
        ) from None
    except OSError as error:
        raise FailedPreconditionError(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("error: ").removeprefix("Error: ")
        raise InvalidArgumentError(f"the overlay {directory} does not build: {one_line(said) or 'no reason given'}")
    return done.stdout.decode(errors="replace"), f"overlay {overlay}"


def find_overlay(overlay: str, roots: Sequence[Path]) -> Path:
    """The directory of an overlay.

    Args:
        overlay: a directory, or a name.
        roots: under which deploy/k8s/overlays is looked for, in this order.
    Raises:
        InvalidArgumentError: there is none.
    """
    plain = "/" not in overlay and overlay not in ("", ".", "..")
    places = [Path(overlay), *(root / _OVERLAYS / overlay for root in roots if plain)]
    for place in places:
        if any((place / file).is_file() for file in _FILES):
            return place
    names = sorted(
        {
            found.name
            for root in roots
            if (root / _OVERLAYS).is_dir()
            for found in (root / _OVERLAYS).iterdir()
            if any((found / file).is_file() for file in _FILES)
        }
    )
    if places[0].is_dir():
        raise InvalidArgumentError(f"the directory {overlay} has no kustomization.yaml")
    raise InvalidArgumentError(
        f"there is no overlay {overlay!r}; expected a directory with a kustomization.yaml"
        + (f" or one of: {', '.join(names)}" if names else "")
    )


def _command() -> list[str]:
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    if found := shutil.which("kustomize"):
        return [found, "build"]
    raise FailedPreconditionError(
        "neither kubectl nor kustomize is on PATH to render an overlay; install kubectl, or render it elsewhere and give the "
        "result with --file rendered.yaml (kubectl kustomize DIR > rendered.yaml)"
    )
