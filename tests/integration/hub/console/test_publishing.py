"""Making a release and bringing it to a hub: once, again, and after it was cut short."""

import shutil

import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, PermissionDeniedError, UnavailableError
from edgewise.hub.console.publishing import publish
from edgewise.hub.console.verifying import verify
from edgewise.hub.releases.making import make_release
from edgewise.protocols.release_manifest import decode_release
from edgewise.trust.offline import OfflineTrust
from support.console_hub import ConsoleHub


def made(directories, model="pets", version=2, created="2026-11-23T10:00:00Z", **words):
    return make_release(model, version, directories, created=created, **words)


def test_a_release_reaches_the_hub_whole_and_signed(hub, client, version):
    cloud, edge = version("cloud/pets/2", model=b"\x08\x07 cloud"), version("edge/pets/2", model=b"\x08\x07 edge")

    done = publish(client, hub.offline, made({"cloud": cloud, "edge": edge}))

    assert (done.sent_bytes, done.there_bytes, done.was_there) == (15, 0, False)
    signed = decode_release(hub.repository.content("releases/pets/2.json"))
    assert signed == done.release
    assert {file.sha256 for variant in signed.variants.values() for file in variant.files} == set(hub.blobs)
    assert hub.repository.versions()["targets"] == done.targets_version == 2


def test_what_is_there_is_not_sent_or_signed_again(hub, client, version):
    directory = version()
    publish(client, hub.offline, made({"any": directory}))
    hub.asked.clear()

    done = publish(client, hub.offline, made({"any": directory}, created="2026-11-24T10:00:00Z"))

    assert (done.sent_bytes, done.was_there, done.release.created) == (0, True, "2026-11-23T10:00:00Z")
    assert hub.repository.versions()["targets"] == 2
    assert not [asked for asked in hub.asked if not asked.startswith(("GET", "HEAD"))]


def test_a_file_that_both_versions_have_is_sent_once(hub, client, version):
    publish(client, hub.offline, made({"any": version("pets/1", labels__txt=b"cat\ndog\n")}, version=1))
    changed = made({"any": version("pets/2", model=b"\x08\x07 new", labels__txt=b"cat\ndog\n")})

    done = publish(client, hub.offline, changed)

    assert (done.sent_bytes, done.there_bytes) == (6, 8)


@pytest.mark.parametrize("refused", ["PUT /api/v1/targets/releases/pets/2.json", "POST /api/v1/metadata/targets"])
def test_a_command_that_was_cut_short_after_it_had_signed_is_given_again(hub, client, version, refused):
    def away(_query, _body):
        raise UnavailableError("the hub is about to stop")

    hub.answers[refused] = away
    release = made({"any": version()})
    with pytest.raises(UnavailableError, match="about to stop"):
        publish(client, hub.offline, release)
    assert hub.offline.targets().version == 2
    assert hub.repository.versions()["targets"] == 1
    del hub.answers[refused]

    publish(client, hub.offline, release)

    assert hub.repository.versions()["targets"] == hub.offline.targets().version == 2
    assert verify(client, hub.offline, "pets", 2).faults == ()


def test_the_notes_that_differ_are_named_with_the_next_free_version(hub, client, version):
    directory = version("a")
    publish(client, hub.offline, made({"any": directory}, notes="sharper"))
    publish(client, hub.offline, made({"any": version("b", model=b"\x08\x07 other")}, version=3))

    with pytest.raises(AlreadyExistsError) as raised:
        publish(client, hub.offline, made({"any": directory}, lineage={"commit": "4f9c2"}))

    assert raised.value.message == (
        "pets/2 was released before, with other notes and lineage; releases never change: release this as pets/4, "
        "or leave it: pets/2 has these very files"
    )


def test_a_release_that_a_new_key_signed_says_that_the_root_is_missing(hub, client, version):
    hub.offline.rotate_targets()
    hub.offline.rotate_targets()

    with pytest.raises(
        FailedPreconditionError, match="does not have version 3 of the root.*edgewise hub trust hand-in"
    ):
        publish(client, hub.offline, made({"any": version()}))


def test_a_release_never_changes(hub, client, version):
    publish(client, hub.offline, made({"any": version("a")}))

    with pytest.raises(
        AlreadyExistsError, match="pets/2 was released before, with other files.*release this as pets/3"
    ):
        publish(client, hub.offline, made({"any": version("b", model=b"\x08\x07 other")}))


