"""What S3 and OCI do when the server fails: one that does what it is told answers for both. Real servers: tests/e2e/fetching."""

import json
import os
import signal
import subprocess
import sys

import pytest

from edgewise.agent.fetching.port import TimeLimits
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, PermissionDeniedError, UnavailableError

WAIT_S = 30


@pytest.fixture
def s3(web, version, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    web.content = version.archive
    return "s3://models/pets.tar.gz", version.sha256


@pytest.fixture
def oci(web, version, tools, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    layer = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "size": len(version.archive),
        "digest": f"sha256:{version.sha256}",
    }
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [layer]}
    content = json.dumps(manifest).encode()
    web.files["/v2/my.models/pets/manifests/v1"] = content
    web.files[f"/v2/my.models/pets/blobs/sha256:{version.sha256}"] = version.archive
    return f"oci://127.0.0.1:{web.port}/my.models/pets:v1", tools.sha256(content)


@pytest.fixture(params=["s3", "oci"])
def source(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def arrives(fetches, source, version, tools):
    def arrives(**options):
        fetches(*source, insecure=True, **options)
        assert tools.files_in(fetches.directory) == version.files

    return arrives


def first_of_file(web, source, steps, step):
    """Steps for the file: a registry is asked for the manifest first."""
    web.steps = ([] if source[0].startswith("s3") else [step()]) + steps


def test_whole(arrives):
    arrives()


def test_a_cut_is_resumed(web, source, step, arrives):
    first_of_file(web, source, [step(cut_after_bytes=280_000)], step)
    arrives()
    assert web.asked[-1].headers["Range"].startswith("bytes=2")


def test_a_stall_is_a_cut(web, source, step, arrives, fetches):
    first_of_file(web, source, [step(stall_after_bytes=280_000)], step)
    arrives(limits=TimeLimits(5.0, 0.3))
    assert any("trying again" in line for line in fetches.said)


def test_a_busy_server_is_asked_again(web, source, step, arrives):
    web.steps = [step(status=503), step(status=429), step(), step(status=500)]
    arrives()


def test_a_server_that_ignores_the_range(web, source, step, arrives):
    first_of_file(web, source, [step(cut_after_bytes=280_000), step(ignore_range=True)], step)
    arrives()


def test_it_gives_up(web, source, step, fetches):
    web.steps = [step(status=503)] * 20
    with pytest.raises(UnavailableError, match="the server answered 503.*4 times in a row"):
        fetches(*source, insecure=True)
    fetches.nothing_is_left()


def test_no_permission(web, source, step, fetches):
    web.steps = [step(status=403)] * 20
    with pytest.raises(PermissionDeniedError, match="credentials"):
        fetches(*source, insecure=True)
    fetches.nothing_is_left()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_the_server_is_silent(web, source, step, fetches, how):
    first_of_file(web, source, [step(stall_after_bytes=1000)], step)
    words = (source[0], fetches.directory, "--sha256", source[1], "--insecure")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgewise", "fetch", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert web.stalled.wait(WAIT_S)
        process.send_signal(how)
        _, err = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + how, err
    # The server would have kept silent for as long as the test lasts.
    assert not web.over.is_set()
    fetches.nothing_is_left()


def test_a_layer_is_redirected_to_a_store(web, oci, start_web, step, fetches, version, tools):
    store = start_web()
    store.content = version.archive
    web.steps = [step(), step(status=307, headers={"Location": f"{store.url}/blob"})]
    fetches(*oci, insecure=True)
    assert tools.files_in(fetches.directory) == version.files


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"layers": []}', "has 0 layers"),
        (b'{"layers": {"a": 1}}', "cannot be read"),
        (b'{"layers": [{"mediaType": "x", "size": -1, "digest": "sha256:00"}]}', "cannot be read"),
        (b'{"layers": [{"mediaType": "x", "size": 1, "digest": "sha512:00"}]}', "expected sha256"),
        (b'{"manifests": []}', "an index of several manifests"),
        (b" " * (5 << 20), "longer than 4 MiB"),
    ],
)
def test_manifests_that_are_none(web, oci, fetches, manifest, message):
    web.files["/v2/my.models/pets/manifests/v1"] = manifest
    with pytest.raises(FailedPreconditionError) as caught:
        fetches(oci[0], insecure=True)
    assert message in caught.value.message
    fetches.nothing_is_left()


def test_tokens_are_asked_for_where_the_registry_says(web, oci, step, fetches, version, tools):
    web.files["/token?service=models&scope=pull"] = b'{"token": "abc"}'
    challenge = f'Bearer realm="{web.url}/token",service="models",scope="pull"'
    web.steps = [step(status=401, headers={"Www-Authenticate": challenge})]
    fetches(*oci, insecure=True)
    assert tools.files_in(fetches.directory) == version.files
    assert [asked.headers.get("Authorization") for asked in web.asked] == [None, None, "Bearer abc", "Bearer abc"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"auths": []}', '{"auths": {"127.0.0.1": 5}}'])
def test_a_docker_configuration_that_is_none(web, oci, step, fetches, tmp_path, monkeypatch, content):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(content)
    web.steps = [step(status=401, headers={"Www-Authenticate": 'Basic realm="models"'})]
    with pytest.raises(PermissionDeniedError, match=r"config\.json"):
        fetches(*oci, insecure=True)
    fetches.nothing_is_left()


def test_a_registry_that_asks_in_another_way(web, oci, step, fetches):
    for challenge in ("Negotiate", "", 'Bearer scope="x"', 'Bearer realm="http://["', f'Bearer realm="{web.url}/v2/"'):
        web.steps = [step(status=401, headers={"Www-Authenticate": challenge})] * 9
        with pytest.raises(EdgewiseError) as caught:
            fetches(*oci, insecure=True)
        assert caught.value.message.isprintable()
        fetches.nothing_is_left()
