"""Archives as they should be, broken ones, and those that were made to do harm."""

import gzip
import io
import stat
import subprocess
import tarfile
import zipfile

import pytest

from edgewise.agent.fetching import tree
from edgewise.core.errors import EdgewiseError, FailedPreconditionError


def tar(*members, mode="w"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.linkname = content
                archive.addfile(member)
    return data.getvalue()


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, mode, content in members:
            member = zipfile.ZipInfo(name)
            member.compress_type = method
            member.external_attr = mode << 16
            archive.writestr(member, content)
    return data.getvalue()


@pytest.fixture
def fetched(tmp_path, fetches, tools):
    """What is in the directory after an archive was fetched."""

    def fetched(data, **options):
        path = tmp_path / "archive"
        path.write_bytes(data)
        fetches(path, tools.sha256(data), **options)
        return tools.files_in(fetches.directory)

    return fetched


@pytest.fixture
def refused(fetched, fetches, tmp_path):
    def refused(data, *words, **options):
        with pytest.raises(FailedPreconditionError) as caught:
            fetched(data, **options)
        for word in words:
            assert word in caught.value.message
        fetches.nothing_is_left()
        assert {path.name for path in tmp_path.iterdir()} <= {"archive", "models"}

    return refused


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
MODEL = ("model.onnx", FILE, b"\x08\x0amodel")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("top", ["", "./", "pets-1/"])
def test_tar(fetched, mode, top):
    data = tar(
        (top or ".", tarfile.DIRTYPE, ""), (f"{top}model.onnx", FILE, b"m"), (f"{top}a/b", FILE, b"b"), mode=mode
    )
    assert fetched(data) == {"model.onnx": b"m", "a/b": b"b"}


def test_what_gnu_tar_packs(fetched, tmp_path):
    version = tmp_path / "v"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"graph")
    (version / "variables" / ("long" * 50)).write_bytes(b"x" * 5000)
    (version / "again").hardlink_to(version / "saved_model.pb")
    (version / "link").symlink_to("variables/" + "long" * 50)
    data = subprocess.run(["tar", "cz", "-C", str(tmp_path), "v"], check=True, capture_output=True).stdout
    import shutil

    shutil.rmtree(version)
    found = fetched(data)
    assert found["saved_model.pb"] == found["again"] == b"graph"
    assert found["link"] == found["variables/" + "long" * 50] == b"x" * 5000


def test_zip(fetched):
    data = zipped(("pets/model.onnx", 0o644, b"m"), ("__MACOSX/pets/._x", 0, b"junk"), ("pets/a/", 0o40755, b""))
    assert fetched(data) == {"model.onnx": b"m"}


def test_no_link_and_no_mode_survives(fetched, fetches):
    evil = tarfile.TarInfo("model.onnx")
    evil.mode, evil.uid, evil.size = 0o6777, 12345, 1
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(evil, io.BytesIO(b"m"))
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "model.onnx"
        archive.addfile(link)
    fetched(data.getvalue())
    for path in fetches.directory.iterdir():
        status = path.lstat()
        assert stat.S_ISREG(status.st_mode)
        assert not status.st_mode & 0o7133
        assert status.st_uid != 12345


def test_links_to_links_are_followed_in_any_order(fetched):
    found = fetched(tar(("a", LINK, "b"), ("b", LINK, "d/../c"), ("c", FILE, b"c"), MODEL))
    assert found["a"] == found["b"] == b"c"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("/etc/passwd", FILE, b"x"), "is absolute"),
        (("../../escaped", FILE, b"x"), "leads out"),
        (("a/../../escaped", FILE, b"x"), "leads out"),
        (("a", LINK, "/etc/passwd"), "leads out of it"),
        (("a", LINK, "../../../etc/passwd"), "leads out of it"),
        (("a", HARD, "/etc/passwd"), "is absolute"),
        (("a", HARD, "../x"), "leads out"),
        (("a", LINK, "nothing"), "a link to 'nothing', which is no file in it"),
        (("a", LINK, "a"), "which is no file in it"),
        (("device", tarfile.CHRTYPE, ""), "a character device"),
        (("device", tarfile.BLKTYPE, ""), "a block device"),
        (("pipe", tarfile.FIFOTYPE, ""), "a named pipe"),
        (("model.onnx", FILE, b"other"), "'model.onnx' twice"),
        (("model.onnx/inner", FILE, b"x"), "both as a file and as a directory"),
        (("a\nb", FILE, b"x"), "control character"),
    ],
)
def test_what_no_version_holds(refused, member, message):
    refused(tar(MODEL, member), message)
    refused(tar(MODEL, member, mode="w:gz"), message)


def test_a_file_through_a_link_goes_nowhere(refused, tmp_path):
    refused(tar(("a", LINK, str(tmp_path)), ("a/escaped", FILE, b"x"), MODEL), "leads out of it")
    refused(tar(("a", LINK, "."), ("a/escaped", FILE, b"x"), MODEL), "is no file in it")


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../escaped", 0, b"x"), "leads out"),
        (("/escaped", 0, b"x"), "is absolute"),
        (("link", stat.S_IFLNK | 0o777, b"/etc/passwd"), "leads out of it"),
        (("pipe", stat.S_IFIFO | 0o644, b""), "neither a file nor a directory"),
        (("a\\b", 0, b"x"), "backslash"),
    ],
)
def test_what_no_zip_of_a_version_holds(refused, member, message):
    refused(zipped(("model.onnx", 0, b"m"), member), message)


def test_a_link_inside_a_zip(fetched):
    found = fetched(zipped(("link", stat.S_IFLNK | 0o777, b"model.onnx"), ("model.onnx", 0, b"m")))
    assert found == {"model.onnx": b"m", "link": b"m"}


