"""A release in one file: written from a hub, carried, and taken in at a site that believes nothing of it before it was checked."""

import os
import tarfile

import pytest

from edgewise.agent.bundles import BundleSource
from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from edgewise.hub.console.client import HubClient
from edgewise.hub.console.connection import Connection
from edgewise.hub.console.exporting import export
from edgewise.hub.console.publishing import publish
from edgewise.hub.releases.making import make_release
from edgewise.protocols.documents import time_text
from edgewise.trust.keys import SigningKey
from support.bundle_world import SITE, desired, rewritten
from support.console_hub import TOKEN, ConsoleHub
from support.trust_world import DAY_S


def contents(bundle):
    """By name."""
    with tarfile.open(bundle) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def names(bundle):
    with tarfile.open(bundle) as archive:
        return archive.getnames()


def test_a_site_without_a_link_has_all_it_needs(hub, bundle, site, released):
    done = site.take(bundle())

    assert (done.releases, done.blobs, done.generation, done.missing, done.hold) == (("pets/2",), 2, 17, {}, "")
    edge = released.variant("edge").files
    for file in edge:
        assert (site.state.blobs / file.sha256).read_bytes() == hub.blobs[file.sha256]
    assert sorted(path.name for path in site.state.blobs.iterdir()) == sorted(file.sha256 for file in edge)
    # Whoever follows finds it without a hub.
    trusted = site.trusted(BundleSource(site.state.root, frozenset()))
    order = trusted.open_desired(site.state.desired.read_bytes()).orders[0]
    assert trusted.manifest("pets", 2, order.manifest_sha256) == released
    assert not (site.state.root / ".import").exists()


def test_it_can_be_taken_in_again(bundle, site):
    file = bundle()
    before = (site.take(file), site.files())

    assert (site.take(file), site.files()) == before


def test_of_the_same_content_only_what_the_hub_signed_for_the_bundle_differs(bundle):
    first, second = (contents(bundle(name)) for name in "ab")

    assert list(first) == list(second)
    assert [name for name in first if first[name] != second[name]] == ["tuf/metadata/timestamp.json"]


def test_a_bundle_of_all_tiers_holds_every_variant(bundle, released):
    blobs = {file.sha256 for variant in released.variants.values() for file in variant.files}

    assert {name for name in names(bundle(tier=None, site=None)) if name.startswith("blobs/")} == {
        f"blobs/sha256/{sha256}" for sha256 in blobs
    }


def test_a_bundle_without_a_site_brings_no_orders(bundle, site):
    done = site.take(bundle(site=None))

    assert (done.blobs, done.generation) == (2, None)
    assert not site.state.desired.exists()


def test_what_is_not_in_it_is_said(bundle, site):
    assert site.take(bundle(tier="cloud")).missing == {"pets/2": 2}


def test_nothing_is_written_when_the_hub_breaks_off(hub, client, released, tmp_path):
    sha256 = released.variant("edge").files[0].sha256
    hub.blobs[sha256] = hub.blobs[sha256][:-1]
    out = tmp_path / "x.bundle"

    with pytest.raises(EdgewiseError):
        export(client, hub.offline.root_files()[0], [("pets", 2)], out)
    assert [path.name for path in tmp_path.iterdir() if "bundle" in path.name] == []


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ({"releases": [("pets", 3)]}, NotFoundError, "there is no release pets/3; of pets there are 2"),
        ({"tier": "fog"}, NotFoundError, "release pets/2 has no variant for the tier fog; it has cloud, edge"),
        ({"out": "nowhere/x.bundle"}, FailedPreconditionError, "nowhere/x.bundle cannot be written: No such file"),
    ],
)
def test_what_cannot_be_exported_is_said(hub, client, released, tmp_path, words, kind, message):
    out = tmp_path / words.pop("out", "x.bundle")

    with pytest.raises(kind, match=message):
        export(client, hub.offline.root_files()[0], words.pop("releases", [("pets", 2)]), out, **words)


# ---- enemies


def outcomes(site, file, kind, message):
    """Taken in, it is refused with this message, and leaves nothing behind."""
    before = site.files()
    with pytest.raises(kind, match=message):
        site.take(file)
    left = [name for name in site.files() if name not in before and not name.startswith("tuf/")]
    assert left == []
    assert not (site.state.root / ".import").exists()


def test_attack_tampered_blob_in_a_bundle(bundle, site, released):
    sha256 = released.variant("edge").files[0].sha256
    outcomes(site, rewritten(bundle(), {sha256: b"evil"}), PermissionDeniedError, "has other bytes than were signed")


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "blobs/../../evil", "blobs/sha256/../../../evil"])
def test_attack_path_traversal_in_a_bundle(bundle, site, tmp_path, name):
    file = rewritten(bundle(), extra=[(tarfile.TarInfo(name), b"evil")])

    outcomes(site, file, FailedPreconditionError, "which is absolute|which leads out of the directory")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../site.key", "bundle.json"])
