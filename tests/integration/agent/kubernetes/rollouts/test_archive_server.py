"""Archives over a real socket, fetched as the pods' init container fetches them."""

import http.client
import json
import socket
import threading

import pytest

from edgewise.agent.fetching.fetch import FetchRequest, fetch
from edgewise.agent.fetching.uris import parse_uri
from edgewise.agent.kubernetes.archive_door import archive_path
from edgewise.agent.kubernetes.archive_server import ArchiveServer
from edgewise.agent.kubernetes.version_archive import archive_of
from edgewise.core.errors import FailedPreconditionError, NotFoundError, UnavailableError

FILES = {"model.onnx": bytes(range(256)) * 20_000, "model.toml": b"", "assets/labels.txt": b"cat\ndog\n"}


@pytest.fixture
def models(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "models" / "pets" / "2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "models"


@pytest.fixture
def server(models):
    with ArchiveServer(models) as server:
        server.port = server.start("127.0.0.1", 0)
        yield server


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def fetched(server, directory, sha256, path="/releases/pets/2.tar"):
    uri = parse_uri(f"http://127.0.0.1:{server.port}{path}")
    return fetch(FetchRequest(uri, directory, sha256), lambda _: None)


def test_a_pod_fetches_a_version_as_it_is_on_the_volume(server, models, tmp_path):
    directory = tmp_path / "pod" / "pets" / "2"
    fetched(server, directory, archive_of(models / "pets" / "2").sha256())
    found = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert found == FILES


def test_what_was_changed_on_the_volume_is_not_taken(server, models, tmp_path):
    sha256 = archive_of(models / "pets" / "2").sha256()
    (models / "pets" / "2" / "model.toml").write_bytes(b"#")
    with pytest.raises(FailedPreconditionError, match="wrong checksum"):
        fetched(server, tmp_path / "pod" / "pets" / "2", sha256)
    assert not (tmp_path / "pod" / "pets" / "2").exists()


def test_a_download_goes_on_where_it_broke_off(server, models):
    content = b"".join((archive := archive_of(models / "pets" / "2")).read(0, archive.size_bytes))
    status, headers, body = ask(server, archive_path("pets", 2))
    assert (status, body) == (200, content)
    status, headers, body = ask(server, archive_path("pets", 2), Range="bytes=1000-", If_Range=headers["etag"])
    assert (status, body) == (206, content[1000:])
    assert headers["content-range"] == f"bytes 1000-{len(content) - 1}/{len(content)}"
    status, _, body = ask(server, archive_path("pets", 2), Range="bytes=1000-", If_Range='"another"')
    assert (status, body) == (200, content)
    status, headers, body = ask(server, archive_path("pets", 2), "HEAD")
    assert (status, body, int(headers["content-length"])) == (200, b"", len(content))
    assert ask(server, archive_path("pets", 2), Range=f"bytes={len(content)}-")[0] == 416


@pytest.mark.parametrize(
    "path",
    [
        "/releases/pets/3.tar",
        "/releases/../2.tar",
        "/releases/%2e%2e/2.tar",
        "/releases/.hidden/2.tar",
        "/releases/pets/02.tar",
        "/releases/pets/2.tar/..",
        "/releases/pets",
        "/",
        "/../../etc/passwd",
    ],
)
def test_nothing_else_is_given_out(server, models, path):
    (models / ".hidden" / "2").mkdir(parents=True)
    (models / ".hidden" / "2" / "model.onnx").write_bytes(b"x")
    assert ask(server, path)[0] in {400, 404}


def test_nothing_can_be_put_there(server):
    status, headers, _ = ask(server, archive_path("pets", 2), "PUT")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_missing_version_is_said_to_the_pod(server, tmp_path):
    with pytest.raises(NotFoundError, match="404"):
        fetched(server, tmp_path / "pod" / "pets" / "3", "0" * 64, "/releases/pets/3.tar")


def test_probes_tell_whether_the_agent_works(models):
    works = threading.Event()
    with ArchiveServer(models, works.is_set) as server:
        server.port = server.start("127.0.0.1", 0)
        assert ask(server, "/v2/health/live")[0] == 200
        assert ask(server, "/v2/health/ready")[0] == 503
        works.set()
        status, _, body = ask(server, "/v2/health/ready")
        assert (status, json.loads(body)) == (200, {"ready": True})


def test_many_pods_fetch_at_once(server, models):
    sha256 = archive_of(models / "pets" / "2").sha256()
    failed = []

    def one(number):
        try:
            fetched(server, models.parent / f"pod-{number}" / "pets" / "2", sha256)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_pod_that_goes_away_in_the_middle_harms_nobody(server, models, tmp_path):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /releases/pets/2.tar HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    fetched(server, tmp_path / "pod" / "pets" / "2", archive_of(models / "pets" / "2").sha256())


def test_a_port_that_is_taken_is_said(server, models):
    with pytest.raises(UnavailableError, match="cannot listen on"):
        ArchiveServer(models).start("127.0.0.1", server.port)
