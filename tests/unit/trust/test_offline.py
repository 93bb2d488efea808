"""The operator's directory: keys that stay where they are put, versions that grow by one, nothing signed by mistake."""

import fcntl

import pytest
from tuf.api.metadata import Targets

from edgewise.core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from edgewise.hub.trust.acceptance import chain
from edgewise.trust import tuf_files
from edgewise.trust.keys import SigningKey
from edgewise.trust.offline import LIFE_S, OfflineTrust
from edgewise.trust.tuf_files import MAX_TARGETS_BYTES, check_signed, moment, read

NOW_S = 1_796_000_000.0
ONLINE = SigningKey.generated()


@pytest.fixture
def operator(tmp_path):
    return OfflineTrust.created(tmp_path / "trust", ONLINE.public_hex, {"policy.json": b"p"}, clock=lambda: NOW_S)


def verified(operator):
    """Versions of root and targets, which verify."""
    root = chain(operator.root_files())
    metadata = read(operator.targets_file(), Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES)
    check_signed(root, metadata, what="targets.json")
    return root.version, metadata.signed.version


def test_a_beginning(operator):
    assert verified(operator) == (1, 1)
    root = operator.root()
    assert root.consistent_snapshot
    assert root.expires == moment(NOW_S + LIFE_S) == operator.targets().expires
    for role in ("timestamp", "snapshot"):
        assert root.roles[role].keyids == [ONLINE.key_id]
    assert len({root.roles[role].keyids[0] for role in ("root", "targets", "timestamp")}) == 3
    assert operator.content("policy.json") == b"p"
    assert sorted(path.name for path in operator.directory.iterdir()) == [
        ".lock",
        "metadata",
        "root.key",
        "targets",
        "targets.key",
    ]


def test_it_begins_once(operator):
    with pytest.raises(AlreadyExistsError, match="holds trust already"):
        OfflineTrust.created(operator.directory, ONLINE.public_hex, {})
    with pytest.raises(NotFoundError, match="holds no trust"):
        OfflineTrust.opened(operator.directory.parent)
    with pytest.raises(InvalidArgumentError, match="64 hexadecimal digits"):
        OfflineTrust.created(operator.directory.parent / "new", "online.pub", {})
    assert not (operator.directory.parent / "new").exists()


def test_keys_that_lie_there_are_used_and_not_thrown_away(tmp_path):
    key = SigningKey.generated()
    key.write(tmp_path / "root.key")
    operator = OfflineTrust.created(tmp_path, ONLINE.public_hex, {})
    assert operator.root().roles["root"].keyids == [key.key_id]


def test_targets_are_added_replaced_and_removed(operator):
    operator.add_targets({"releases/pets/1.json": b"1", "policy.json": b"q"})
    assert verified(operator) == (1, 2)
    assert operator.content("policy.json") == b"q"
    operator.add_targets({"releases/pets/2.json": b"2"}, remove=["releases/pets/1.json"])
    assert sorted(operator.targets().targets) == ["policy.json", "releases/pets/2.json"]
    assert operator.add_targets({}) == operator.targets_file()
    assert verified(operator) == (1, 4)
    # The same content again is no change of a release.
    operator.add_targets({"releases/pets/2.json": b"2"})


@pytest.mark.parametrize(
    ("targets", "remove", "kind", "words"),
    [
        ({"releases/pets/1.json": b"oth"}, [], AlreadyExistsError, "releases never change"),
        ({"../x": b""}, [], InvalidArgumentError, 'leads out of the directory with ".."'),
        ({"/x": b""}, [], InvalidArgumentError, "is absolute"),
        ({"": b""}, [], InvalidArgumentError, "expected a relative path"),
        ({"x": b"long"}, [], InvalidArgumentError, "x has 4 bytes; 3 is the most"),
        ({}, ["releases/dogs/1.json"], NotFoundError, r"names no releases/dogs/1\.json"),
    ],
)
def test_nothing_is_signed_by_mistake(operator, targets, remove, kind, words, monkeypatch):
    operator.add_targets({"releases/pets/1.json": b"1"})
    before = operator.targets_file()
    monkeypatch.setattr("edgewise.trust.offline.MAX_TARGET_BYTES", 3)
    with pytest.raises(kind, match=words):
        operator.add_targets({"releases/pets/3.json": b"3", **targets}, remove=remove)
    assert operator.targets_file() == before


