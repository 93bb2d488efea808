"""Every overlay and every component is built by kustomize, is valid, and keeps the policies."""

import copy
import tempfile
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from e2e.manifests.gateway_configs import config_mistakes
from e2e.manifests.pods import labels_of, selects
from e2e.manifests.policies import POLICIES, old_enough
from e2e.manifests.rendering import MANIFESTS, called, components, of_kind, overlays, render, render_text
from e2e.manifests.schemas import BY_HAND, mistakes_in
from edgewise.agent.kubernetes.canary_deployment import canary_of
from edgewise.agent.kubernetes.release_source import Source

ON_BASE = "resources: [{k8s}/base]\ncomponents: [{k8s}/components/%s]\n"
TOGETHER = "resources: [{k8s}/base]\ncomponents:\n" + "".join(
    f"  - {{k8s}}/components/{name}\n"
    for name in ("autoscaling", "disruption-budget", "network-policy", "monitoring", "canary", "tls")
)
TOGETHER_ELSEWHERE = TOGETHER.replace("base", "overlays/test", 1) + "namespace: elsewhere\n"
ROLLOUTS_TOGETHER = "resources: [{k8s}/overlays/cloud]\ncomponents:\n" + "".join(
    f"  - {{k8s}}/components/{name}\n" for name in ("rollouts", "rollouts/network-policy", "tls", "rollouts/tls")
)
ELSEWHERE = "namespace: elsewhere\nresources: [{k8s}/overlays/%s]\n"

BUILDS = [
    "base",
    *(f"overlay {name}" for name in overlays()),
    *(f"component {name}" for name in components()),
    "every component",
    "every component elsewhere",
    "rollouts with all that goes with them",
    *(f"overlay {name} in another namespace" for name in overlays()),
]


def build(name, folder):
    words = name.split()
    if name == "base":
        return render(MANIFESTS / "base")
    if name == "every component":
        return render_text(folder, TOGETHER)
    if name == "every component elsewhere":
        return render_text(folder, TOGETHER_ELSEWHERE)
    if name == "rollouts with all that goes with them":
        return render_text(folder, ROLLOUTS_TOGETHER + "namespace: elsewhere\n")
    if name.endswith("in another namespace"):
        return render_text(folder, ELSEWHERE % words[1])
    if words[0] == "overlay":
        return render(MANIFESTS / "overlays" / words[1])
    return render_text(folder, ON_BASE % words[1])


@pytest.fixture(scope="module", params=BUILDS)
def built(request, tmp_path_factory):
    return request.param, build(request.param, tmp_path_factory.mktemp("overlay"))


def test_is_valid_by_the_current_schemas(built):
    name, objects = built
    mistakes = [mistake for item in objects if (mistake := mistakes_in(item))]
    assert not mistakes, "\n".join(mistakes)
    by_hand = sorted(item["kind"] for item in objects if item["kind"] in BY_HAND)
    note = f"; checked by our own schemas only: {', '.join(by_hand)}" if by_hand else ""
    print(
        f"\n{name}: {len(objects)} objects are valid for Kubernetes {kubernetes_validate.latest_version()}, strict{note}"
    )


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_keeps_the_policy(built, policy):
    _, objects = built
    assert not list(policy(objects))


def test_the_gateway_can_use_its_config(built, tmp_path):
    _, objects = built
    assert not config_mistakes(objects, tmp_path)


def test_is_made_of_what_is_there(built):
    name, objects = built
    kinds = {item["kind"] for item in objects}
    assert {"Namespace", "Deployment", "Service", "ConfigMap", "ServiceAccount", "Role", "RoleBinding"} <= kinds
    if name == "overlay cloud":
        assert {
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
            "NetworkPolicy",
            "PodMonitor",
            "PrometheusRule",
        } <= kinds


def test_cloud_has_three_model_servers_and_two_gateways():
    objects = render(MANIFESTS / "overlays" / "cloud")
    least = {
        item["metadata"]["name"]: item["spec"]["minReplicas"] for item in of_kind(objects, "HorizontalPodAutoscaler")
    }
    assert least == {"model-server": 3, "gateway": 2}


def test_edge_has_one_of_each_and_knows_the_cloud():
    objects = render(MANIFESTS / "overlays" / "edge")
    assert {item["spec"]["replicas"] for item in of_kind(objects, "Deployment")} == {1}
    config = called(objects, "ConfigMap", "gateway-config")["data"]["gateway.toml"]
    assert 'kind = "prefer-edge"' in config
    assert 'tier = "cloud"' in config


def test_the_overlay_test_runs_on_kubernetes_1_20():
    objects = render(MANIFESTS / "overlays" / "test")
    assert not list(old_enough(objects))
    assert called(objects, "Service", "gateway")["spec"]["type"] == "NodePort"


