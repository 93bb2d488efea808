"""What a conversion writes in between lies where the versions go; where there is no room the message says so, and nothing is left."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf

from edgewise.core.errors import FailedPreconditionError
from edgewise.train.scratch import scratch_near


def test_temporary_files_of_all_are_made_near_the_versions_and_are_gone_afterwards(tmp_path):
    usual = tempfile.gettempdir()
    with scratch_near(tmp_path / "build" / "mine", 1) as place, tempfile.TemporaryDirectory() as theirs:
        assert place.parent == tmp_path
        assert Path(theirs).parent == place
        (place / "merged.onnx").write_bytes(b"x")
    assert tempfile.gettempdir() == usual
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "takes_bytes"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1),
        # onnxruntime writes what there is room for, and then cannot read it.
        (InvalidProtobuf("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF"), 1 << 60),
    ],
)
def test_a_full_disk_is_named(tmp_path, error, takes_bytes):
    with pytest.raises(FailedPreconditionError) as raised, scratch_near(tmp_path, takes_bytes):
        raise error
    assert raised.value.message.startswith(f"there is no room in {tmp_path}: the conversion takes up to ")
    assert "nothing was written. Free some room, or name a directory on another disk with --out" in raised.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "takes_bytes"),
    [(InvalidProtobuf("other"), 1), (ValueError("other"), 1 << 60), (PermissionError(errno.EACCES, "other"), 1 << 60)],
)
def test_what_is_wrong_otherwise_is_not_put_down_to_the_disk(tmp_path, error, takes_bytes):
    with pytest.raises(type(error), match="other"), scratch_near(tmp_path, takes_bytes):
        raise error


def test_a_place_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(FailedPreconditionError, match="build cannot be written: Permission denied"):
        scratch_near(tmp_path / "build", 1).__enter__()