def test_more_than_sites_would_read(operator, monkeypatch):
    monkeypatch.setattr("edgewise.trust.offline.MAX_TARGETS_BYTES", 2000)
    with pytest.raises(InvalidArgumentError, match="remove releases that no site needs"):
        operator.add_targets({f"releases/pets/{version}.json": b"" for version in range(1, 20)})


def test_rotations(operator):
    directory = operator.directory
    keys = {role: (directory / f"{role}.key").read_bytes() for role in ("root", "targets")}
    operator.rotate_root()
    assert verified(operator) == (2, 1)
    assert (directory / "root.key").read_bytes() != keys["root"]
    operator.rotate_targets()
    assert verified(operator) == (3, 2)
    assert (directory / "targets.key").read_bytes() != keys["targets"]
    # What the old key and the new one signed holds under the root of before, too.
    before = chain(operator.root_files()[:2])
    check_signed(before, read(operator.targets_file(), Targets, what="", max_bytes=MAX_TARGETS_BYTES), what="")
    new = SigningKey.generated()
    operator.rotate_online(new.public_hex)
    operator.rotate_online(new.public_hex)
    operator.renew_root()
    operator.add_targets({})
    assert verified(operator) == (6, 3)
    root = operator.root()
    assert root.roles["snapshot"].keyids == root.roles["timestamp"].keyids == [new.key_id]
    assert len(root.keys) == 3
    with pytest.raises(InvalidArgumentError):
        operator.rotate_online("nothing")
    assert verified(OfflineTrust.opened(directory)) == (6, 3)


def test_the_root_key_may_lie_elsewhere(operator, tmp_path):
    key = operator.directory / "root.key"
    key.rename(tmp_path / "vault.key")
    again = OfflineTrust.opened(operator.directory)
    again.add_targets({"releases/pets/1.json": b"1"})
    for rotate in (again.rotate_root, again.rotate_targets, again.renew_root):
        with pytest.raises(FailedPreconditionError, match=r"root\.key cannot be read"):
            rotate()
    assert verified(again) == (1, 2)
    (tmp_path / "vault.key").rename(key)
    again.rotate_targets()
    assert verified(again) == (2, 3)


def test_another_key_in_its_place(operator):
    (operator.directory / "targets.key").unlink()
    SigningKey.generated().write(operator.directory / "targets.key")
    with pytest.raises(FailedPreconditionError, match="is not the key that version 1 of the root names for targets"):
        operator.add_targets({})


def test_content_that_was_changed(operator):
    path = next((operator.directory / "targets").iterdir())
    path.write_bytes(b"x")
    with pytest.raises(FailedPreconditionError, match=r"content of policy\.json is not what"):
        operator.content("policy.json")
    path.unlink()
    with pytest.raises(FailedPreconditionError, match="cannot be read: No such file"):
        operator.content("policy.json")
    with pytest.raises(NotFoundError, match="names no nothing"):
        operator.content("nothing")


def test_one_command_at_a_time(operator):
    with (operator.directory / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FailedPreconditionError, match="another command is at work"):
            operator.add_targets({})
    operator.add_targets({})


def test_damaged_metadata(operator):
    (operator.directory / "metadata" / "targets.json").unlink()
    with pytest.raises(FailedPreconditionError, match=r"targets\.json cannot be read"):
        operator.targets()
    (operator.directory / "metadata" / "targets.json").write_bytes(b"{")
    with pytest.raises(InvalidArgumentError, match=r"targets\.json is no TUF metadata"):
        operator.add_targets({})


def test_a_file_in_the_directorys_place(tmp_path):
    (tmp_path / "trust").write_bytes(b"")
    with pytest.raises(FailedPreconditionError, match="cannot be written"):
        OfflineTrust.created(tmp_path / "trust", ONLINE.public_hex, {})


@pytest.mark.parametrize(
    ("path", "release"),
    [
        ("releases/pets/2.json", ("pets", 2)),
        ("releases/pets/02.json", None),
        ("releases/pets/0.json", None),
        ("releases/a/b/2.json", None),
        ("policy.json", None),
    ],
)
def test_which_targets_are_releases(path, release):
    assert tuf_files.release_of(path) == release


def test_metadata_of_another_kind(operator):
    with pytest.raises(InvalidArgumentError, match="of the kind root, expected targets"):
        read(operator.root_files()[0], Targets, what="x", max_bytes=10**6)
    with pytest.raises(InvalidArgumentError, match="x has 5 bytes; 4 is the most"):
        read(b"12345", Targets, what="x", max_bytes=4)
