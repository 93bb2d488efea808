"""`edgewise k8s agent` as a process: what it needs, that it becomes a site, and that it ends."""

import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from edgewise.agent.kubernetes.version_archive import archive_of
from integration.agent.kubernetes.fake_api_server import FakeApiServer
from support.site_hub import SiteHub
from support.waiting import WAIT_S


@pytest.fixture
def hub(tmp_path):
    hub = SiteHub(tmp_path / "hub")
    yield hub
    hub.close()


@pytest.fixture
def kubeconfig(tmp_path):
    with FakeApiServer() as server:
        path = tmp_path / "kubeconfig"
        content = {
            "clusters": [{"name": "c", "cluster": {"server": server.address}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "here",
        }
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **content}))
        yield path


def command(tmp_path, kubeconfig, *words):
    state = ["--state", str(tmp_path / "state"), "--kubeconfig", str(kubeconfig), "--listen", "127.0.0.1:0"]
    return [sys.executable, "-m", "edgewise", "k8s", "agent", *state, *words]


def ended(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_without_an_enrolment_it_says_what_is_missing(tmp_path, kubeconfig):
    code, said = ended(*command(tmp_path, kubeconfig, "--enrollment", str(tmp_path / "nothing")))
    assert code == 1
    assert "is no site's, and there is no enrolment in" in said
    code, said = ended(*command(tmp_path, kubeconfig))
    assert code == 1
    assert "is no site's; enrol it first" in said


@pytest.mark.parametrize(
    ("words", "expected", "exit_code"),
    [
        (("--listen", "8602"), "expected HOST:PORT", 2),
        (("--listen", "a:99999"), "expected HOST:PORT", 2),
        (("--archives", "agent:8602"), "--archives: found 'agent:8602', expected a URL", 2),
        (("--rate", "2MB"), "expected a rate such as 2MB/s", 2),
        (("--label", "x"), "expected NAME=VALUE", 2),
        (("--namespace", "Not_One"), "Not_One", 1),
        (("--pods-ca", "/nowhere"), "holds no certificates", 1),
    ],
)
def test_wrong_arguments_are_told_in_words(tmp_path, kubeconfig, hub, words, expected, exit_code):
    (tmp_path / "word").write_text(hub.enrollment())
    code, said = ended(*command(tmp_path, kubeconfig, "--enrollment", str(tmp_path / "word"), *words))
    assert code == exit_code
    assert expected in said


def test_it_becomes_a_site_once_gives_out_archives_and_ends(tmp_path, kubeconfig, hub):
    word = tmp_path / "word"
    word.write_text(hub.enrollment("cluster-1") + "\n")
    version = tmp_path / "state" / "models" / "pets" / "2"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"weights" * 1000)
    for _ in range(2):
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(
                command(tmp_path, kubeconfig, "--enrollment", str(word)), stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            line = process.stdout.readline()
            found = re.fullmatch(rf"edgewise: ready agent=cluster-1 hub={re.escape(hub.url)} archives=(\d+)\n", line)
            assert found, (tmp_path / "log").read_text()
            with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/v2/health/ready", timeout=WAIT_S) as answer:
                assert answer.status == 200
            with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/releases/pets/2.tar", timeout=WAIT_S) as answer:
                archive = archive_of(version)
                assert answer.read() == b"".join(archive.read(0, archive.size_bytes))
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
            process.communicate()
    # The cluster could not be seen all the while: nothing of it is believed, and nothing ends.
    assert "Traceback" not in (tmp_path / "log").read_text()
