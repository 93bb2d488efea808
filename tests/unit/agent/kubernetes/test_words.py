"""Answers of the API, logs, Services and models, in words."""

import json

import pytest

from edgewise.agent.kubernetes.api_answers import Asked, failure, one_line
from edgewise.agent.kubernetes.logs import model_reason, reason_in
from edgewise.agent.kubernetes.models import ServedModel, rest_port, served_model, told_model
from edgewise.agent.kubernetes.port import CredentialsError, FieldConflictError, ForbiddenError, RefusedError
from edgewise.agent.kubernetes.services import service_trouble, ways_in

ASKED = Asked("patch", "deployments.apps", "edgewise", "gateway")


def status(message, **more):
    return json.dumps({"kind": "Status", "status": "Failure", "message": message, **more}).encode()


def test_a_missing_permission_names_user_verb_resource_and_namespace():
    body = status(
        'deployments.apps "gateway" is forbidden: User "system:serviceaccount:ci:deployer" cannot patch resource '
        '"deployments" in API group "apps" in the namespace "edgewise"',
        reason="Forbidden",
    )
    error = failure(403, body, ASKED)
    assert isinstance(error, ForbiddenError)
    assert error.message == (
        "not allowed (403): system:serviceaccount:ci:deployer may not patch deployments.apps in namespace edgewise; "
        "a Role that allows it and a RoleBinding for system:serviceaccount:ci:deployer are missing"
    )


def test_a_missing_permission_for_the_whole_cluster_wants_a_clusterrole():
    body = status('namespaces "x" is forbidden: User "ann" cannot get resource "namespaces" in API group ""')
    error = failure(403, body, Asked("get", "namespaces"))
    assert "may not get namespaces in the whole cluster; a ClusterRole" in error.message


def test_a_quota_is_no_missing_permission():
    error = failure(403, status('pods "x" is forbidden: exceeded quota: two-pods'), ASKED)
    assert isinstance(error, RefusedError)
    assert "exceeded quota: two-pods" in error.message


def test_conflicts_name_managers_and_fields():
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-edit" using apps/v1',
            "field": ".spec.replicas",
        },
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm" using apps/v1', "field": ".spec.x"},
    ]
    error = failure(409, status("Apply failed with 2 conflicts", details={"causes": causes}), ASKED)
    assert isinstance(error, FieldConflictError)
    assert [(one.manager, one.field) for one in error.conflicts] == [
        ("helm", ".spec.x"),
        ("kubectl-edit", ".spec.replicas"),
    ]


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (401, status("Unauthorized"), CredentialsError, "does not accept these credentials (401)"),
        (409, status("the object has been modified"), RefusedError, "(409): the object has been modified"),
        (415, b"", RefusedError, "knows no server-side apply"),
        (429, b"", RefusedError, "too much to do"),
        (500, b"<html>oops", RefusedError, "(500): HTTP status 500"),
        (400, b"Client sent an HTTP request to an HTTPS server.\n", RefusedError, "(400): Client sent an HTTP request"),
        (422, status("x is invalid:\n spec.y: Required"), RefusedError, "x is invalid: spec.y: Required"),
    ],
)
def test_refusals_are_told(code, body, kind, words):
    error = failure(code, body, ASKED)
    assert isinstance(error, kind)
    assert words in error.message


def test_lines_are_cut_and_cleaned():
    assert one_line("a\n\tb\x1b[31m c") == "a b [31m c"
    assert len(one_line("x" * 5000)) == 600


# --- logs ---

LOST = (
    "2026-01-01 00:00:00,000 WARNING edgewise.model_server.server: model pets version 2 is END at monotonic 12.3: "
    "model.onnx cannot be read"
)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("a\nb\n\n", "b"),
        ("edgewise: ready rest=http://x\nedgewise: cannot listen on 8501\nbye\n", "cannot listen on 8501"),
        ("edgewise fetch: the checksum is wrong\n", "the checksum is wrong"),
        (LOST, "model pets version 2 FAILED to load: model.onnx cannot be read"),
        ("2026-01-01 00:00:00,000 ERROR edgewise.x: no memory\n12 done\n", "no memory"),
        ("Traceback (most recent call last):\n  File x\nValueError: odd\n", "ValueError: odd"),
        ("edgewise: ready rest=http://x\nlast\n", "last"),
        ("unable to retrieve container logs for containerd://5c7dca", ""),
    ],
)
def test_the_line_that_says_why_is_found(log, words):
    assert reason_in(log) == words


