"""The port over the package `kubernetes`, against a small API server over HTTP."""

import json
import stat
import time

import pytest

from edgewise.agent.kubernetes import api
from edgewise.agent.kubernetes.api import connect
from edgewise.agent.kubernetes.observation import APPS, CONFIG_MAP, NAMESPACE, POD
from edgewise.agent.kubernetes.port import (
    ClusterLostError,
    CredentialsError,
    FieldConflict,
    FieldConflictError,
    ForbiddenError,
    RefusedError,
    Resource,
)
from edgewise.core.errors import InvalidArgumentError
from integration.agent.kubernetes.fake_api_server import FakeApiServer
from support.certificates import Authority
from support.sockets import free_port

ITEM = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "edgewise"}, "data": {"a": "1"}}
MAPS = "/api/v1/namespaces/edgewise/configmaps"


def kubeconfig(directory, server, *, user=None, cluster=None):
    path = directory / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "here",
    }
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def server():
    with FakeApiServer() as server:
        yield server


@pytest.fixture
def cluster(server, tmp_path):
    found = connect(kubeconfig(tmp_path, server.address))
    yield found
    found.close()


def status(message, **more):
    return {"kind": "Status", "status": "Failure", "message": message, **more}


def test_the_token_goes_along(server, cluster):
    server.answers["GET", "/version"] = (200, {"gitVersion": "v1.30.1"})
    assert cluster.version() == "v1.30.1"
    assert server.asked[0].headers["authorization"] == "Bearer secret"
    assert cluster.address == server.address


def test_kinds_are_found_by_version_and_asked_for_once(server, cluster):
    entries = [
        {"name": "deployments", "kind": "Deployment", "namespaced": True},
        {"name": "deployments/status", "kind": "Deployment", "namespaced": True},
    ]
    server.answers["GET", "/apis/apps/v1"] = (200, {"resources": entries})
    expected = (Resource("apps", "v1", "Deployment", "deployments", namespaced=True),)
    assert cluster.resources("apps/v1") == cluster.resources("apps/v1") == expected
    assert len(server.asked) == 1
    assert cluster.resources("nowhere/v1") == ()


def test_versions_of_all_groups_are_listed(server, cluster):
    server.answers["GET", "/api"] = (200, {"versions": ["v1"]})
    server.answers["GET", "/apis"] = (200, {"groups": [{"versions": [{"groupVersion": "apps/v1"}]}]})
    assert cluster.group_versions() == {"v1", "apps/v1"}


def test_an_object_is_read_and_one_that_is_not_there_is_none(server, cluster):
    server.answers["GET", f"{MAPS}/c"] = (200, ITEM)
    assert cluster.read(CONFIG_MAP, "edgewise", "c") == ITEM
    assert cluster.read(CONFIG_MAP, "edgewise", "d") is None
    assert cluster.read(NAMESPACE, "", "edgewise") is None
    assert server.asked[-1].path == "/api/v1/namespaces/edgewise"


def test_lists_come_page_by_page_with_their_kind(server, cluster):
    def page(question, handler):
        if "continue" in question.query:
            return 200, {"items": [{"metadata": {"name": "b"}}], "metadata": {}}
        return 200, {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "more"}}

    server.answers["GET", MAPS] = page
    found = cluster.list(CONFIG_MAP, "edgewise", labels="a=b")
    assert [(item["kind"], item["apiVersion"], item["metadata"]["name"]) for item in found] == [
        ("ConfigMap", "v1", "a"),
        ("ConfigMap", "v1", "b"),
    ]
    assert [question.query["labelSelector"] for question in server.asked] == [["a=b"], ["a=b"]]


def test_server_side_apply_as_the_api_wants_it(server, cluster):
    server.answers["PATCH", f"{MAPS}/c"] = (201, ITEM)
    applied = cluster.apply(CONFIG_MAP, ITEM, dry_run=True, force=True)
    assert applied.created
    assert applied.item == ITEM
    (asked,) = server.asked
    assert asked.headers["content-type"] == "application/apply-patch+yaml"
    assert asked.query == {"fieldManager": ["edgewise"], "force": ["true"], "dryRun": ["All"]}
    assert json.loads(asked.body) == ITEM


def test_a_real_apply_is_no_dry_run(server, cluster):
    server.answers["PATCH", f"{MAPS}/c"] = (200, ITEM)
    assert not cluster.apply(CONFIG_MAP, ITEM).created
    assert server.asked[0].query == {"fieldManager": ["edgewise"], "force": ["false"]}


