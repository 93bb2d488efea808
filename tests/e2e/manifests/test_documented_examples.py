"""The examples of docs/kubernetes-manifests.md are built as a reader would build them."""

import re

import pytest

from e2e.manifests.gateway_configs import config_mistakes
from e2e.manifests.policies import POLICIES
from e2e.manifests.rendering import MANIFESTS, called, render_text
from e2e.manifests.schemas import mistakes_in

PAGE = MANIFESTS.parents[1] / "docs" / "kubernetes-manifests.md"
BLOCK = re.compile(r"^```(?:yaml|toml)\n# ([\w-]+)/([\w./]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_CONFIG = '[[site]]\nname = "edge"\ntier = "edge"\nrest = "http://model-server:8501"\ndiscover = "kubernetes"\n'


def examples():
    found = {}
    for folder, file, text in BLOCK.findall(PAGE.read_text()):
        found.setdefault(folder, {})[file] = text
    return found


def test_there_are_examples():
    assert {"my-cluster", "my-edge", "my-patches", "my-canary", "my-secure-canary"} == examples().keys()


@pytest.mark.parametrize("name", examples())
def test_an_example_builds_is_valid_and_keeps_the_policies(name, tmp_path):
    objects = rendered(name, tmp_path)
    found = [mistake for item in objects if (mistake := mistakes_in(item))]
    found += [mistake for policy in POLICIES for mistake in policy(objects)]
    found += config_mistakes(objects, tmp_path)
    assert not found


def rendered(name, folder):
    files = dict(examples()[name])
    kustomization = files.pop("kustomization.yaml").replace("../edgewise/deploy/k8s", "{k8s}")
    assert "{k8s}" in kustomization
    if "- gateway.toml" in kustomization:
        files.setdefault("gateway.toml", OWN_CONFIG)
    return render_text(folder / name, kustomization, files)


def test_an_overlay_of_ones_own_sets_model_site_and_registry(tmp_path):
    objects = rendered("my-cluster", tmp_path)
    assert called(objects, "ConfigMap", "model-source")["data"]["MODEL_VERSION"] == "3"
    assert called(objects, "ConfigMap", "site")["data"] == {"SITE_NAME": "eu-west", "SITE_TIER": "cloud"}
    image = called(objects, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.startswith("registry.example.com/edgewise-gateway-kubernetes:")


def test_a_component_of_ones_own_has_the_last_word(tmp_path):
    objects = rendered("my-canary", tmp_path)
    assert called(objects, "ConfigMap", "model-source-canary")["data"]["MODEL_VERSION"] == "4"
    assert called(objects, "ConfigMap", "model-source")["data"]["MODEL_VERSION"] == "1"
    objects = rendered("my-secure-canary", tmp_path)
    said = called(objects, "ConfigMap", "gateway-config")["data"]["gateway.toml"]
    assert said == examples()["my-secure-canary"]["routes/gateway.toml"]
