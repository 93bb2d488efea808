"""An edge node: systemd is the first process of a container, and the units are started as docs/edge-node.md says."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgewise.model_server.building import tiny
from support.site_hub import SiteHub
from support.waiting import wait_for

SERVER = "edgewise-model-server.service"
GATEWAY = "edgewise-gateway.service"
AGENT = "edgewise-agent.service"


TREE = Path(__file__).parents[3]
IMAGE = "localhost/edgewise-test-systemd"
BUILD_TIMEOUT_S = 580
CONTEXT = (
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "hatch_build.py",
    "hot_path.py",
    "services",
    "deploy/systemd",
)


def run(*words, timeout_s=60.0, check=True, **more):
    """What a command printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, **more)
    if check and done.returncode:
        pytest.fail(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Node:
    """A machine in a container, whose first process is systemd."""

    def __init__(self, name):
        self.name = name

    def run(self, *words, timeout_s=60.0, check=True):
        return run("podman", "exec", self.name, *words, timeout_s=timeout_s, check=check)

    def shell(self, line, **more):
        return self.run("sh", "-c", line, **more)

    def show(self, unit, *names):
        lines = self.run("systemctl", "show", *(f"--property={name}" for name in names), unit).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def main_pid(self, unit):
        return int(self.show(unit, "MainPID")["MainPID"])

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def ask(self, path, question=None, port=8080):
        """Status, header fields and JSON of an answer; None where there is none."""
        program = (
            "import json,sys,urllib.request,urllib.error\n"
            "request=urllib.request.Request(sys.argv[1],data=sys.argv[2].encode() or None)\n"
            "try:\n answer=urllib.request.urlopen(request,timeout=10)\n"
            "except urllib.error.HTTPError as error:\n answer=error\n"
            "except OSError:\n print('null'); sys.exit()\n"
            "print(json.dumps([answer.status,{k.lower(): v for k, v in answer.headers.items()},answer.read().decode()]))"
        )
        body = json.dumps(question) if question is not None else ""
        return json.loads(self.run("/opt/edgewise/bin/python", "-c", program, f"http://127.0.0.1:{port}{path}", body))

    def predict(self):
        return self.ask("/v1/models/tiny:predict", {"instances": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]})


@pytest.fixture(scope="module")
def node_image(tmp_path_factory):
    """The image of a node where deploy/systemd/install has run."""
    if shutil.which("podman") is None:
        pytest.skip("there is no podman to run systemd in")
    context = tmp_path_factory.mktemp("node")
    files = run("git", "-C", str(TREE), "ls-files", "--cached", "--others", "--exclude-standard", "-z", *CONTEXT)
    for file in files.split("\0"):
        if file and (TREE / file).is_file():
            (context / "tree" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / file, context / "tree" / file)
    shutil.copy2(TREE / "constraints.txt", context)
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["agent"]]
    (context / "requirements.txt").write_text("\n".join(needed))
    containerfile = Path(__file__).parent / "Containerfile"
    run(
        "podman",
        "build",
        "--quiet",
        "--tag",
        IMAGE,
        "--file",
        str(containerfile),
        str(context),
        timeout_s=BUILD_TIMEOUT_S,
    )
    return IMAGE


@pytest.fixture(scope="module")
def node(node_image, tmp_path_factory):
    name = f"edgewise-test-systemd-{os.getpid()}"
    models = tmp_path_factory.mktemp("models")
    tiny.build(models)
    # The units' own walls are mounts and user namespaces, which take these two; the kernel's settings stay read-only.
    rights = "--cap-add=SYS_ADMIN,SYS_PTRACE"
    run("podman", "run", "--detach", "--rm", "--name", name, "--systemd=always", rights, node_image)
    try:
        made = Node(name)
        wait_for(lambda: made.run("systemctl", "is-system-running", check=False).strip() in {"running", "degraded"})
        run("podman", "cp", str(models / "tiny"), f"{name}:/var/lib/edgewise/models/")
        made.run("chown", "-R", "edgewise:edgewise", "/var/lib/edgewise/models")
        made.run("systemctl", "enable", "--now", "edgewise.target", timeout_s=120)
        yield made
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "0", name], capture_output=True, timeout=60, check=False)


def answers(node):
    found = node.predict()
    return found is not None and found[0] == 200 and found


def test_predictions_are_answered_through_the_gateway(node):
    status, fields, body = wait_for(lambda: answers(node))
    assert status == 200
    assert fields["x-edgewise-site"] == "edge"
    assert len(json.loads(body)["predictions"]) == 1
    assert node.show(SERVER, "ActiveState", "StatusText")["ActiveState"] == "active"
    assert node.show(SERVER, "StatusText")["StatusText"].startswith("ready: rest=http://127.0.0.1:8501")