def test_conflicts_are_read(server, cluster):
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "helm" using v1', "field": ".data.a"}
    server.answers["PATCH", f"{MAPS}/c"] = (409, status("Apply failed", details={"causes": [cause]}))
    with pytest.raises(FieldConflictError) as error:
        cluster.apply(CONFIG_MAP, ITEM)
    assert error.value.conflicts == (FieldConflict("helm", ".data.a"),)


def test_a_workload_is_gone_when_its_pods_are(server, cluster):
    server.answers["DELETE", "/apis/apps/v1/namespaces/edgewise/deployments/d"] = (202, {})
    assert cluster.delete(APPS[0], "edgewise", "d", uid="u-1")
    assert json.loads(server.asked[0].body)["propagationPolicy"] == "Foreground"


def test_a_deletion_names_the_object_that_is_meant(server, cluster):
    server.answers["DELETE", f"{MAPS}/c"] = (200, {"kind": "Status", "status": "Success"})
    assert cluster.delete(CONFIG_MAP, "edgewise", "c", uid="u-1")
    options = json.loads(server.asked[0].body)
    assert options["preconditions"] == {"uid": "u-1"}
    assert options["propagationPolicy"] == "Background"
    server.answers["DELETE", f"{MAPS}/c"] = (409, status("the UID in the precondition does not match"))
    assert not cluster.delete(CONFIG_MAP, "edgewise", "c", uid="u-1")
    assert not cluster.delete(CONFIG_MAP, "edgewise", "gone", uid="u-1")


def test_logs_are_read_in_part_and_are_empty_before_there_is_one(server, cluster):
    path = "/api/v1/namespaces/edgewise/pods/p/log"
    server.answers["GET", path] = (200, b"first\n\xff last\n")
    assert cluster.log("edgewise", "p", "fetch", previous=True, lines=7) == "first\n\ufffd last\n"
    assert server.asked[0].query["tailLines"] == ["7"]
    assert server.asked[0].query["previous"] == ["true"]
    server.answers["GET", path] = (400, status("container fetch is waiting to start"))
    assert cluster.log("edgewise", "p", "fetch", previous=False, lines=7) == ""


def test_pods_are_asked_through_the_proxy(server, cluster):
    server.answers["GET", "/api/v1/namespaces/edgewise/pods/https:p:8501/proxy/v1/models/pets"] = (200, b"{}")
    answer = cluster.ask_pod("edgewise", "p", 8501, "/v1/models/pets", tls=True)
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (401, status("Unauthorized"), CredentialsError, "does not accept these credentials (401)"),
        (
            403,
            status(
                'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "edgewise"'
            ),
            ForbiddenError,
            "ann may not list pods in namespace edgewise; a Role that allows it and a RoleBinding for ann are missing",
        ),
        (500, b"<html>", RefusedError, "refuses list pods (500)"),
        (200, b"<html>", RefusedError, "what answers is no Kubernetes API"),
    ],
)
def test_failures_are_told(server, cluster, code, body, kind, words):
    server.answers["GET", "/api/v1/namespaces/edgewise/pods"] = (code, body)
    with pytest.raises(kind) as error:
        cluster.list(POD, "edgewise")
    assert words in error.value.message
    assert "\n" not in error.value.message


def test_a_server_that_never_answers_is_given_up(server, cluster, monkeypatch):
    monkeypatch.setattr(api, "READ_S", 0.2)
    server.answers["GET", "/version"] = server.hang
    with pytest.raises(ClusterLostError, match="took the call and did not answer within 0.2 s"):
        cluster.version()


def test_a_server_that_drips_is_given_up(server, cluster, monkeypatch):
    monkeypatch.setattr(api, "TOTAL_S", 0.3)
    server.answers["GET", "/version"] = server.drip
    begun_s = time.monotonic()
    with pytest.raises(ClusterLostError, match="did not answer within 0.3 s"):
        cluster.version()
    assert time.monotonic() - begun_s < 10


def test_an_answer_without_end_is_cut(server, cluster, monkeypatch):
    monkeypatch.setattr(api, "MAX_ANSWER_BYTES", 1000)
    server.answers["GET", "/version"] = (200, b" " * 5000)
    with pytest.raises(RefusedError, match="more than 1000 bytes"):
        cluster.version()


