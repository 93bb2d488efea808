"""`edgewise hub backup` and `restore`: of a hub that runs, to SQLite and to PostgreSQL, and what sites make of an older one."""

import io
import json
import sqlite3
import stat
import tarfile

import pytest

from support.api_world import joined, opened_word, sha256
from support.captured_samples import picture
from support.control_world import Site, opened
from support.waiting import wait_for

BLOB = b"a file of a release"


@pytest.fixture
def old_and_new(request, postgres):
    """Databases of the hub that is backed up, and of the one that is restored: words for the commands."""

    def words(kind):
        return ("--database", postgres.new_database()) if kind == "postgresql" else ()

    return tuple(map(words, request.param))


def invited(client, name):
    return client.post("/api/v1/enrollments", json={"site": name, "tier": "edge"}).json()["enrollment"]


def settled(client):
    """What a hub says of itself."""
    sites = client.get("/api/v1/sites").json()
    return {
        "sites": [(one["site"], one["labels"], one["generation"]) for one in sites],
        "tokens": client.get("/api/v1/tokens").json(),
        "audit": [one for one in client.get("/api/v1/audit").json() if one["action"] != "blob.put"],
        "samples": client.get("/api/v1/samples").json(),
        "labels": client.get("/api/v1/labels").json(),
        "root": client.get("/tuf/metadata/1.root.json").content,
    }