@pytest.mark.parametrize(("service", "user"), [(SERVER, "edgewise"), (GATEWAY, "edgewise-gateway")])
def test_a_service_has_no_rights_and_sees_nothing_to_write_to(node, service, user):
    wait_for(lambda: answers(node))
    pid = node.main_pid(service)
    status = dict(line.split(":\t", 1) for line in node.shell(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert status["CapEff"] == status["CapBnd"] == "0" * 16
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert node.shell(f"ps -o user= -p {pid} 2>/dev/null || stat -c %U /proc/{pid}").strip() == user
    mounts = [line.split() for line in node.shell(f"cat /proc/{pid}/mounts").splitlines()]
    writable = {place for _, place, kind, options, *_ in mounts if "rw" in options.split(",") and kind != "proc"}
    assert "/" not in writable
    assert "/var/lib" not in writable
    assert not any(place.startswith(("/etc", "/opt", "/var/lib", "/home")) for place in writable), writable


@pytest.mark.parametrize("service", [SERVER, GATEWAY])
def test_a_service_that_was_killed_comes_back(node, service):
    wait_for(lambda: answers(node))
    before = node.main_pid(service)
    node.shell(f"kill -9 {before}")
    wait_for(lambda: node.main_pid(service) not in {0, before})
    assert wait_for(lambda: answers(node))


@pytest.mark.parametrize("service", [SERVER, GATEWAY])
def test_a_service_that_hangs_is_ended_by_the_watchdog_with_a_trace_and_comes_back(node, service):
    wait_for(lambda: answers(node))
    before = node.main_pid(service)
    restarts = int(node.show(service, "NRestarts")["NRestarts"])
    node.shell(f"kill -STOP {before}")
    wait_for(lambda: int(node.show(service, "NRestarts")["NRestarts"]) > restarts, timeout_s=60)
    assert wait_for(lambda: answers(node))
    said = node.run("journalctl", "--no-pager", "--output=cat")
    assert f"{service}: Failed with result 'watchdog'" in said
    assert "Fatal Python error: Aborted" in node.journal(service)


def test_reload_takes_over_a_config_and_keeps_the_old_one_when_it_cannot_be_used(node):
    wait_for(lambda: answers(node))
    pid = node.main_pid(GATEWAY)
    node.shell("printf '[routes.tiny]\\nkind = \"edge-only\"\\n' >> /etc/edgewise/gateway.toml")
    node.run("systemctl", "reload", GATEWAY)
    wait_for(lambda: "the config was read again" in node.show(GATEWAY, "StatusText")["StatusText"])
    node.shell("cp /etc/edgewise/gateway.toml /tmp/good && echo '[[site' >> /etc/edgewise/gateway.toml")
    node.run("systemctl", "reload", GATEWAY)
    wait_for(lambda: "the config that was in force stays so" in node.show(GATEWAY, "StatusText")["StatusText"])
    assert node.show(GATEWAY, "ActiveState")["ActiveState"] == "active"
    assert answers(node)
    node.shell("cat /tmp/good > /etc/edgewise/gateway.toml")
    node.run("systemctl", "reload", GATEWAY)
    assert node.main_pid(GATEWAY) == pid


def test_a_worker_that_hangs_is_replaced_and_the_gateway_stays(node):
    node.shell("echo EDGEWISE_WORKERS=2 >> /etc/edgewise/gateway.env")
    node.run("systemctl", "restart", GATEWAY)
    try:
        wait_for(lambda: answers(node))
        parent = node.main_pid(GATEWAY)

        def workers():
            return set(node.shell(f"cat /proc/{parent}/task/{parent}/children").split())

        before = wait_for(lambda: len(workers()) == 2 and workers())
        victim = min(before)
        node.shell(f"kill -STOP {victim}")
        after = wait_for(lambda: len(found := workers()) == 2 and victim not in found and found, timeout_s=60)
        assert len(before & after) == 1
        assert "has hung for" in node.journal(GATEWAY)
        assert node.main_pid(GATEWAY) == parent
        assert wait_for(lambda: answers(node))
    finally:
        node.shell("sed -i /EDGEWISE_WORKERS=2/d /etc/edgewise/gateway.env")
        node.run("systemctl", "restart", GATEWAY)


def test_a_model_that_does_not_load_is_told_and_the_server_lives(node):
    wait_for(lambda: answers(node))
    node.shell(
        "mkdir -p /var/lib/edgewise/models/broken/1 && echo nonsense > /var/lib/edgewise/models/broken/1/model.onnx"
    )
    try:
        node.run("systemctl", "restart", "--no-block", SERVER)
        wait_for(lambda: "model broken version 1 is END: " in node.show(SERVER, "StatusText")["StatusText"])
        assert node.show(SERVER, "ActiveState")["ActiveState"] == "activating"
        # What loads answers meanwhile.
        question = {"instances": [[0.5] * 8]}
        wait_for(lambda: (found := node.ask("/v1/models/tiny:predict", question, port=8501)) and found[0] == 200)
    finally:
        node.shell("rm -r /var/lib/edgewise/models/broken")
    wait_for(lambda: node.show(SERVER, "ActiveState")["ActiveState"] == "active", timeout_s=60)
    assert wait_for(lambda: answers(node))


def test_a_fetched_version_takes_over_by_itself(node, tmp_path):
    if "fetch" not in node.run("/opt/edgewise/bin/edgewise", "--help"):
        pytest.skip("this tree has no `edgewise fetch` yet")
    wait_for(lambda: answers(node))
    tiny.build(tmp_path, version=2)
    run("tar", "--create", "--gzip", f"--file={tmp_path}/tiny-2.tar.gz", f"--directory={tmp_path}/tiny/2", ".")
    run("podman", "cp", f"{tmp_path}/tiny-2.tar.gz", f"{node.name}:/srv/tiny-2.tar.gz")
    digest = node.run("sha256sum", "/srv/tiny-2.tar.gz").split()[0]
    settings = f"MODEL_URI=file:///srv/tiny-2.tar.gz\nMODEL_SHA256={digest}\nMODEL_NAME=tiny\nMODEL_VERSION=2\n"
    node.shell(f"printf '{settings}' > /etc/edgewise/models/tiny-2.env")
    node.run("systemctl", "start", "edgewise-fetch@tiny-2.service", timeout_s=60)
    found = wait_for(lambda: (found := answers(node)) and found[1]["x-edgewise-model-version"] == "2" and found)
    assert found[0] == 200


def test_a_wrong_checksum_is_told_and_changes_nothing(node):
    if "fetch" not in node.run("/opt/edgewise/bin/edgewise", "--help"):
        pytest.skip("this tree has no `edgewise fetch` yet")
    node.shell("echo nonsense > /srv/model.onnx")
    settings = f"MODEL_URI=/srv/model.onnx\nMODEL_SHA256={'0' * 64}\nMODEL_NAME=tiny\nMODEL_VERSION=3\n"
    node.shell(f"printf '{settings}' > /etc/edgewise/models/tiny-3.env")
    node.run("systemctl", "start", "--no-block", "edgewise-fetch@tiny-3.service")
    wait_for(lambda: "0000000" in node.journal("edgewise-fetch@tiny-3.service"))
    node.run("systemctl", "stop", "edgewise-fetch@tiny-3.service")
    assert node.shell("ls /var/lib/edgewise/models/tiny").split() in (["1"], ["1", "2"])
    assert answers(node)


@pytest.fixture
def site(tmp_path):
    """The directory of a site that was enrolled, and whose hub has gone."""
    hub = SiteHub(tmp_path / "hub")
    try:
        edgewise = str(Path(sys.executable).parent / "edgewise")
        run(edgewise, "agent", "enroll", hub.enrollment(), "--state", str(tmp_path / "agent"))
    finally:
        hub.close()
    return tmp_path / "agent"


def test_an_agent_takes_over_what_the_node_serves(node, site):
    wait_for(lambda: answers(node))
    # Nobody's site: there is nothing to start, and nothing has failed.
    node.run("systemctl", "start", AGENT)
    assert node.show(AGENT, "ActiveState", "ConditionResult") == {"ActiveState": "inactive", "ConditionResult": "no"}
    node.run("/usr/src/edgewise/deploy/systemd/install", "--files-only", "--agent")
    run("podman", "cp", f"{site}/.", f"{node.name}:/var/lib/edgewise/agent")
    node.run("chown", "-R", "edgewise-agent:edgewise", "/var/lib/edgewise/agent")
    node.run("systemctl", "enable", "--now", AGENT, timeout_s=60)
    node.run("systemctl", "restart", SERVER, GATEWAY, timeout_s=120)
    # Without its hub it has the model server load what was served before, from its own directory.
    wait_for(lambda: answers(node))
    assert 'name: "tiny"' in node.shell("cat /var/lib/edgewise/agent/models.config")
    said = node.show(AGENT, "ActiveState", "StatusText")
    assert said["ActiveState"] == "active"
    assert said["StatusText"].startswith("site edge-1 of http://127.0.0.1:")
    # The gateway follows what the agent writes, and neither it nor the model server can read the site's key.
    assert node.ask("/edgewise/v1/canaries")[0] == 200
    for user in ("edgewise", "edgewise-gateway"):
        read = f"setpriv --reuid={user} --regid=edgewise --clear-groups cat /var/lib/edgewise/agent"
        node.shell(f"{read}/canaries.json {read.rsplit(maxsplit=1)[-1]}/models.config > /dev/null")
        assert node.shell(f"{read}/site.key 2>&1 || true").endswith("Permission denied\n")
    status = node.shell(f"cat /proc/{node.main_pid(AGENT)}/status")
    assert "CapBnd:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    assert node.shell(f"stat -c %U /proc/{node.main_pid(AGENT)}").strip() == "edgewise-agent"
    node.run("systemctl", "stop", AGENT)
    assert node.show(AGENT, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    # What runs goes on without it.
    node.run("systemctl", "restart", SERVER, timeout_s=120)
    wait_for(lambda: answers(node))


def test_stopping_ends_in_order(node):
    wait_for(lambda: answers(node))
    node.run("systemctl", "stop", "edgewise.target", SERVER, GATEWAY, timeout_s=120)
    for service in (SERVER, GATEWAY):
        found = node.show(service, "ActiveState", "Result", "ExecMainStatus")
        assert found == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
