"""The archive of a version: the same bytes everywhere, in any pieces, and what tar makes of it."""

import hashlib
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.agent.kubernetes.archive_door import part_of
from edgewise.agent.kubernetes.version_archive import READ_BYTES, archive_of
from edgewise.core.errors import FailedPreconditionError, NotFoundError

LONG = "/".join(["d" * 60] * 4) + "/" + "f" * 60


def write(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def whole(archive):
    return b"".join(archive.read(0, archive.size_bytes))


FILES = {
    "model.onnx": bytes(range(256)) * 5000,
    "model.toml": b"[model]\n",
    "empty": b"",
    "assets/labels.txt": b"x" * 512,
    LONG: b"deep",
}


def test_tar_reads_all_files_back(tmp_path):
    content = whole(archive_of(write(tmp_path / "1", FILES)))
    with tarfile.open(fileobj=io.BytesIO(content)) as file:
        found = {member.name: file.extractfile(member).read() for member in file.getmembers()}
        assert {member.mode for member in file.getmembers()} == {0o644}
    assert found == FILES


def test_owner_mode_and_time_of_files_make_no_difference_and_a_byte_does(tmp_path):
    first, second = write(tmp_path / "1", FILES), write(tmp_path / "2", dict(reversed(FILES.items())))
    (second / "model.toml").chmod(0o600)
    assert archive_of(first).sha256() == archive_of(second).sha256()
    (second / "model.toml").write_bytes(b"[model]!")
    assert archive_of(first).sha256() != archive_of(second).sha256()


def test_the_digest_is_of_what_is_read(tmp_path):
    archive = archive_of(write(tmp_path / "1", FILES))
    assert hashlib.sha256(whole(archive)).hexdigest() == archive.sha256()
    assert max(map(len, archive.read(0, archive.size_bytes))) <= READ_BYTES


def test_a_file_that_is_exchanged_is_told_by_the_tag(tmp_path):
    directory = write(tmp_path / "1", FILES)
    before = archive_of(directory).tag
    assert archive_of(directory).tag == before
    (directory / "other").write_bytes(b"[model]\n")
    (directory / "other").rename(directory / "model.toml")
    assert archive_of(directory).tag != before


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    directory = write(tmp_path / "1", {"model.onnx": b"x" * 1000})
    archive = archive_of(directory)
    (directory / "model.onnx").write_bytes(b"x" * 10)
    with pytest.raises(FailedPreconditionError, match="has become shorter"):
        whole(archive)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NotFoundError, match="no version in"):
        archive_of(tmp_path / "7")
    (tmp_path / "7").mkdir()
    with pytest.raises(NotFoundError, match="no files in"):
        archive_of(tmp_path / "7")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=5), data=st.data())
def test_any_part_is_that_part_of_the_whole(tmp_path_factory, sizes, data):
    directory = tmp_path_factory.mktemp("version")
    write(directory, {f"file-{number}": bytes([number + 1]) * size for number, size in enumerate(sizes)})
    archive = archive_of(directory)
    content = whole(archive)
    assert len(content) == archive.size_bytes
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    assert b"".join(archive.read(start, end)) == content[start:end]


@pytest.mark.parametrize(
    ("asked", "validator", "expected"),
    [
        (b"", b"", (200, 0, 100)),
        (b"bytes=10-", b"", (206, 10, 100)),
        (b"bytes=10-19", b"", (206, 10, 20)),
        (b"bytes=10-900", b"", (206, 10, 100)),
        (b"bytes=99-", b'"t"', (206, 99, 100)),
        (b"bytes=100-", b"", (416, 0, 0)),
        (b"bytes=10-", b'"other"', (200, 0, 100)),
        (b"bytes=20-10", b"", (200, 0, 100)),
        (b"bytes=0-1,5-6", b"", (200, 0, 100)),
        (b"bytes=-5", b"", (200, 0, 100)),
        (b"lines=1-", b"", (200, 0, 100)),
    ],
)
def test_which_part_is_meant(asked, validator, expected):
    part = part_of(asked, validator, b'"t"', 100)
    assert (part.status, part.start, part.end) == expected