def test_a_server_that_is_gone_is_told(tmp_path):
    cluster = connect(kubeconfig(tmp_path, f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(ClusterLostError, match="the connection is refused; is the cluster running"):
        cluster.version()


def test_a_host_without_address_is_told(tmp_path):
    cluster = connect(kubeconfig(tmp_path, "http://cluster.invalid:6443"))
    with pytest.raises(ClusterLostError, match="cannot be found by its name"):
        cluster.version()


def test_a_connection_that_breaks_is_told(server, cluster):
    def hang_up(question, handler):
        handler.close_connection = True
        handler.connection.close()

    server.answers["GET", "/version"] = hang_up
    with pytest.raises(ClusterLostError, match="the connection to the API server at .* broke"):
        cluster.version()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    ours, theirs = Authority(directory, "ours"), Authority(directory, "theirs")
    return {"ours": ours, "theirs": theirs, "server": ours.leaf("server"), "client": theirs.leaf("client")}


def test_tls_with_the_right_authority(certificates, tmp_path):
    with FakeApiServer(*certificates["server"]) as server:
        server.answers["GET", "/version"] = (200, {"gitVersion": "v1.30.1"})
        authority = {"certificate-authority": str(certificates["ours"].certificate)}
        cluster = connect(kubeconfig(tmp_path, server.address, cluster=authority))
        assert cluster.version() == "v1.30.1"
        cluster.close()


def test_a_server_of_another_authority_is_not_trusted(certificates, tmp_path):
    with FakeApiServer(*certificates["server"]) as server:
        authority = {"certificate-authority": str(certificates["theirs"].certificate)}
        cluster = connect(kubeconfig(tmp_path, server.address, cluster=authority))
        with pytest.raises(CredentialsError, match="is not accepted: .*; the kubeconfig's certificate-authority"):
            cluster.version()


def test_a_client_certificate_of_another_authority_is_not_taken(certificates, tmp_path):
    with FakeApiServer(*certificates["server"], client_ca=certificates["ours"].certificate) as server:
        certificate, key = certificates["client"]
        cluster = connect(
            kubeconfig(
                tmp_path,
                server.address,
                cluster={"certificate-authority": str(certificates["ours"].certificate)},
                user={"client-certificate": str(certificate), "client-key": str(key)},
            )
        )
        with pytest.raises(CredentialsError, match="not accept the client certificate of the kubeconfig"):
            cluster.version()


def test_something_that_speaks_no_tls_is_told(server, tmp_path):
    cluster = connect(kubeconfig(tmp_path, server.address.replace("http:", "https:")))
    with pytest.raises(CredentialsError, match="speaks no TLS"):
        cluster.version()


# --- kubeconfigs ---


def test_a_missing_kubeconfig_is_named(tmp_path):
    with pytest.raises(InvalidArgumentError, match=f"no kubeconfig at {tmp_path}/none"):
        connect(f"{tmp_path}/none")


def test_a_missing_context_is_named_with_those_there_are(tmp_path):
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(InvalidArgumentError, match="has no context 'there'; there are: here"):
        connect(path, "there")


@pytest.mark.parametrize(
    "text",
    [
        "not: [a kubeconfig\n",
        "words",
        "- 1",
        "",
        "{}",
        "apiVersion: v1\nkind: Config\n",
        "current-context: here\ncontexts: [{name: here, context: {cluster: c, user: u}}]\nclusters: []\nusers: []\n",
        "current-context: here\ncontexts: 7\nclusters: 7\nusers: 7\n",
    ],
)
def test_a_kubeconfig_that_is_none_is_told_on_one_line(tmp_path, text):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError) as error:
        connect(str(path))
    assert str(path) in error.value.message
    assert "\n" not in error.value.message


def test_a_kubeconfig_that_names_a_missing_certificate_is_told(tmp_path):
    missing = {"certificate-authority": str(tmp_path / "none.pem")}
    with pytest.raises(InvalidArgumentError, match="none.pem"):
        connect(kubeconfig(tmp_path, "https://127.0.0.1:1", cluster=missing))


def _credentials_by(directory, script):
    program = directory / "login"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}
    }


def test_a_program_for_credentials_that_fails_is_told(tmp_path):
    user = _credentials_by(tmp_path, "echo 'your session has ended' >&2; exit 1")
    with pytest.raises((InvalidArgumentError, CredentialsError), match="your session has ended"):
        connect(kubeconfig(tmp_path, "http://127.0.0.1:1", user=user))


def test_a_program_for_credentials_that_never_ends_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "CREDENTIALS_S", 0.3)
    user = _credentials_by(tmp_path, "exec sleep 5")
    with pytest.raises(CredentialsError, match="did not end within 0.3 s"):
        connect(kubeconfig(tmp_path, "http://127.0.0.1:1", user=user))