def test_keys_of_another_hub_sign_nothing_here(hub, client, version, tmp_path):
    other = ConsoleHub(tmp_path / "other")
    with other.serving(), pytest.raises(FailedPreconditionError, match="this hub follows other keys"):
        publish(client, other.offline, made({"any": version()}))
    assert hub.blobs == {}
    assert other.offline.targets().version == 1


def test_a_copy_of_the_keys_that_is_older_than_the_hub_signs_nothing(hub, client, version, tmp_path):
    copy = shutil.copytree(hub.offline.directory, tmp_path / "copy")
    publish(client, hub.offline, made({"any": version()}))

    with pytest.raises(
        FailedPreconditionError, match="the hub has version 2 of targets.json, and .*copy has version 1"
    ):
        publish(client, OfflineTrust.opened(copy), made({"any": version("other")}, version=3))


def test_verify_finds_a_blob_that_is_wrong_and_one_that_is_gone(hub, client, version):
    publish(client, hub.offline, made({"any": version(labels__txt=b"cat\ndog\n", more__txt=b"more")}))
    first, second, third = sorted(hub.blobs)
    hub.blobs[first] = bytes(len(hub.blobs[first]))
    hub.blobs[second] += b"!"
    del hub.blobs[third]

    found = verify(client, hub.offline, "pets", 2)

    assert [fault.split(" the blob ")[0] for fault in found.faults] == [
        "the hub has other bytes under the name of",
        "the hub has other bytes under the name of",
        "the hub does not have",
    ]


def test_verify_finds_that_the_newest_root_was_not_handed_in(hub, client, version):
    publish(client, hub.offline, made({"any": version()}))
    hub.offline.rotate_root()

    assert verify(client, hub.offline, "pets", 2).faults == (
        "the hub gives out version 1 of the root, and 2 was made here: hand the newest roots in",
    )


def test_verify_refuses_a_hub_with_another_root(hub, client, version, tmp_path):
    publish(client, hub.offline, made({"any": version()}))
    other = OfflineTrust.created(tmp_path / "other", hub.online.public_hex, {"policy.json": b"{}"})
    other.rotate_root()
    (hub.offline.directory / "metadata" / "1.root.json").write_bytes(other.root_files()[0])

    with pytest.raises(PermissionDeniedError, match="not signed by those who may sign it"):
        verify(client, hub.offline, "pets", 2)


def test_the_command_creates_and_verifies(hub, edgewise, version, trust_directory):
    directory = version(labels__txt=b"cat\ndog\n")

    code, out, err = edgewise(
        "release", "create", "pets", "2", "--all", directory, "--trust", trust_directory, "--lineage", "commit=4f9c2"
    )
    assert (code, err) == (0, "")
    assert out == "pets/2: 205 kB sent; signed, in version 2 of targets.json\n"

    code, out, err = edgewise("release", "verify", "pets/2", "--trust", trust_directory)
    assert (code, err) == (0, "")
    assert (
        out == "pets/2: root 1 and targets 2 vouch for its manifest, and all of 2 files (205 kB) are what was signed\n"
    )

    hub.blobs.popitem()
    code, out, err = edgewise("release", "verify", "pets/2", "--trust", trust_directory)
    assert code == 1
    assert "NOT WHOLE" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "pets", "2", "--trust", "T"], "expected --all DIR for every tier, or --cloud DIR and --edge DIR"),
        (["create", "pets", "2", "--all", "A", "--edge", "B", "--trust", "T"], "expected --all DIR for every tier, or"),
        (["create", "../pets", "2", "--all", "A", "--trust", "T"], "MODEL is '../pets', expected up to 128 letters"),
        (["create", "pets", "two", "--all", "A", "--trust", "T"], "found 'two', expected a whole number, 1 or more"),
        (["create", "pets", "2", "--all", "A"], "the following arguments are required: --trust"),
        (["create", "pets", "2", "--all", "A", "--trust", "T", "--lineage", "x"], "found 'x', expected KEY=VALUE"),
        (["show", "pets"], "found 'pets', expected MODEL/VERSION, such as pets/2"),
        (["export", "pets/2"], "the following arguments are required: --out"),
        (["export", "pets/2", "--out", "F", "--tier", "fog"], "invalid choice: 'fog'"),
    ],
)
def test_wrong_arguments_are_named_with_what_would_be_right(edgewise, words, message):
    code, out, err = edgewise("release", *words)

    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
