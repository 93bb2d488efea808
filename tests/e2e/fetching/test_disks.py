"""`edgewise fetch` to disks that are too small, or mounted where the version should be."""

from support.mounting import mounted, small_disk


def test_a_full_disk(pack, files, command, tmp_path):
    with small_disk(tmp_path / "disk", "1200k") as disk:
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


def test_a_directory_that_is_mounted_from_the_same_disk(pack, files, command, tmp_path):
    (tmp_path / "pets.tar.gz").write_bytes(pack(files))
    target = tmp_path / "models/pets/1"
    target.parent.mkdir(parents=True)
    (tmp_path / "volume").mkdir()
    with mounted(target, "--bind", str(tmp_path / "volume")):
        done = command(tmp_path / "pets.tar.gz", target, "--unverified")
        assert done.code == 1
        assert f"{target} is a mount point, which cannot appear whole; name a directory in it" in done.err
        assert not list((tmp_path / "volume").iterdir())
