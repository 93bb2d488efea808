"""The hub's repository: what it lets in, what it signs anew, and what a backup that was restored does to sites."""

import hashlib
import threading

import pytest

from edgewise.core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from edgewise.hub.trust.repository import MOST_LEAP, Repository
from edgewise.protocols.trusted_documents import encode_policy
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY, sign
from support.trust_world import DAY_S, manifest


def test_new_releases_are_told(world):
    path, content = "releases/pets/2.json", manifest(2)
    world.hub.put_target(path, content)
    signed = world.operator.add_targets({path: content})
    before = world.hub.versions()
    assert world.hub.examine_targets(signed) == {path: content}
    assert world.hub.versions() == before
    assert world.hub.accept_targets(signed) == {path: content}
    assert world.hub.versions() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    assert world.hub.content(path) == content
    with pytest.raises(NotFoundError):
        world.hub.content("releases/pets/3.json")


def test_what_is_in_force_may_be_handed_in_again(world):
    world.release(2)
    before = world.hub.versions()
    assert world.hub.accept_targets(world.operator.targets_file()) == {}
    assert world.hub.versions() == before


def test_older_targets_are_refused(world):
    first = world.operator.targets_file()
    world.release(2)
    with pytest.raises(FailedPreconditionError, match="has version 1, and version 2 is in force"):
        world.hub.accept_targets(first)


def test_targets_signed_by_anyone_else_are_refused(world):
    targets = world.operator.targets()
    targets.version += 1
    for keys in ([], [SigningKey.generated()], [world.online]):
        with pytest.raises(PermissionDeniedError, match=r"targets\.json is not signed by as many"):
            world.hub.accept_targets(sign(targets, keys))


def test_a_content_that_was_not_put_is_missed(world):
    signed = world.operator.add_targets({"releases/pets/2.json": manifest(2)})
    with pytest.raises(
        FailedPreconditionError, match=r"names releases/pets/2\.json, and its content has not been put here"
    ):
        world.hub.accept_targets(signed)
    world.hub.put_target("releases/pets/2.json", manifest(2))
    world.hub.accept_targets(signed)


def test_expired_targets_are_refused(world):
    signed = world.operator.add_targets({})
    world.clock.now_s += 366 * DAY_S
    with pytest.raises(FailedPreconditionError, match="the root has expired at 2027-12-01T12:00:00Z"):
        world.hub.accept_targets(signed)
    root = world.operator.root()
    root.version += 1
    key = SigningKey.read(world.directory / "operator" / "root.key")
    with pytest.raises(FailedPreconditionError, match="the new root has expired at 2027-12-01T12:00:00Z"):
        world.hub.accept_root(sign(root, [key]))
    world.hub.accept_root(world.operator.renew_root()[-1])
    with pytest.raises(FailedPreconditionError, match=r"targets\.json has expired at 2027-12-01T12:00:00Z"):
        world.hub.accept_targets(signed)
    world.sign({})


def test_a_release_never_changes(world):
    world.release(2)
    with pytest.raises(AlreadyExistsError, match="releases never change"):
        world.operator.add_targets({"releases/pets/2.json": manifest(2, note="another")})
    # An operator's machine that knows nothing of the first.
    targets = world.operator.targets()
    targets.version += 1
    content = manifest(2, note="another")
    targets.targets["releases/pets/2.json"].hashes["sha256"] = hashlib.sha256(content).hexdigest()
    targets.targets["releases/pets/2.json"].length = len(content)
    world.hub.put_target("releases/pets/2.json", content)
    key = SigningKey.read(world.directory / "operator" / "targets.key")
    with pytest.raises(AlreadyExistsError, match=r"changes releases/pets/2\.json; releases never change"):
        world.hub.accept_targets(sign(targets, [key]))


@pytest.mark.parametrize("path", [POLICY, DESIRED_KEYS])
def test_the_documents_that_sites_need_stay(world, path):
    with pytest.raises(FailedPreconditionError, match=f"names no {path}, which every site needs"):
        world.hub.accept_targets(world.operator.add_targets({}, remove=[path]))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("releases/pets/2.json", b"{}"),
        ("releases/pets/3.json", manifest(2)),
        ("policy.json", b'{"format": "edgewise-policy/2"}'),
        ("policy.json", b'{"format": "edgewise-policy/1", "floors": {"pets": -1}}'),
        ("desired-keys.json", b'{"format": "edgewise-desired-keys/1", "keys": []}'),
        ("desired-keys.json", b'{"format": "edgewise-desired-keys/1", "keys": ["A"]}'),
        ("../policy.json", encode_policy({})),
        ("/policy.json", encode_policy({})),
        ("a//b.json", b""),
        ("", b""),
    ],
)
def test_what_sites_could_not_read_is_not_let_in(world, path, content):
    with pytest.raises(InvalidArgumentError):
        world.hub.put_target(path, content)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "../online.key",
        "root.json",
        "0.root.json",
        "9.root.json",
        "1.root.json/",
        "1.root.json\0",
        "1.mirrors.json",
    ],
)
def test_other_names_are_not_there(world, name):
    with pytest.raises(NotFoundError, match="there is no metadata file"):
        world.hub.read(name)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "policy.json",
        "../metadata/timestamp.json",
        "a/../" + "0" * 64 + ".x",
        "0" * 64 + ".policy.json",
        "/etc/passwd",
        "releases",
    ],
)
def test_other_targets_are_not_there(world, path):
    with pytest.raises(NotFoundError):
        world.hub.target(path)


