"""The directory: what it holds already, who else works on it, what the disk refuses."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgewise.agent.fetching import place as place_module
from edgewise.core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from edgewise.model_server.versions import model_files


@pytest.fixture
def archive(tmp_path, version):
    path = tmp_path / "pets-1.tar.gz"
    path.write_bytes(version.archive)
    return path


@pytest.fixture
def source(tmp_path, version):
    """The version as a directory."""
    directory = tmp_path / "source"
    for name, content in version.files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def test_what_is_there_needs_no_source(archive, version, fetches):
    first = fetches(archive, version.sha256)
    assert (first.already, first.files) == (False, 3)
    archive.unlink()
    again = fetches(archive, version.sha256)
    assert (again.already, again.files, again.size_bytes, again.digest) == (True, 3, first.size_bytes, version.sha256)


def test_what_is_there_without_a_checksum_is_known_by_its_uri(archive, fetches, tmp_path):
    fetches(archive)
    archive.unlink()
    assert fetches(archive).already
    with pytest.raises(FailedPreconditionError, match="holds another version"):
        fetches(tmp_path / "other.tar.gz")


def test_another_version_is_never_put_in_its_place(archive, version, fetches, tools):
    fetches(archive, version.sha256)
    with pytest.raises(FailedPreconditionError) as caught:
        fetches(archive, "00" * 32)
    assert f"holds another version (SHA-256 {version.sha256}, from {archive})" in caught.value.message
    assert "a new one has a new number" in caught.value.message
    assert tools.files_in(fetches.directory) == version.files


def test_what_was_changed_since_is_noticed(archive, version, fetches):
    fetches(archive, version.sha256)
    model = fetches.directory / "model.onnx"
    changed = bytearray(model.read_bytes())
    changed[7] ^= 1
    model.write_bytes(bytes(changed))
    with pytest.raises(FailedPreconditionError, match="model.onnx was changed; remove the directory"):
        fetches(archive, version.sha256)
    model.unlink()
    with pytest.raises(FailedPreconditionError, match="model.onnx is missing"):
        fetches(archive, version.sha256)


def test_a_copy_of_the_volume_is_known(archive, version, fetches):
    fetches(archive, version.sha256)
    models = fetches.directory.parent
    shutil.copytree(models, models.with_name("copy"), copy_function=shutil.copyfile)
    assert fetches("/nowhere", version.sha256, to=models.with_name("copy") / "1").already


def test_a_version_that_someone_else_put_there_is_known_by_its_bytes(source, fetches, tools):
    from edgewise.agent.fetching.digests import digest_of_path

    shutil.copytree(source, fetches.directory)
    assert fetches("/nowhere", digest_of_path(source)).already
    alone = fetches.directory.with_name("2")
    alone.mkdir()
    (alone / "model.onnx").write_bytes(tools.onnx)
    assert fetches("/nowhere", tools.sha256(tools.onnx), to=alone).already
    assert not list(fetches.directory.parent.glob(".*"))


def test_files_of_which_nothing_is_known_stay(archive, version, fetches):
    fetches.directory.mkdir(parents=True)
    (fetches.directory / "notes.txt").write_text("mine")
    with pytest.raises(FailedPreconditionError, match="holds files of which nothing is known here"):
        fetches(archive, version.sha256)
    assert (fetches.directory / "notes.txt").read_text() == "mine"


def test_an_empty_directory_is_filled(archive, version, fetches, tools):
    fetches.directory.mkdir(parents=True)
    fetches(archive, version.sha256)
    assert tools.files_in(fetches.directory) == version.files


def test_what_can_be_no_version(archive, version, fetches, tmp_path):
    fetches.directory.parent.mkdir(parents=True)
    fetches.directory.write_text("a file")
    with pytest.raises(FailedPreconditionError, match="is a file; expected the directory"):
        fetches(archive, version.sha256)
    fetches.directory.unlink()
    fetches.directory.symlink_to(tmp_path)
    with pytest.raises(FailedPreconditionError, match="is a link"):
        fetches(archive, version.sha256)


def test_a_mount_point_cannot_appear_whole(archive, version, fetches):
    with pytest.raises(FailedPreconditionError) as caught:
        fetches(archive, version.sha256, to=Path("/proc"))
    assert "is a mount point" in caught.value.message


def test_a_directory_is_copied_as_it_is(source, version, fetches, tools):
    from edgewise.agent.fetching.digests import digest_of_path

    (source / "link").symlink_to("model.onnx")
    fetched = fetches(source, digest_of_path(source))
    assert tools.files_in(fetches.directory) == {**version.files, "link": version.files["model.onnx"]}
    assert not (fetches.directory / "link").is_symlink()
    assert fetched.digest == digest_of_path(fetches.directory)


def test_a_directory_is_not_copied_into_itself(source, fetches):
    with pytest.raises(FailedPreconditionError, match="copied into itself"):
        fetches(source, to=source / "models" / "1")


def test_a_model_may_be_called_as_its_settings_say(source, version, fetches):
    (source / "model.onnx").rename(source / "graph.bin")
    with pytest.raises(FailedPreconditionError, match="holds no model"):
        fetches(source)
    (source / "model.toml").write_text('file = "graph.bin"')
    assert fetches(source).files == len(version.files)


def test_no_source(fetches, tmp_path):
    with pytest.raises(NotFoundError, match="is the volume mounted"):
        fetches(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FailedPreconditionError, match="holds no file"):
        fetches(tmp_path / "empty")
    fetches.nothing_is_left()


def test_the_model_server_sees_the_version_and_nothing_else(archive, version, fetches):
    fetches(archive, version.sha256)
    models, unfit = model_files.find_models(fetches.directory.parents[1])
    assert (list(models), unfit) == (["pets"], ())
    before = model_files.find_versions(models["pets"])
    assert list(before) == [1]
    fetches(archive, version.sha256, to=fetches.directory.with_name("2"))
    after = model_files.find_versions(models["pets"])
    assert sorted(after) == [1, 2]
    assert after[1].fingerprint == before[1].fingerprint


def test_leftovers_of_a_killed_run_are_removed(archive, version, fetches, tools):
    staging = fetches.directory.parent / ".1.fetch" / "staging" / "version"
    staging.mkdir(parents=True)
    (staging / "model.onnx").write_bytes(b"half")
    fetches(archive, version.sha256)
    assert not staging.parent.exists()
    assert tools.files_in(fetches.directory) == version.files


def test_two_at_once_do_no_harm(web, step, version, fetches, tools):
    web.content = version.archive
    web.steps = [step(cut_after_bytes=100_000)]
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fetches(f"{web.url}/pets", version.sha256))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(result.already for result in results) == [False, True, True, True]
    assert tools.files_in(fetches.directory) == version.files
    # One was cut and resumed; the others asked for nothing.
    assert len(web.asked) == 2


def test_waiting_for_another_is_bounded(archive, version, fetches):
    place = place_module.Place(fetches.directory)
    with place.locked(lambda _: None, lambda: None):
        with pytest.raises(DeadlineExceededError):
            fetches(archive, version.sha256, timeout_s=0.1)
        # What the other has staged is not this one's to remove.
        assert place.staging.is_dir()
    assert any("another fetch works on" in line for line in fetches.said)


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.ENOSPC, ResourceExhaustedError, "there is no room left on the disk"),
        (errno.EDQUOT, ResourceExhaustedError, "quota"),
        (errno.EROFS, PermissionDeniedError, "read-only"),
        (errno.EACCES, PermissionDeniedError, f"as user {os.geteuid()}"),
    ],
)
def test_what_the_disk_refuses_in_the_middle(archive, version, fetches, monkeypatch, number, error, message):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(error) as caught:
        fetches(archive, version.sha256)
    monkeypatch.undo()
    assert message in caught.value.message
    fetches.nothing_is_left()


def test_no_room_for_what_is_unpacked(archive, version, fetches, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=4096))
    with pytest.raises(ResourceExhaustedError, match="0 bytes free, and .* are needed"):
        fetches(archive, version.sha256)
    monkeypatch.undo()
    fetches.nothing_is_left()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_here(archive, version, fetches):
    fetches.directory.parent.mkdir(parents=True)
    fetches.directory.parent.chmod(0o555)
    with pytest.raises(PermissionDeniedError, match="fsGroup"):
        fetches(archive, version.sha256)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_no_permission_as_another_user(archive, version, tmp_path):
    program = f"""
import os, sys
from pathlib import Path
from edgewise.agent.fetching.fetch import FetchRequest, fetch
from edgewise.agent.fetching.uris import parse_uri
from edgewise.core.errors import PermissionDeniedError
request = FetchRequest(parse_uri({str(archive)!r}), Path({str(tmp_path / "models" / "1")!r}), {version.sha256!r})
os.setgid(10001)
os.setuid(10001)
try:
    fetch(request, print)
except PermissionDeniedError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "as user 10001, group 10001" in done.stdout
