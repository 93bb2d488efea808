"""`edgewise k8s` on a real cluster, with a small workload of its own: the command, not the system that it installs."""

import base64
import json
import re
import subprocess
import sys
import time

import pytest

NAMESPACE = "edgewise-k8s-command"
WRONG_DIGEST = f"sha256:{'0123456789abcdef' * 4}"


class Command:
    """`edgewise k8s` in one namespace.

    Attributes:
        image: that every pod runs; it has Python.
    """

    def __init__(self, cluster, image, directory):
        self.cluster = cluster
        self.image = image
        self.directory = directory

    def run(self, action, *words, kubeconfig=None, code=None):
        environment = self.cluster.environment() | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
        done = subprocess.run(
            [sys.executable, "-m", "edgewise", "k8s", action, "--namespace", NAMESPACE, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=environment,
        )
        output = done.stdout + done.stderr
        print(f"$ edgewise k8s {action} {' '.join(words)}: exit code {done.returncode}\n{output}")
        assert "Traceback" not in output
        assert code is None or done.returncode == code, output
        return output

    def install(self, objects, *words, code=0):
        file = self.directory / "manifests.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        return self.run("install", "--file", str(file), *words, code=code)

    def names(self, kind):
        found = json.loads(self.cluster.kubectl("-n", NAMESPACE, "get", kind, "-o", "json"))["items"]
        return {item["metadata"]["name"] for item in found}

    def manifests(self, *, init="true", data=None, image=None, **container):
        """A Deployment, its Service and the ConfigMap that its pods read."""
        data = {"MODEL_NAME": "pets", "MODEL_VERSION": "1", "MODEL_URI": "/none"} if data is None else data
        env = [
            {"name": key, "valueFrom": {"configMapKeyRef": {"name": "model-source", "key": key}}}
            for key in ("MODEL_NAME", "MODEL_VERSION")
        ]
        main = {
            "name": "model-server",
            "image": image or self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-m", "http.server", "8501", "--directory", "/tmp"],
            "env": env,
            "ports": [{"name": "rest", "containerPort": 8501}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "rest"}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}},
            **container,
        }
        fetch = {"name": "fetch", "image": self.image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", init]}
        metadata = {"name": "model-server", "namespace": NAMESPACE}
        labels = {"app": "model-server"}
        return [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "replicas": 2,
                    "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {
                            "terminationGracePeriodSeconds": 1,
                            "initContainers": [fetch],
                            "containers": [main],
                        },
                    },
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"selector": labels, "ports": [{"name": "rest", "port": 8501}]},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "model-source", "namespace": NAMESPACE},
                "data": data,
            },
        ]


@pytest.fixture(scope="module")
def command(cluster, images, tmp_path_factory):
    _delete_namespace(cluster)
    yield Command(cluster, images["agent"], tmp_path_factory.mktemp("k8s-command"))
    _delete_namespace(cluster)


def _delete_namespace(cluster):
    # A test that ended half-way may have left its finalizer.
    let_go = ("patch", "configmap", "model-source", "--type=merge", "-p", '{"metadata": {"finalizers": []}}')
    cluster.kubectl("-n", NAMESPACE, *let_go, check=False)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=110s")


@pytest.fixture
def good(command):
    """Two pods that are ready."""
    command.install(command.manifests(), "--timeout-s", "60", "--force-conflicts")
    return command


def test_what_changed_is_told_and_what_is_left_over_goes(command):
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"a": "1"}}
    dry = command.install(command.manifests(), "--dry-run")
    assert "Deployment model-server: would be created" in dry
    assert NAMESPACE not in command.cluster.kubectl("get", "namespaces", "-o", "name")

    first = command.install([*command.manifests(), extra], "--timeout-s", "60")
    assert "Deployment model-server: created" in first
    assert "model-server: 2 of 2 ready" in first
    command.cluster.kubectl("-n", NAMESPACE, "create", "configmap", "foreign")

    again = command.install([*command.manifests(), extra], "--timeout-s", "60")
    assert "applied: 0 created, 0 configured, 5 unchanged" in again

    without = command.install(command.manifests(), "--timeout-s", "60")
    assert "ConfigMap extra: taken away" in without
    assert "extra" not in command.names("configmaps")
    assert {"foreign", "model-source"} <= command.names("configmaps")
    command.cluster.kubectl("-n", NAMESPACE, "delete", "configmap", "foreign")


