"""A hub, model versions on a disk, and the command as it is typed."""

import time

import pytest

from edgewise.hub.console.client import HubClient
from edgewise.hub.console.connection import Connection
from edgewise.hub.console.exporting import export
from edgewise.hub.console.publishing import publish
from edgewise.hub.releases.making import make_release
from support.bundle_world import SITE, Site, desired
from support.console_hub import TOKEN, ConsoleHub
from support.trust_world import Clock


@pytest.fixture
def clock():
    """Of the hub, the operator and the site; it stands still until it is moved."""
    return Clock(time.time() // 1.0)


@pytest.fixture
def hub(tmp_path, clock):
    with ConsoleHub(tmp_path / "hub", clock=clock).serving() as serving:
        yield serving


@pytest.fixture
def client(hub):
    with HubClient(Connection(hub.url, TOKEN)) as asking:
        yield asking


@pytest.fixture
def trust_directory(hub):
    return hub.offline.directory


@pytest.fixture
def version(tmp_path):
    """Makes the directory of a version."""

    def make(name="pets/2", model=b"\x08\x07" + bytes(range(256)) * 800, **files):
        directory = tmp_path / "versions" / name
        directory.mkdir(parents=True)
        (directory / "model.onnx").write_bytes(model)
        for file, content in files.items():
            (directory / file.replace("__", ".")).write_bytes(content)
        return directory

    return make


@pytest.fixture
def edgewise(hub, monkeypatch, capsys):
    """Runs the command as it is typed: exit code, standard output, standard error."""
    monkeypatch.setenv("EDGEWISE_HUB", hub.url)
    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    from edgewise.cli import main

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def site(hub, tmp_path, clock):
    return Site(tmp_path / "site", hub.offline.root_files()[0], clock=clock)


@pytest.fixture
def released(hub, client, version):
    directories = {
        "cloud": version("cloud/pets/2", model=b"\x08\x07 cloud"),
        "edge": version("edge/pets/2", labels__txt=b"cat\n"),
    }
    made = make_release("pets", 2, directories, created="2026-11-23T10:00:00Z")
    return publish(client, hub.offline, made).release


@pytest.fixture
def bundle(hub, client, released, tmp_path):
    """Writes one for the site."""

    def make(name="pets-2.bundle", **words):
        hub.wanted.setdefault(SITE, lambda until_s: desired(hub, until_s=until_s))
        out = tmp_path / name
        export(client, hub.offline.root_files()[0], [("pets", 2)], out, **{"tier": "edge", "site": SITE, **words})
        return out

    return make