def test_attack_link_in_a_bundle(bundle, site, kind, target):
    member = tarfile.TarInfo("blobs/sha256/link")
    member.type, member.linkname = kind, target

    outcomes(site, rewritten(bundle(), extra=[(member, b"")]), FailedPreconditionError, "a link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_attack_device_in_a_bundle(bundle, site, kind):
    member = tarfile.TarInfo("desired.json.device")
    member.type = kind

    outcomes(
        site, rewritten(bundle(), extra=[(member, b"")]), FailedPreconditionError, "expected files and directories"
    )


def test_attack_a_name_twice_in_a_bundle(bundle, site):
    file = rewritten(bundle(), extra=[(tarfile.TarInfo("desired.json"), b"{}")])

    outcomes(site, file, FailedPreconditionError, "holds 'desired.json' twice")


def test_attack_tampered_metadata_in_a_bundle(bundle, site):
    file = rewritten(bundle(), {"targets.json": b'{"signed": {}, "signatures": []}'})

    outcomes(site, file, PermissionDeniedError, "targets.json is refused")


def test_attack_tampered_manifest_in_a_bundle(bundle, site):
    outcomes(site, rewritten(bundle(), {"releases/pets": b"{}"}), PermissionDeniedError, "2.json is refused")


def test_attack_bundle_of_another_hub(site, version, client, tmp_path):
    other = ConsoleHub(tmp_path / "other")
    with other.serving():
        out = tmp_path / "other.bundle"
        with HubClient(Connection(other.url, TOKEN)) as asking:
            publish(asking, other.offline, make_release("pets", 2, {"any": version()}, created="2026-11-23T10:00:00Z"))
            export(asking, other.offline.root_files()[0], [("pets", 2)], out)

    outcomes(site, out, PermissionDeniedError, "is not the one that was pinned at enrolment")


def test_attack_rollback_to_an_older_bundle(hub, client, bundle, site, version):
    old = bundle("old")
    publish(client, hub.offline, make_release("pets", 3, {"any": version("3")}, created="2026-11-24T10:00:00Z"))
    hub.wanted[SITE] = lambda _: desired(hub, generation=18)
    site.take(bundle("new"))

    outcomes(site, old, PermissionDeniedError, "rollback")
    assert site.trusted(None).open_desired(site.state.desired.read_bytes()).generation == 18


def test_attack_older_generation_in_a_bundle(hub, bundle, site):
    site.take(bundle())
    hub.wanted[SITE] = lambda _: desired(hub, generation=16)

    outcomes(site, bundle("older"), PermissionDeniedError, "generation 16, and 17 was followed already")
    assert site.trusted(None).open_desired(site.state.desired.read_bytes()).generation == 17


def test_attack_forged_desired_state_in_a_bundle(hub, bundle, site):
    hub.wanted[SITE] = lambda _: desired(hub, key=SigningKey.generated())

    outcomes(site, bundle(), PermissionDeniedError, "not signed by a key that may sign it")


def test_attack_desired_state_of_another_site(hub, bundle, site):
    hub.wanted[SITE] = lambda _: desired(hub, site="factory-8")
    outcomes(site, bundle(), PermissionDeniedError, "is that of the site 'factory-8', and this is 'factory-7'")

    hub.wanted["factory-8"] = lambda _: desired(hub, site="factory-8")
    outcomes(
        site, bundle(site="factory-8"), PermissionDeniedError, "a bundle for the site factory-8, and this is factory-7"
    )


@pytest.mark.parametrize("lacking", ["timestamp.json", "snapshot.json", "targets.json", "policy.json"])
def test_a_bundle_that_lacks_a_file_is_refused(bundle, site, lacking):
    outcomes(site, rewritten(bundle(), drop=[lacking]), FailedPreconditionError, f"lacks tuf/.*{lacking}, which")


@pytest.mark.parametrize("kept_bytes", [0, 100, 512, 5000, 20000, -12000])
def test_a_bundle_that_was_cut_is_refused(bundle, site, kept_bytes):
    file = bundle()
    with file.open("r+b") as opened:
        opened.truncate(kept_bytes if kept_bytes >= 0 else file.stat().st_size + kept_bytes)

    outcomes(
        site,
        file,
        (FailedPreconditionError, InvalidArgumentError, PermissionDeniedError),
        "truncated|damaged|no bundle",
    )


@pytest.mark.parametrize("content", [b"", b"no archive", b"model = 1\n" * 100, b"\x1f\x8b\x08", os.urandom(4096)])
def test_what_is_no_bundle_is_refused(site, tmp_path, content):
    file = tmp_path / "x"
    file.write_bytes(content)

    outcomes(
        site, file, FailedPreconditionError, "is no bundle of Edgewise; expected what `edgewise release export` wrote"
    )


def test_another_archive_is_no_bundle(site, tmp_path):
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"))

    outcomes(site, file, FailedPreconditionError, "is no bundle of Edgewise: it holds no bundle.json")


def test_a_bundle_that_does_not_fit_on_the_disk_is_refused_before_it_is_unpacked(bundle, site, monkeypatch):
    file = bundle()
    real = os.statvfs

    class Full:
        def __init__(self, path):
            self.f_bavail, self.f_frsize = 1, real(path).f_frsize

    monkeypatch.setattr(os, "statvfs", Full)
    outcomes(site, file, EdgewiseError, "are needed")


# ---- the commands


def test_the_commands_export_and_import(hub, edgewise, released, site, tmp_path):
    hub.wanted[SITE] = lambda _: desired(hub)
    out = tmp_path / "usb.bundle"

    code, said, err = edgewise("release", "export", "pets/2", "--site", SITE, "--tier", "edge", "--out", out)
    assert (code, err) == (0, "")
    assert said.startswith(f"{out}: ")
    assert said.endswith(f", with 2 files; good until {time_text(hub.clock() + 30 * DAY_S)}\n")

    code, said, err = edgewise("release", "import", out, "--state", site.state.root)
    assert (code, err) == (0, "")
    assert said == ("pets/2: 2 files, 204.8 kB\nthe agent, once started, follows generation 17 of what the hub wants\n")

    with site.state.locked():
        code, said, err = edgewise("release", "import", out, "--state", site.state.root)
    assert (code, said) == (1, "")
    assert "another agent works in" in err

    code, said, err = edgewise("release", "import", out, "--state", tmp_path)
    assert (code, said) == (1, "")
    assert "is no agent's directory" in err
    assert not (tmp_path / "tuf").exists()
