"""The objects of a rollout: the ConfigMap of a release, the fields that name it, and the second Deployment."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.agent.kubernetes.canary_deployment import (
    DIVISION,
    answers,
    canary_of,
    canary_replicas,
    division_in,
    division_text,
)
from edgewise.agent.kubernetes.release_source import (
    RELEASE,
    Source,
    fields_for,
    release_map,
    source_of,
    template_with,
    told_version,
)
from edgewise.agent.site.port import Division
from edgewise.core.errors import FailedPreconditionError
from support.rollout_cluster import deployment, source_map

MAPS = {"model-source-1": source_map("model-source-1", 1)}
DIVISION_OF = Division(1, 2, 0.1, 0.0, "r1/1.0", 12.5)


@pytest.fixture
def main():
    item = deployment(3)
    item["metadata"]["uid"] = "uid-7"
    return item


def release(main, version=2, model="pets"):
    return release_map(main, model, version, f"http://agent:8602/releases/{model}/{version}.tar", "b" * 64)


def test_the_source_of_the_manifests_is_read(main):
    source = source_of(main["spec"]["template"], "model-server")
    assert source.container == "fetch-model"
    assert set(source.maps.values()) == {"model-source-1"}
    assert told_version(main["spec"]["template"], MAPS) == ("pets", 1)
    assert told_version(main["spec"]["template"], {}) == ("", 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda container: container["env"].pop(),
        lambda container: container.update(env=[{"name": "MODEL_URI", "value": "s3://b/1"}]),
        lambda container: container.pop("env"),
    ],
)
def test_pods_that_are_told_in_another_way_are_refused_in_words(main, spoil):
    spoil(main["spec"]["template"]["spec"]["initContainers"][0])
    with pytest.raises(FailedPreconditionError, match="no init container that reads MODEL_NAME"):
        source_of(main["spec"]["template"], "model-server")


def test_a_release_is_one_configmap_of_its_own_name(main):
    item = release(main)
    assert item["metadata"]["name"].startswith("release-pets-2-")
    assert item["data"] == {
        "MODEL_NAME": "pets",
        "MODEL_VERSION": "2",
        "MODEL_URI": "http://agent:8602/releases/pets/2.tar",
        "MODEL_SHA256": "b" * 64,
    }
    assert release(main)["metadata"]["name"] == item["metadata"]["name"]
    assert release(main, 3)["metadata"]["name"] != item["metadata"]["name"]


@pytest.mark.parametrize("model", ["Pets_V1.large", "_", "é" * 3, "x" * 128])
def test_any_model_has_a_name_that_kubernetes_takes(main, model):
    name = release(main, model=model)["metadata"]["name"]
    assert len(name) <= 63
    assert name.strip("-") == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_two_models_that_are_called_alike_have_two_configmaps(main):
    assert release(main, model="pets_a")["metadata"]["name"] != release(main, model="pets.a")["metadata"]["name"]


def test_only_the_fields_that_name_the_release_are_applied(main):
    source = source_of(main["spec"]["template"], "model-server")
    fields = fields_for(main, Source(source.container, dict.fromkeys(source.maps, "release-pets-2"), "pets/2"))
    template = fields["spec"].pop("template")
    assert fields == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "model-server", "namespace": "edgewise"},
        "spec": {},
    }
    assert template["metadata"] == {"annotations": {RELEASE: "pets/2"}}
    (container,) = template["spec"]["initContainers"]
    assert container.keys() == {"name", "env"}
    assert {one["valueFrom"]["configMapKeyRef"]["name"] for one in container["env"]} == {"release-pets-2"}


def test_going_back_to_the_manifests_source_leaves_no_annotation(main):
    fields = fields_for(main, source_of(main["spec"]["template"], "model-server"))
    assert "metadata" not in fields["spec"]["template"]


def test_the_second_deployment_is_the_first_with_another_source(main):
    before = copy.deepcopy(main)
    source = Source(
        "fetch-model", dict.fromkeys(("MODEL_NAME", "MODEL_VERSION", "MODEL_URI", "MODEL_SHA256"), "r"), "pets/2"
    )
    item = canary_of(main, source, 2, DIVISION_OF, answers=True)
    assert main == before
    assert item["spec"]["replicas"] == 2
    assert item["spec"]["progressDeadlineSeconds"] == 60
    assert item["metadata"]["ownerReferences"][0]["uid"] == "uid-7"
    assert division_in(item) == DIVISION_OF
    pod, other = item["spec"]["template"]["spec"], copy.deepcopy(main["spec"]["template"]["spec"])
    for one in other["initContainers"][0]["env"]:
        one["valueFrom"]["configMapKeyRef"]["name"] = "r"
    selector = pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert selector == {"app.kubernetes.io/name": "model-server-next"}
    selector["app.kubernetes.io/name"] = "model-server"
    assert pod == other


@pytest.mark.parametrize("asked", [False, True])
def test_the_second_deployments_pods_are_found_by_the_service_only_when_they_are_to_answer(main, asked):
    source = source_of(main["spec"]["template"], "model-server")
    item = canary_of(main, source, 1, None, answers=asked)
    labels = item["spec"]["template"]["metadata"]["labels"]
    assert answers(item) is asked
    assert (labels["app.kubernetes.io/component"] == "model-server") is asked
    assert labels["app.kubernetes.io/name"] == "model-server-next"
    assert item["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "model-server-next"}
    assert item["metadata"]["annotations"] == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"old": 1}', '{"wrong": 1}', "7"])
def test_a_division_that_nobody_understands_is_none(main, text):
    main["metadata"]["annotations"] = {DIVISION: text}
    assert division_in(main) is None


def test_a_division_is_read_back(main):
    main["metadata"]["annotations"] = {DIVISION: division_text(DIVISION_OF)}
    assert division_in(main) == DIVISION_OF


@pytest.mark.parametrize(
    ("share", "replicas", "expected"),
    [
        (0.0, 3, 1),
        (0.01, 3, 1),
        (0.1, 3, 1),
        (0.1, 20, 3),
        (0.25, 3, 1),
        (0.5, 3, 3),
        (0.5, 1, 1),
        (0.9, 4, 4),
        (0.1, 0, 1),
        (1.0, 3, 3),
    ],
)
def test_so_many_pods_are_a_share(share, replicas, expected):
    assert canary_replicas(share, replicas) == expected


@given(share=st.floats(0.001, 0.5), replicas=st.integers(1, 200))
def test_the_share_is_reached_and_one_pod_less_would_not_reach_it(share, replicas):
    count = canary_replicas(share, replicas)
    assert count / (count + replicas) >= share - 1e-9
    assert count == 1 or (count - 1) / (count - 1 + replicas) < share


def test_a_template_is_changed_in_a_copy(main):
    before = copy.deepcopy(main["spec"]["template"])
    source = source_of(before, "model-server")
    changed = template_with(
        main["spec"]["template"], Source(source.container, dict.fromkeys(source.maps, "r"), "pets/2")
    )
    assert main["spec"]["template"] == before
    assert set(source_of(changed, "model-server").maps.values()) == {"r"}
    assert changed["metadata"]["annotations"][RELEASE] == "pets/2"
