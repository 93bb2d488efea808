import os
import shutil
import subprocess

import pytest

from edgewise.agent.fetching.digests import digest_of_path
from edgewise.core.errors import FailedPreconditionError, NotFoundError

RECIPE = "cd '{}' && find -L . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"


def said_by(command):
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout.split()[0]


@pytest.fixture
def version(tmp_path):
    version = tmp_path / "pets"
    (version / "a").mkdir(parents=True)
    for name in ("model.onnx", "a/labels.txt", "a.txt", "a-b", "Z", "ü", "with space"):
        (version / name).write_text(f"bytes of {name}")
    return version


def test_a_file_is_its_bytes(version):
    path = version / "model.onnx"
    assert digest_of_path(path) == said_by(f"sha256sum '{path}'")


def test_a_directory_is_what_the_recipe_of_the_docs_prints(version):
    assert digest_of_path(version) == said_by(RECIPE.format(version))


def test_links_count_as_what_they_point_to(version, tmp_path):
    linked = tmp_path / "linked"
    shutil.copytree(version, linked)
    (linked / "Z").unlink()
    (linked / "Z").symlink_to(version / "Z")
    shutil.rmtree(linked / "a")
    (linked / "a").symlink_to(version / "a")
    assert digest_of_path(linked) == digest_of_path(version) == said_by(RECIPE.format(linked))


def test_nothing_else_has_one(version):
    with pytest.raises(NotFoundError):
        digest_of_path(version / "none")
    os.mkfifo(version / "pipe")
    with pytest.raises(FailedPreconditionError, match="neither a file nor a directory"):
        digest_of_path(version / "pipe")
    with pytest.raises(FailedPreconditionError, match="pipe is neither"):
        digest_of_path(version)


def test_loops_of_links_end(version):
    (version / "a" / "up").symlink_to(version)
    with pytest.raises(FailedPreconditionError, match="loop|deep"):
        digest_of_path(version)