def test_zip_methods_whose_memory_the_archive_chooses(refused):
    refused(zipped(("model.onnx", 0, b"m"), method=zipfile.ZIP_LZMA), "expected deflate or none")


def test_a_zip_that_names_a_place_before_its_beginning(refused):
    data = bytearray(zipped(("model.onnx", 0, b"m")))
    end = data.index(b"PK\5\6")
    directory = int.from_bytes(data[end + 16 : end + 20], "little")
    data[end + 16 : end + 20] = (directory + 256).to_bytes(4, "little")
    refused(bytes(data), "is damaged")


def test_an_encrypted_zip(refused):
    data = bytearray(zipped(("model.onnx", 0, b"m")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    refused(bytes(data), "encrypted; pack it without a password")


@pytest.mark.parametrize(
    "make",
    [
        lambda: tar(MODEL, ("z", FILE, b"z" * 9000)),
        lambda: tar(MODEL, ("z", FILE, b"z" * 9000), mode="w:gz"),
        lambda: zipped(("model.onnx", 0, b"m" * 9000)),
    ],
)
def test_every_truncation_is_noticed(refused, make):
    whole = make().rstrip(b"\0") if make()[257:262] == b"ustar" else make()
    for length in {600, len(whole) // 2, len(whole) - 1, len(whole) - 9} | set(range(1024, len(whole), 1536)):
        if 512 < length < len(whole):
            refused(whole[:length], "")


def test_a_tar_cut_between_two_files_is_noticed(refused):
    whole = tar(("a", FILE, b"a"), MODEL)
    refused(whole[:1024], "truncated")


def test_what_is_damaged_says_so(refused):
    data = bytearray(tar(MODEL, ("a", FILE, bytes(3000)), mode="w:gz"))
    data[-6] ^= 0xFF
    refused(bytes(data), "damaged")
    header = bytearray(tar(MODEL, ("a", FILE, b"a")))
    header[1024 + 3] ^= 0xFF
    refused(bytes(header), "damaged")
    inside = bytearray(zipped(("model.onnx", 0, b"m" * 50), method=zipfile.ZIP_STORED))
    inside[60] ^= 0xFF
    refused(bytes(inside), "damaged")


@pytest.mark.parametrize(
    ("head", "kind"),
    [(b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"BZh9", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7-Zip")],
)
def test_other_kinds_are_named(refused, head, kind):
    refused(head + bytes(600), f"packed with {kind}; expected .tar, .tar.gz or .zip")


def test_a_bomb_costs_no_more_than_its_limit(refused, monkeypatch):
    monkeypatch.setattr("edgewise.agent.fetching.archives.FREE_RATIO_BYTES", 1 << 20)
    bomb = bytes(64 << 20)
    refused(tar(("model.onnx", FILE, bomb), mode="w:gz"), "unpacks to more than")
    refused(zipped(("model.onnx", 0, bomb)), "unpacks to more than")
    refused(tar(*[(f"{number}", FILE, bomb[: 1 << 18]) for number in range(64)], mode="w:gz"), "unpacks to more than")


def test_weights_of_one_value_are_no_bomb(fetched):
    weights = b"\x08\x0a" + bytes(32 << 20)
    assert fetched(tar(("model.onnx", FILE, weights), mode="w:gz"))["model.onnx"] == weights


def test_the_largest_version_that_is_taken(refused):
    refused(tar(("model.onnx", FILE, bytes(20_000)), mode="w:gz"), "10.0 kB", max_bytes=10_000)


def test_too_many_files(refused, monkeypatch):
    monkeypatch.setattr(tree, "MAX_FILES", 20)
    many = [(f"d{number}/e{number}", FILE, b"") for number in range(15)]
    refused(tar(*many, MODEL), "more than 20 files and directories")


def test_a_zip_whose_parts_overlap(refused):
    # Each entry of the table of contents is the same compressed bytes: what zip bombs are made of.
    data = zipped(("model.onnx", 0, bytes(1000)))
    at = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry, tail = data[at:end], bytearray(data[end:])
    count = 300
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(entry) * count).to_bytes(4, "little")
    refused(data[:at] + entry * count + bytes(tail), "twice")


def test_headers_do_not_choose_how_much_memory_is_used(refused):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    refused(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20)), "damaged")
    chain = tarfile.TarInfo("././@LongLink")
    chain.type, chain.size = tarfile.GNUTYPE_LONGNAME, 10
    refused(gzip.compress((chain.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 5000), "damaged")


def test_a_sparse_file_of_nothing(refused, tmp_path):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    data = subprocess.run(["tar", "cSz", "-C", str(tmp_path), "sparse"], check=True, capture_output=True).stdout
    sparse.unlink()
    refused(data, "pack it without --sparse")


def test_endless_padding(refused, monkeypatch):
    refused(gzip.compress(tar(MODEL) + bytes(40 << 20)), "after its last file")


def test_no_model_in_it(refused):
    refused(
        tar(("readme.txt", FILE, b"x")), "holds no model: expected model.onnx or saved_model.pb", "found readme.txt"
    )
    refused(tar(("a/1/model.onnx", FILE, b"x")), "a/1/model.onnx lies deeper")
    refused(tar(("1/model.onnx", FILE, b"x"), ("2/model.onnx", FILE, b"x")), "lies deeper")
    refused(tar(("model.onnx", FILE, b"")), "model.onnx is empty")
    refused(tar(mode="w:gz"), "found no file")


def test_random_bytes_with_the_head_of_an_archive(fetched, fetches):
    import random

    draw = random.Random(7)
    for head in (b"\x1f\x8b\x08", b"PK\x03\x04", tar(MODEL)[:520]):
        for _ in range(30):
            with pytest.raises(EdgewiseError):
                fetched(head + draw.randbytes(2000))
            fetches.nothing_is_left()