def test_another_model_version_rolls_the_pods_and_nothing_else(tmp_path):
    version = """
resources: [{k8s}/overlays/test]
configMapGenerator:
  - name: model-source
    namespace: edgewise
    behavior: merge
    literals: [MODEL_VERSION=%d]
"""
    before = render_text(tmp_path / "1", version % 1)
    after = render_text(tmp_path / "2", version % 2)
    changed = {
        (item["kind"], item["metadata"]["name"]) for item in after if item not in before and item["kind"] != "ConfigMap"
    }
    assert changed == {("Deployment", "model-server")}
    said = called(after, "ConfigMap", "model-source")
    assert said["data"]["MODEL_VERSION"] == "2"
    assert said["metadata"]["name"] != called(before, "ConfigMap", "model-source")["metadata"]["name"]


def test_another_gateway_config_rolls_the_gateways_and_nothing_else(tmp_path):
    kustomization = """
resources: [{k8s}/base]
configMapGenerator:
  - {name: gateway-config, namespace: edgewise, behavior: merge, files: [gateway.toml]}
"""
    config = '[[site]]\nname = "cloud"\ntier = "cloud"\nrest = "http://model-server:8501"\ndiscover = "dns"\n'
    before = render(MANIFESTS / "base")
    after = render_text(tmp_path, kustomization, {"gateway.toml": config})
    changed = {item["metadata"]["name"] for item in after if item not in before and item["kind"] != "ConfigMap"}
    assert changed == {"gateway"}


def render_rollouts():
    with tempfile.TemporaryDirectory() as folder:
        return render_text(Path(folder) / "overlay", ON_BASE % "rollouts")


def test_the_canary_differs_from_the_stable_pods_by_what_it_is_for(tmp_path):
    objects = render_text(tmp_path, TOGETHER)
    stable = called(objects, "Deployment", "model-server")["spec"]["template"]["spec"]
    canary = copy.deepcopy(called(objects, "Deployment", "model-server-canary")["spec"]["template"]["spec"])
    assert canary != stable
    canary["topologySpreadConstraints"] = stable["topologySpreadConstraints"]
    for ours, theirs in zip(
        [*canary["initContainers"], *canary["containers"]],
        [*stable["initContainers"], *stable["containers"]],
        strict=True,
    ):
        for mine, other in zip(ours["env"], theirs["env"], strict=True):
            if "configMapKeyRef" in mine.get("valueFrom", {}):
                plain = other["valueFrom"]["configMapKeyRef"]["name"].rpartition("-")[0]
                found = mine["valueFrom"]["configMapKeyRef"]
                assert found["name"].startswith(f"{plain}-canary-")
                found["name"] = other["valueFrom"]["configMapKeyRef"]["name"]
    assert canary == stable


def test_pods_that_are_tried_are_behind_the_service_once_they_are_to_answer():
    objects = render_rollouts()
    deployment = called(objects, "Deployment", "model-server")
    service = called(objects, "Service", "model-server")["spec"]["selector"]
    source = Source("fetch-model", {})
    loading = canary_of(
        deployment | {"metadata": {**deployment["metadata"], "uid": "1"}}, source, 1, None, answers=False
    )
    answering = canary_of(
        deployment | {"metadata": {**deployment["metadata"], "uid": "1"}}, source, 1, None, answers=True
    )
    assert not selects(service, labels_of(loading))
    assert selects(service, labels_of(answering))
    for canary in (loading, answering):
        assert not mistakes_in(canary)
        assert not selects(deployment["spec"]["selector"]["matchLabels"], labels_of(canary))
        assert selects(canary["spec"]["selector"]["matchLabels"], labels_of(canary))
        assert not selects(canary["spec"]["selector"]["matchLabels"], labels_of(deployment))


def test_tls_is_spoken_wherever_something_asks(tmp_path):
    objects = render_text(tmp_path, TOGETHER)
    for deployment in of_kind(objects, "Deployment"):
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert "--tls-cert=/etc/edgewise-tls/tls.crt" in container["args"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    for monitor in of_kind(objects, "PodMonitor"):
        assert monitor["spec"]["podMetricsEndpoints"][0]["scheme"] == "https"


def test_images_are_named_by_overlays(tmp_path):
    kustomization = """
resources: [{k8s}/overlays/cloud]
images:
  - {name: edgewise-model-server, newName: registry.example.com/edgewise/model-server, newTag: 1.2.3}
  - {name: edgewise-gateway-kubernetes, newName: registry.example.com/edgewise/gateway, newTag: 1.2.3}
  - {name: edgewise-agent, newName: registry.example.com/edgewise/agent, newTag: 1.2.3}
"""
    text = yaml.safe_dump_all(render_text(tmp_path, kustomization))
    assert "image: edgewise-" not in text
    assert text.count("image: registry.example.com/edgewise/") == 3