def test_a_version_that_was_loaded_in_the_end_is_no_reason():
    loaded = "2026 INFO edgewise.model_server.server: model pets version 2 is AVAILABLE at monotonic 13.0"
    assert model_reason(f"{LOST}\n{loaded}\n") == ""


# --- models ---


def test_the_model_of_a_pod_is_what_its_environment_names():
    maps = {"s-1": {"data": {"MODEL_NAME": "pets", "MODEL_VERSION": "3"}}}
    by_key = [
        {"name": name, "valueFrom": {"configMapKeyRef": {"name": "s-1", "key": name}}}
        for name in ("MODEL_NAME", "MODEL_VERSION")
    ]
    by_keys = told_model({"spec": {"containers": [], "initContainers": [{"env": by_key}]}}, maps)
    by_map = told_model({"spec": {"containers": [{"envFrom": [{"configMapRef": {"name": "s-1"}}]}]}}, maps)
    plain = told_model({"spec": {"containers": [{"env": [{"name": "MODEL_NAME", "value": "tiny"}]}]}}, {})
    assert (by_keys.name, by_keys.version) == (by_map.name, by_map.version) == ("pets", "3")
    assert (plain.name, plain.version) == ("tiny", "")


def test_the_rest_port_is_the_one_of_that_name():
    ports = [{"name": "grpc", "containerPort": 8500}, {"name": "rest", "containerPort": 8501}]
    assert rest_port({"spec": {"containers": [{"ports": ports}]}}) == 8501
    assert rest_port({"spec": {"containers": [{}]}}) is None


def test_what_a_model_server_says_of_its_versions_is_understood():
    def version(number, state, message=""):
        return {"version": number, "state": state, "status": {"error_code": "OK", "error_message": message}}

    body = json.dumps({"model_version_status": [version("2", "AVAILABLE"), version("3", "END", "truncated")]})
    assert served_model(200, body.encode()) == ServedModel(("2",), "version 3 FAILED to load: truncated")
    assert served_model(404, b'{"error": "no model x"}') == ServedModel((), "no model x")
    assert served_model(200, b"<html>") is None
    assert served_model(503, b"{}") is None


# --- Services ---


def pod(*, ready=True, labels=None, ports=("rest",)):
    return {
        "metadata": {"name": "p", "labels": labels or {"app": "gateway"}},
        "spec": {"containers": [{"ports": [{"name": name, "containerPort": 1} for name in ports]}]},
        "status": {"hostIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def service(**spec):
    ports = [{"name": "rest", "port": 8080, "targetPort": "rest", "nodePort": 30080}]
    return {
        "metadata": {"name": "gateway", "namespace": "edgewise"},
        "spec": {"selector": {"app": "gateway"}, "ports": ports, **spec},
    }


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([pod()], ""),
        ([pod(ready=False)], "no endpoints: none of its 1 pod is ready"),
        ([pod(labels={"app": "x"})], "no endpoints: no pod has the labels app=gateway"),
        ([pod(ports=("http",))], "port rest: no container of its pods has a port named rest"),
    ],
)
def test_a_service_says_why_nobody_answers(pods, words):
    assert service_trouble(service(), pods) == words


def test_a_service_without_a_selector_is_left_alone():
    assert service_trouble(service(selector=None), []) == ""


def test_ways_in_are_told_by_type():
    inside = "rest, in the cluster: http://gateway.edgewise.svc:8080"
    assert ways_in(service(type="NodePort"), [pod()]) == ["rest: http://10.0.0.1:30080", inside]
    assert ways_in(service(), [pod()]) == [
        inside,
        "from here: kubectl -n edgewise port-forward service/gateway 8080:8080",
    ]
    balanced = service(type="LoadBalancer") | {"status": {"loadBalancer": {"ingress": [{"ip": "fd00::1"}]}}}
    assert ways_in(balanced, []) == ["rest: http://[fd00::1]:8080", inside]