def test_another_model_version_replaces_the_pods_and_can_be_undone(good):
    before = good.names("pods")
    digest = "a" * 64
    words = ("--model-uri", "/else", "--model-sha256", digest, "--model-version", "2", "--timeout-s", "60")
    said = good.install(good.manifests(), *words)
    assert "model-source: model pets version 2 from /else" in said
    assert "kept for undo" in said
    assert not before & {name for name in good.names("pods") if name not in before}
    assert "pets 2" in good.run("status", code=0)
    good.cluster.kubectl("-n", NAMESPACE, "rollout", "undo", "deployment/model-server")
    good.cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/model-server", "--timeout=60s")
    assert "pets 1" in good.run("status")


def test_fields_of_others_are_not_taken_without_being_asked(good):
    patch = '[{"op": "replace", "path": "/spec/replicas", "value": 3}]'
    words = ("patch", "deployment", "model-server", "--type=json", "-p", patch, "--field-manager=somebody")
    good.cluster.kubectl("-n", NAMESPACE, *words)
    said = good.install(good.manifests(), code=1)
    assert "nothing was applied: Deployment model-server: .spec.replicas is set by 'somebody'" in said
    assert "Deployment model-server: configured" in good.install(good.manifests(), "--force-conflicts")


BAD = {
    "wrong image digest": ({"image": f"localhost:1/edgewise-model-server@{WRONG_DIGEST}"}, WRONG_DIGEST),
    "fetch that fails": (
        {"init": "echo 'edgewise: wrong checksum: found 12, expected 34' >&2; exit 1"},
        "init container fetch: exit 1: wrong checksum: found 12, expected 34",
    ),
    # With another command for the init container, since a ConfigMap whose name stays replaces no pod.
    "missing ConfigMap key": (
        {"data": {"MODEL_NAME": "pets"}, "init": "echo"},
        "has no key MODEL_VERSION, which the container needs",
    ),
    "more than any node has": ({"resources": {"requests": {"cpu": "900"}}}, "no node takes it"),
    "probe that fails": (
        {"readinessProbe": {"httpGet": {"path": "/nope", "port": "rest"}, "periodSeconds": 1}},
        "its readiness probe fails: HTTP probe failed with statuscode: 404",
    ),
    "process that ends": (
        {"command": ["sh", "-c", "echo 'edgewise: gateway.toml has no site' >&2; exit 1"]},
        "container model-server: exit 1: gateway.toml has no site",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_status_says_why_and_the_old_pods_serve(good, what):
    changes, words = BAD[what]
    said = good.install(good.manifests(**changes), "--timeout-s", "6", code=1)
    assert words in said
    shown = good.run("status", code=1)
    assert words in shown
    assert "old pods keep serving: 2 ready" in shown
    found = json.loads(good.run("status", "--output", "json", code=1))
    assert found["well"] is False
    assert sum(pod["ready"] for pod in found["workloads"][0]["pods"]) == 2


def test_a_quota_that_is_used_up_is_told(good):
    good.cluster.kubectl("-n", NAMESPACE, "create", "quota", "pods", "--hard=pods=2")
    try:
        said = good.install(good.manifests(init="echo another"), "--timeout-s", "6", code=1)
        assert "a quota of the namespace is used up: pods, requested: pods=1" in said
    finally:
        good.cluster.kubectl("-n", NAMESPACE, "delete", "quota", "pods")


def test_whoever_may_not_is_told_what(good, tmp_path):
    kubectl = good.cluster.kubectl
    kubectl("-n", NAMESPACE, "create", "serviceaccount", "weak")
    kubeconfig = tmp_path / "weak"
    flat = json.loads(kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    flat["users"][0]["user"] = {"token": _token(kubectl)}
    kubeconfig.write_text(json.dumps(flat))
    said = good.run("status", kubeconfig=kubeconfig, code=1)
    assert (
        f"not allowed (403): system:serviceaccount:{NAMESPACE}:weak may not list deployments.apps in namespace {NAMESPACE}; "
        "a Role that allows it" in said
    )
    flat["users"][0]["user"] = {"token": "nonsense"}
    kubeconfig.write_text(json.dumps(flat))
    assert "does not accept these credentials (401)" in good.run("status", kubeconfig=kubeconfig, code=1)
    kubectl("-n", NAMESPACE, "delete", "serviceaccount", "weak")


def _token(kubectl):
    """A token of the ServiceAccount: asked for, or where the cluster is too old for that, from its Secret."""
    asked = kubectl("-n", NAMESPACE, "create", "token", "weak", check=False).strip()
    if asked.count(".") == 2 and " " not in asked:
        return asked
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        account = json.loads(kubectl("-n", NAMESPACE, "get", "serviceaccount", "weak", "-o", "json"))
        for secret in account.get("secrets") or []:
            found = json.loads(kubectl("-n", NAMESPACE, "get", "secret", secret["name"], "-o", "json"))
            if (found.get("data") or {}).get("token"):
                return base64.b64decode(found["data"]["token"]).decode()
    raise AssertionError("the ServiceAccount has got no token")


def test_kinds_that_the_cluster_does_not_know_are_named(good):
    monitor = {"apiVersion": "monitoring.example.com/v1", "kind": "PodMonitor", "metadata": {"name": "edgewise"}}
    said = good.install([*good.manifests(), monitor], code=1)
    assert "nothing was applied: this cluster does not know PodMonitor edgewise" in said
    assert "it has nothing of monitoring.example.com" in said


def test_what_somebody_deleted_is_named(good):
    good.cluster.kubectl("-n", NAMESPACE, "delete", "service", "model-server")
    assert "Service model-server of this installation is gone" in good.run("status", code=1)
    assert "Service model-server: created" in good.install(good.manifests(), "--timeout-s", "60")


def test_everything_goes_and_what_holds_it_is_named(good):
    kubectl = good.cluster.kubectl
    hold = '{"metadata": {"finalizers": ["example.com/hold"]}}'
    kubectl("-n", NAMESPACE, "patch", "configmap", "model-source", "--type=merge", "-p", hold)
    kubectl("-n", NAMESPACE, "create", "configmap", "others")
    said = good.run("uninstall", "--timeout-s", "15", code=1)
    assert "ConfigMap model-source: the finalizer example.com/hold holds it" in said
    held, *others = said.partition("not gone in time:")[2].strip().splitlines()
    assert held.startswith("ConfigMap model-source: the finalizer example.com/hold")
    # A kubelet may take most of a minute to let a pod go whose containers have ended, and the Deployment goes after its last one.
    waits = re.compile(r" +Deployment model-server: (waits for \d pods? to end|is still there)")
    assert all(waits.fullmatch(line) for line in others), said
    kubectl(
        "-n",
        NAMESPACE,
        "patch",
        "configmap",
        "model-source",
        "--type=merge",
        "-p",
        hold.replace('"example.com/hold"', ""),
    )
    refused = good.run("uninstall", "--delete-namespace", code=1)
    assert "stays: it holds what edgewise k8s install did not make: ConfigMap others" in refused
    kubectl("-n", NAMESPACE, "delete", "configmap", "others")
    assert f"gone: namespace {NAMESPACE}" in good.run("uninstall", "--delete-namespace", "--timeout-s", "90", code=0)
    assert f"there is no namespace {NAMESPACE}; nothing to take away" in good.run("uninstall", code=0)
    assert "nothing of Edgewise is installed here" in good.run("status", code=1)