@pytest.mark.parametrize(
    "old_and_new",
    [("sqlite", "sqlite"), ("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "postgresql")],
    indirect=True,
    ids="-to-".join,
)
def test_a_hub_goes_on_where_its_backup_was_made(edgewise, tmp_path, old_and_new):
    old, new = old_and_new
    token = edgewise.init(*old)
    with edgewise.serving(*old) as hub, hub.client(token) as client:
        site_token = joined(client, invited(client, "a"))
        client.patch("/api/v1/sites/a", json={"labels": {"base64": "eA", "region": "eu"}}).raise_for_status()
        client.put(f"/blobs/sha256/{sha256(BLOB)}", content=BLOB).raise_for_status()
        brought = client.post("/api/v1/samples", params={"label": "dog"}, content=picture(1)).raise_for_status().json()
        before = settled(client)
        out = edgewise("hub", "backup", "hub.backup", "--state", "hub", "--with-blobs", *old)
        assert "holds the hub" in out
        assert settled(client) == before
    assert stat.S_IMODE((tmp_path / "hub.backup").stat().st_mode) == 0o600
    assert "a hub is never restored over another" in edgewise("hub", "restore", "hub.backup", "--state", "hub", code=1)
    assert "there is a file hub.backup already" in edgewise("hub", "backup", "hub.backup", "--state", "hub", code=1)

    edgewise("hub", "restore", "hub.backup", "--state", "restored", *new)
    for key in ("online.key", "desired.key"):
        assert (tmp_path / "restored" / key).read_bytes() == (tmp_path / "hub" / key).read_bytes()
        assert stat.S_IMODE((tmp_path / "restored" / key).stat().st_mode) == 0o600
    with edgewise.serving(*new, state="restored") as hub, hub.client(token) as client:
        assert settled(client) == before
        assert client.get(f"/blobs/sha256/{sha256(BLOB)}").content == BLOB
        assert client.get(f"/api/v1/samples/{brought['id']}/picture").content == picture(1)
        with hub.client(site_token) as site:
            assert site.get("/api/v1/sites/a/desired").status_code == 200
        # New rows are numbered after those that were brought.
        joined(client, invited(client, "b"))
        numbers = [one["number"] for one in client.get("/api/v1/audit").json()]
        assert numbers == sorted(set(numbers), reverse=True)
    if new:
        assert "a hub in the database already" in edgewise(
            "hub", "restore", "hub.backup", "--state", "again", *new, code=1
        )
        assert not (tmp_path / "again").exists()


def test_hub_restored_from_an_older_backup(edgewise, tmp_path):
    """Sites that have seen more than the restored hub knows are gone beyond, and go on following it."""
    token = edgewise.init()
    with edgewise.serving() as hub, hub.client(token) as client:
        word = invited(client, "a")
        site = Site("a", None)
        told = {"token": opened_word(word)["token"], "public_key": site.key.public_hex}
        site_token = client.post("/api/v1/enroll", json=told).json()["site_token"]
        edgewise("hub", "backup", "old.backup", "--state", "hub")
        versions = client.get("/metrics").text
    edgewise("hub", "restore", "old.backup", "--state", "restored")
    with edgewise.serving(state="restored") as hub, hub.client(site_token) as client:
        before = opened(client.get("/api/v1/sites/a/desired").content)
        report = site.sealed(generation=before.generation + 7, trusted={"timestamp": 40, "snapshot": 30, "root": 1})
        assert client.post("/api/v1/sites/a/reports", content=report).status_code == 200
        assert opened(client.get("/api/v1/sites/a/desired").content).generation > before.generation + 7

        def timestamp():
            return json.loads(client.get("/tuf/metadata/timestamp.json").content)["signed"]

        wait_for(lambda: timestamp()["version"] > 40)
        assert timestamp()["meta"]["snapshot.json"]["version"] > 30
    assert 'role="timestamp"} 1.0' in versions


def test_files_that_are_pruned_while_a_backup_is_written_are_left_out(edgewise, tmp_path, monkeypatch):
    from edgewise.hub import backup
    from edgewise.hub.blobs.directory import DirectoryBlobs
    from edgewise.hub.state_directory import StateDirectory

    edgewise.init()
    blobs = DirectoryBlobs(tmp_path / "blobs")
    for content in (b"pruned", b"kept", b""):
        upload = blobs.upload(sha256(content))
        upload.write(content)
        upload.commit()
    real = DirectoryBlobs.names

    def listed(store):
        names = list(real(store))
        store.remove(sha256(b"pruned"), 4e9)
        return iter(names)

    monkeypatch.setattr(DirectoryBlobs, "names", listed)
    file = tmp_path / "hub.backup"
    backup.write_backup(
        file, StateDirectory(edgewise.directory / "hub"), database="", blobs=str(tmp_path / "blobs"), with_blobs=True
    )
    with tarfile.open(file) as tar:
        found = {name: tar.extractfile(name).read() for name in tar.getnames() if name.startswith("blobs/")}
    assert found == {f"blobs/{sha256(content)}": content for content in (b"kept", b"")}


def rewritten(path, change):
    """A backup with some of its files changed."""
    files = {}
    with tarfile.open(path) as tar:
        for member in tar:
            files[member.name] = tar.extractfile(member).read()
    change(files)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _set(name, content):
    return lambda files: files.update({name: content})


def _newer(files):
    head = json.loads(files["backup.json"])
    files["backup.json"] = json.dumps({**head, "revision": "9999"}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("backup.json", b"{}"), "format"),
        (_newer, "newer Edgewise"),
        (_set("state/../../outside", b"x"), "leads out of the directory"),
        (_set("/etc/outside", b"x"), "is absolute"),
        (_set("elsewhere/x", b"x"), "which no backup has"),
        (_set("blobs/" + "0" * 64, b"x"), "nothing was kept"),
        (_set("blobs/x", b"x"), "SHA-256"),
        (_set("tables.jsonl", b"{"), "is no row"),
        (_set("tables.jsonl", b'{"table": "sites", "row": {"name": 5}}\n'), "does not fit the table 'sites'"),
        (_set("tables.jsonl", b'{"table": "nothing", "row": {}}\n'), "does not fit the table 'nothing'"),
        (lambda files: files.pop("backup.json"), "the backup is not JSON"),
    ],
)
def test_backups_that_are_none(edgewise, tmp_path, change, message):
    edgewise.init()
    edgewise("hub", "backup", "hub.backup", "--state", "hub")
    rewritten(tmp_path / "hub.backup", change)
    said = edgewise("hub", "restore", "hub.backup", "--state", "restored", code=1)
    assert message in said
    assert not (tmp_path / "restored").exists()
    assert not (tmp_path.parent / "outside").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "hub-trust", "hub.backup"]


def test_a_backup_that_was_cut_off(edgewise, tmp_path):
    edgewise.init()
    edgewise("hub", "backup", "hub.backup", "--state", "hub")
    content = (tmp_path / "hub.backup").read_bytes()
    for size in (0, 100, len(content) // 2):
        (tmp_path / "hub.backup").write_bytes(content[:size])
        assert "no backup of a hub, or not all of one" in edgewise(
            "hub", "restore", "hub.backup", "--state", "restored", code=1
        )
        assert not (tmp_path / "restored").exists()


def test_a_database_that_is_no_hubs(edgewise, tmp_path):
    edgewise.init()
    sqlite3.connect(tmp_path / "other.sqlite").close()
    said = edgewise("hub", "backup", "b", "--state", "hub", "--database", f"sqlite:///{tmp_path}/other.sqlite", code=1)
    assert "holds no hub" in said
    assert not (tmp_path / "b").exists()
    said = edgewise(
        "hub", "backup", "b", "--state", "hub", "--database", f"sqlite:///{tmp_path}/no/such.sqlite", code=1
    )
    assert "cannot be read" in said
