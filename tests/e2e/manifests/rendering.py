"""What kustomize makes of a directory, as objects."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).resolve().parents[3] / "deploy" / "k8s"
COMMANDS = (("kubectl", "kustomize"), ("kustomize", "build"))

Object = dict[str, Any]


@functools.cache
def _command() -> tuple[str, ...]:
    for command in COMMANDS:
        if shutil.which(command[0]) is not None:
            return command
    pytest.fail("neither kubectl nor kustomize is installed; one of them renders the manifests")


def render(directory: Path) -> list[Object]:
    """The objects of a kustomization.

    Raises: AssertionError: kustomize refuses it, or warns of something in it.
    """
    done = subprocess.run([*_command(), str(directory)], capture_output=True, text=True, check=False, timeout=60)
    assert not done.returncode, f"{directory} cannot be rendered: {done.stderr.strip()}"
    assert not done.stderr.strip(), f"{directory}: {done.stderr.strip()}"
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def render_text(folder: Path, kustomization: str, files: dict[str, str] | None = None) -> list[Object]:
    """The objects of a kustomization that is given as text.

    Args:
        folder: an empty one under the manifests' own file system; relative resources start at it.
        kustomization: the YAML; `{k8s}` stands for where deploy/k8s is.
        files: others beside it, by name.
    """
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    place = Path(*[".."] * (len(folder.resolve().parts) - 1), *MANIFESTS.parts[1:])
    (folder / "kustomization.yaml").write_text(kustomization.replace("{k8s}", str(place)))
    return render(folder)


def overlays() -> list[str]:
    """Names of the overlays."""
    return sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    """Names of the components."""
    return sorted(path.parent.name for path in MANIFESTS.glob("components/*/kustomization.yaml"))


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def called(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of that kind and name; a generated ConfigMap also without its hash."""
    found = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]
    if not found and kind == "ConfigMap":
        found = [item for item in of_kind(objects, kind) if item["metadata"]["name"].rpartition("-")[0] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]
