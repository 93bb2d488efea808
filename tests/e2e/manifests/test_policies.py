"""The policies find what they are there for: each spoilt system is told of."""

import copy

import pytest

from e2e.manifests import policies
from e2e.manifests.rendering import MANIFESTS, called, of_kind, render
from e2e.manifests.schemas import mistakes_in


@pytest.fixture(scope="module")
def cloud():
    return render(MANIFESTS / "overlays" / "cloud")


def pod(objects, name="model-server"):
    return called(objects, "Deployment", name)["spec"]["template"]["spec"]


def server(objects):
    return pod(objects)["containers"][0]


def account(objects):
    return called(objects, "ServiceAccount", "model-server")


SPOILT = [
    ("restricted", lambda all_: pod(all_)["securityContext"].pop("seccompProfile")),
    ("restricted", lambda all_: pod(all_)["securityContext"].update(runAsUser=0)),
    ("restricted", lambda all_: pod(all_).update(hostNetwork=True)),
    ("restricted", lambda all_: server(all_)["securityContext"].update(readOnlyRootFilesystem=False)),
    ("restricted", lambda all_: pod(all_)["initContainers"][0]["securityContext"].pop("capabilities")),
    ("restricted", lambda all_: pod(all_)["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("restricted", lambda all_: pod(all_)["volumes"].append({"name": "x", "emptyDir": {}})),
    ("tokens", lambda all_: account(all_).pop("automountServiceAccountToken")),
    ("tokens", lambda all_: pod(all_).update(automountServiceAccountToken=True)),
    ("tokens", lambda all_: pod(all_, "gateway").update(automountServiceAccountToken=False)),
    ("tokens", lambda all_: of_kind(all_, "Role")[0]["rules"][0]["verbs"].append("delete")),
    ("tokens", lambda all_: of_kind(all_, "Role")[0]["rules"][0]["resources"].append("secrets")),
    ("tokens", lambda all_: of_kind(all_, "RoleBinding")[0]["subjects"][0].update(namespace="other")),
    ("tokens", lambda all_: of_kind(all_, "Role")[0]["metadata"].update(name="agent")),
    ("probes", lambda all_: server(all_).pop("startupProbe")),
    ("probes", lambda all_: server(all_)["livenessProbe"]["httpGet"].update(path="/v2/health/ready")),
    ("probes", lambda all_: server(all_)["readinessProbe"]["httpGet"].update(port="http")),
    ("resources", lambda all_: server(all_)["resources"]["limits"].pop("memory")),
    ("images", lambda all_: server(all_).update(image="edgewise-model-server")),
    ("images", lambda all_: server(all_).update(image="edgewise-model-server:latest")),
    ("images", lambda all_: server(all_).update(image="registry:5000/edgewise-model-server")),
    ("stopping", lambda all_: pod(all_).update(terminationGracePeriodSeconds=30)),
    ("stopping", lambda all_: server(all_).pop("lifecycle")),
    (
        "stopping",
        lambda all_: called(all_, "Deployment", "gateway")["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0),
    ),
    ("selectors", lambda all_: called(all_, "Service", "gateway")["spec"]["selector"].update(x="y")),
    ("selectors", lambda all_: called(all_, "Service", "gateway")["spec"]["ports"][0].update(targetPort="http")),
    ("selectors", lambda all_: called(all_, "Deployment", "gateway")["spec"].update(replicas=2)),
    (
        "selectors",
        lambda all_: of_kind(all_, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"].update(x="y"),
    ),
    (
        "selectors",
        lambda all_: called(all_, "NetworkPolicy", "gateway")["spec"]["ingress"][0]["ports"][0].update(port="http"),
    ),
    ("contents", lambda all_: called(all_, "ConfigMap", "model-source")["data"].pop("MODEL_SHA256")),
    ("contents", lambda all_: server(all_)["args"].append("--x=$(NOBODY)")),
    ("contents", lambda all_: pod(all_)["volumes"].append({"name": "x", "emptyDir": {"sizeLimit": "1Mi"}})),
    ("identity", lambda all_: called(all_, "Service", "gateway")["metadata"].pop("namespace")),
    ("identity", lambda all_: called(all_, "Service", "gateway")["metadata"]["labels"].clear()),
    ("identity", lambda all_: of_kind(all_, "Namespace")[0]["metadata"]["labels"].popitem()),
    ("old_enough", lambda _: None),
]


@pytest.mark.parametrize(("policy", "spoil"), SPOILT)
def test_a_spoilt_system_is_told_of(cloud, policy, spoil):
    objects = copy.deepcopy(cloud)
    spoil(objects)
    assert list(getattr(policies, policy)(objects))


@pytest.mark.parametrize(
    ("kind", "name", "spoil"),
    [
        ("Deployment", "gateway", lambda item: item["spec"].update(replica=3)),
        ("Deployment", "gateway", lambda item: item["spec"].update(replicas="3")),
        ("HorizontalPodAutoscaler", "gateway", lambda item: item["spec"].pop("maxReplicas")),
        ("PodMonitor", "gateway", lambda item: item["spec"].update(endpoints=[])),
        ("PrometheusRule", "edgewise", lambda item: item["spec"]["groups"][0]["rules"][0].pop("expr")),
    ],
)
def test_what_no_schema_allows_is_told_of(cloud, kind, name, spoil):
    item = copy.deepcopy(called(cloud, kind, name))
    assert not mistakes_in(item)
    spoil(item)
    assert mistakes_in(item)


def test_a_kind_that_no_schema_knows_is_told_of():
    with pytest.raises(AssertionError, match="none of ours"):
        mistakes_in({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}})
