"""`edgewise fetch` to disks that are too small, or mounted where the version should be."""

import os
import subprocess

import pytest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk(pack, files, command, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1200k", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        (tmp_path / "large.onnx").write_bytes(bytes(2_000_000))
        done = command(tmp_path / "large.onnx", disk / "pets/1", "--unverified")
        assert done.code == 1
        assert "free, and 2.0 MB are needed" in done.err
        # It fits as long as it is packed.
        (tmp_path / "pets.tar.gz").write_bytes(pack(files))
        done = command(tmp_path / "pets.tar.gz", disk / "pets/1", "--unverified")
        assert done.code == 1
        assert "there is no room left on the disk" in done.err
        assert sorted(path.name for path in disk.rglob("*")) == [".1.fetch", "lock", "pets"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a directory in its own place")
def test_a_directory_that_is_mounted_from_the_same_disk(pack, files, command, tmp_path):
    (tmp_path / "pets.tar.gz").write_bytes(pack(files))
    target = tmp_path / "models/pets/1"
    target.mkdir(parents=True)
    (tmp_path / "volume").mkdir()
    mounted = subprocess.run(
        ["mount", "--bind", str(tmp_path / "volume"), str(target)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a directory cannot be mounted here: {mounted.stderr.strip()}")
    try:
        done = command(tmp_path / "pets.tar.gz", target, "--unverified")
        assert done.code == 1
        assert f"{target} is a mount point, which cannot appear whole; name a directory in it" in done.err
        assert not list((tmp_path / "volume").iterdir())
    finally:
        subprocess.run(["umount", str(target)], check=True)