def test_timestamps_are_signed_anew_at_half_of_their_life(world):
    assert not world.hub.renew()
    world.clock.now_s += 0.49 * DAY_S
    assert not world.hub.renew()
    world.clock.now_s += 0.02 * DAY_S
    assert world.hub.renew()
    assert world.hub.versions() == {"root": 1, "timestamp": 2, "snapshot": 1, "targets": 1}
    world.clock.now_s += 3.1 * DAY_S
    assert world.hub.renew()
    assert world.hub.versions() == {"root": 1, "timestamp": 3, "snapshot": 2, "targets": 1}
    world.site().refresh()


def test_a_year_of_renewals_leaves_few_files_and_is_always_fresh(world):
    site = world.site()
    for _ in range(330):
        world.clock.now_s += DAY_S * 0.6
        world.hub.renew()
    site.refresh()
    assert site.may_install() == ""
    assert len(list((world.directory / "hub" / "metadata").iterdir())) < 15


def test_a_refresh_in_the_midst_of_a_publication_sees_one_state(world):
    digest = world.release(2)
    site = world.site()
    states = iter(range(3, 9))

    def publish_after(handler):
        content = world.hub.read("timestamp.json")
        for _ in range(3):
            world.release(next(states))
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    world.answers["timestamp.json"] = publish_after
    site.refresh()
    assert site.versions()["targets"] == 2
    assert site.manifest("pets", 2, digest).version == 2
    world.answers.clear()
    site.refresh()
    assert site.versions()["targets"] == 5


def test_sites_refresh_while_releases_come(world):
    failures = []
    over = threading.Event()

    def refresh(name):
        try:
            site = world.site(name)
            while not over.is_set():
                site.refresh()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            failures.append(error)

    threads = [threading.Thread(target=refresh, args=(f"edge-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for version in range(2, 8):
        world.release(version)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_hub_restored_from_an_older_backup(world):
    site = world.site()
    digest = world.release(2)
    saved = world.saved()
    for _ in range(4):
        world.clock.now_s += 4 * DAY_S
        world.hub.renew()
    site.refresh()
    seen = site.versions()
    world.restored(saved)
    world.hub.renew()
    with pytest.raises(PermissionDeniedError, match="restored from an older backup"):
        site.refresh()
    assert world.hub.raise_versions(seen) == ""
    assert world.hub.versions()["timestamp"] > seen["timestamp"]
    assert world.hub.versions()["snapshot"] > seen["snapshot"]
    site.refresh()
    assert site.may_install() == ""
    assert site.manifest("pets", 2, digest).version == 2
    # Told once more, there is nothing left to do.
    before = world.hub.versions()
    assert world.hub.raise_versions(site.versions()) == ""
    assert world.hub.versions() == before


def test_a_hub_restored_from_before_the_last_release(world):
    site = world.site()
    saved = world.saved()
    third = world.release(3)
    site.refresh()
    site.manifest("pets", 3, third)
    world.restored(saved)
    told = world.hub.raise_versions(site.versions())
    assert "newer versions of targets (2) than this hub has (1)" in told
    with pytest.raises(PermissionDeniedError, match="rollback"):
        site.refresh()
    assert site.manifest("pets", 3, third).version == 3
    # The operator hands in what was signed last.
    world.hub.put_target("releases/pets/3.json", manifest(3))
    world.hub.accept_targets(world.operator.targets_file())
    assert world.hub.raise_versions(site.versions()) == ""
    site.refresh()
    assert site.may_install() == ""


def test_a_hub_restored_from_before_a_rotation(world):
    site = world.site()
    saved = world.saved()
    world.hub.accept_root(world.operator.rotate_root()[-1])
    site.refresh()
    world.restored(saved)
    assert "newer versions of root (2) than this hub has (1)" in world.hub.raise_versions(site.versions())
    world.hub.accept_root(world.operator.root_files()[-1])
    assert world.hub.raise_versions(site.versions()) == ""
    site.refresh()


def test_a_site_that_claims_absurd_versions_is_not_followed(world):
    before = world.hub.versions()
    told = world.hub.raise_versions({"timestamp": before["timestamp"] + MOST_LEAP + 1})
    assert "which no backup explains" in told
    assert world.hub.versions() == before
    assert world.hub.raise_versions({"mirrors": 7, "timestamp": 0}) == ""


def test_a_directory_without_a_repository(tmp_path, world):
    with pytest.raises(FailedPreconditionError, match="holds no TUF repository yet"):
        Repository(tmp_path / "nothing", world.online)
    with pytest.raises(AlreadyExistsError, match="holds a TUF repository already"):
        world.begin_hub(world.directory / "hub")


def test_what_begins_a_hub_must_fit_together(tmp_path, world):
    def begin(**other):
        operator = world.operator
        given = {
            "roots": operator.root_files(),
            "targets": operator.targets_file(),
            "contents": {path: operator.content(path) for path in (POLICY, DESIRED_KEYS)},
            **other,
        }
        return Repository.created(tmp_path / "new", world.online, clock=world.clock, **given)

    enemy = SigningKey.generated()
    targets = world.operator.targets()
    for kind, words, other in [
        (InvalidArgumentError, "no root is given", {"roots": []}),
        (FailedPreconditionError, "expected all roots from version 1", {"roots": world.operator.rotate_root()[1:]}),
        (PermissionDeniedError, r"targets\.json is not signed", {"targets": sign(targets, [enemy])}),
        (FailedPreconditionError, "its content is not given", {"contents": {}}),
        (FailedPreconditionError, "is not what targets.json says", {"contents": {POLICY: b"x", DESIRED_KEYS: b"y"}}),
    ]:
        with pytest.raises(kind, match=words):
            begin(**other)
    with pytest.raises(FailedPreconditionError, match="asks for other online keys"):
        Repository.created(
            tmp_path / "new",
            enemy,
            roots=world.operator.root_files(),
            targets=world.operator.targets_file(),
            contents={},
            clock=world.clock,
        )
    assert begin().versions() == {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}
