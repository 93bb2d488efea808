"""What is unpacked is what was packed, whatever it is called; and no name leaves the directory."""

import contextlib
import hashlib
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgewise.agent.fetching.archives import Packing, unpack
from edgewise.agent.fetching.digests import digest_of_path, digest_of_tree
from edgewise.agent.fetching.tree import Tree
from edgewise.core.errors import EdgewiseError

PARTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\\x7f"), min_size=1, max_size=12
).filter(lambda part: part not in {".", ".."})
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
FILES = st.dictionaries(NAMES, st.binary(max_size=3000), max_size=8)
# What only someone who means harm writes, often enough that combinations of it come up.
HOSTILE_PARTS = st.one_of(st.sampled_from(["..", ".", "", "a", "b", "link", "\\", "\0", "\n", "x" * 300]), PARTS)
HOSTILE_NAMES = st.builds(
    lambda start, parts: start + "/".join(parts),
    st.sampled_from(["", "/", "//", "./", "../"]),
    st.lists(HOSTILE_PARTS, max_size=5),
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"?"])
MEMBERS = st.lists(st.tuples(HOSTILE_NAMES, KINDS, HOSTILE_NAMES, st.binary(max_size=20)), max_size=8)


def consistent(files):
    """No name is both a file and a directory, and the file system takes each."""
    parents = {"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)}
    return not parents & set(files)


def tarred(files, packing):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz" if packing is Packing.TAR_GZ else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def zipped(files, _):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def unpacked(data, packing, directory):
    root = directory / "inside" / "root"
    root.mkdir(parents=True)
    (directory / "archive").write_bytes(data)
    tree = Tree(root, "the archive", max_bytes=1 << 20)
    unpack(directory / "archive", packing, tree, "the archive")
    return tree


@given(FILES, st.sampled_from(list(Packing)))
@settings(max_examples=60, deadline=None)
def test_what_is_unpacked_is_what_was_packed(files, packing):
    assume(consistent(files))
    with tempfile.TemporaryDirectory() as directory:
        tree = unpacked((zipped if packing is Packing.ZIP else tarred)(files, packing), packing, Path(directory))
        found = {str(path.relative_to(tree.root)): path.read_bytes() for path in tree.root.rglob("*") if path.is_file()}
        assert found == files
        assert {name: file.sha256 for name, file in tree.files.items()} == {
            name: hashlib.sha256(content).hexdigest() for name, content in files.items()
        }
        # The digest that the transfer computes is the one that the command prints for a directory.
        assert digest_of_path(tree.root) == digest_of_tree((name, file.sha256) for name, file in tree.files.items())


def stays(data, packing):
    """Unpacks or refuses; nothing else lies around, no link is made, and nothing but errors for people is raised."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # Whatever else it raises fails the test.
        with contextlib.suppress(EdgewiseError):
            unpacked(data, packing, directory)
        assert sorted(path.name for path in directory.iterdir()) == ["archive", "inside"]
        assert [path.name for path in (directory / "inside").iterdir()] == ["root"]
        for path in (directory / "inside").rglob("*"):
            assert not path.is_symlink()
            assert path.is_file() or path.is_dir()


@given(MEMBERS, st.sampled_from([Packing.TAR, Packing.TAR_GZ]))
@settings(max_examples=120, deadline=None)
def test_no_name_and_no_link_in_a_tar_leaves_the_directory(members, packing):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz" if packing is Packing.TAR_GZ else "w") as archive:
        for name, kind, link, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))
    stays(data.getvalue(), packing)


@given(
    st.lists(
        st.tuples(HOSTILE_NAMES, st.sampled_from([0, 0o100644, 0o120777, 0o40755, 0o10644]), HOSTILE_NAMES), max_size=8
    )
)
@settings(max_examples=80, deadline=None)
def test_no_name_and_no_link_in_a_zip_leaves_the_directory(members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, mode, content in members:
            member = zipfile.ZipInfo("x")
            member.filename, member.external_attr = name or "x", mode << 16
            # So that a name may come twice.
            archive.NameToInfo.clear()
            archive.writestr(member, content)
    stays(data.getvalue(), Packing.ZIP)


@given(FILES, st.sampled_from(list(Packing)), st.data())
@settings(max_examples=80, deadline=None)
def test_damage_is_an_error_for_people(files, packing, draw):
    data = bytearray((zipped if packing is Packing.ZIP else tarred)(files, packing))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    stays(bytes(data), packing)
