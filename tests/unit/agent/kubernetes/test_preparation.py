"""What becomes of manifests before they are applied: order, images, model, namespace, marks."""

import shutil
import subprocess

import pytest

from edgewise.agent.kubernetes.applyset import (
    EDGEWISE,
    MANAGED_BY,
    PART_OF,
    applyset_id,
    kinds_of,
    mark,
    members_of,
    parent,
    prunable,
)
from edgewise.agent.kubernetes.comparison import same
from edgewise.agent.kubernetes.images import image_name, set_images
from edgewise.agent.kubernetes.kinds import resolve, unknown_kinds
from edgewise.agent.kubernetes.manifests import parse_manifests
from edgewise.agent.kubernetes.model_source import ModelVersion, models_said, set_model
from edgewise.agent.kubernetes.name_hashes import config_map_hash, plain_name
from edgewise.agent.kubernetes.namespaces import check_namespace, settle_namespace
from edgewise.agent.kubernetes.objects import GroupKind, Ref, listed, ref_of
from edgewise.agent.kubernetes.order import apply_order, delete_order
from edgewise.agent.kubernetes.ports import say_protocols
from edgewise.agent.kubernetes.resources import newest_first
from edgewise.core.errors import InvalidArgumentError
from support.fake_cluster import FakeCluster

DIGEST = "a" * 64


def config_map(name, data, namespace="edgewise"):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def deployment(name="model-server", *, image="edgewise-model-server:0.1.0", env=(), volumes=(), namespace="edgewise"):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "template": {
                "spec": {
                    "initContainers": [{"name": "fetch", "image": "edgewise-agent:0.1.0", "env": list(env)}],
                    "containers": [{"name": "main", "image": image, "envFrom": [{"configMapRef": {"name": "site"}}]}],
                    "volumes": list(volumes),
                }
            }
        },
    }


# --- order ---


def test_what_others_stand_on_comes_first():
    kinds = [
        "Deployment",
        "HorizontalPodAutoscaler",
        "Service",
        "Role",
        "ConfigMap",
        "Namespace",
        "ServiceAccount",
        "Own",
    ]
    objects = [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}} for kind in kinds]
    assert [item["kind"] for item in apply_order(objects)] == [
        "Namespace",
        "ServiceAccount",
        "ConfigMap",
        "Role",
        "Service",
        "Deployment",
        "Own",
        "HorizontalPodAutoscaler",
    ]
    assert next(ref.kind for ref in delete_order(ref_of(item) for item in objects)) == "HorizontalPodAutoscaler"
    assert [ref.kind for ref in delete_order(ref_of(item) for item in objects)][-1] == "Namespace"


# --- images ---

MOVES = [
    ("edgewise-gateway", {"registry": "r.example/x"}, "r.example/x/edgewise-gateway"),
    ("localhost/edgewise-gateway:0.1.0", {"registry": "r.example:5000"}, "r.example:5000/edgewise-gateway:0.1.0"),
    ("localhost/edgewise-gateway:0.1.0", {"tag": "0.2.0"}, "localhost/edgewise-gateway:0.2.0"),
    ("edgewise-gateway:0.1.0", {"registry": "r.example", "tag": "2"}, "r.example/edgewise-gateway:2"),
    (
        f"old/edgewise-gateway@sha256:{DIGEST}",
        {"registry": "r.example"},
        f"r.example/edgewise-gateway@sha256:{DIGEST}",
    ),
    (f"old/edgewise-gateway@sha256:{DIGEST}", {"tag": "2"}, "old/edgewise-gateway:2"),
    ("docker.io/library/python:3.11", {"registry": "r.example", "tag": "2"}, "docker.io/library/python:3.11"),
    (
        "localhost/edgewise-gateway:1",
        {"references": {"edgewise-gateway": f"r.example/g@sha256:{DIGEST}"}, "tag": "9"},
        f"r.example/g@sha256:{DIGEST}",
    ),
]


@pytest.mark.parametrize(("image", "options", "expected"), MOVES)
def test_images_are_moved(image, options, expected):
    item = deployment(image=image)
    set_images([item], **{"references": {}, **options})
    assert item["spec"]["template"]["spec"]["containers"][0]["image"] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"registry": "https://r.example"}, "--image-registry is 'https://r.example'"),
        ({"tag": "a b"}, "--image-tag is 'a b'"),
        (
            {"references": {"edgewise-agent": "Bad Ref"}},
            "--set-image edgewise-agent=Bad Ref: expected an image reference",
        ),
        (
            {"references": {"edgewise-typo": "r.example/x:1"}},
            (
                "--set-image edgewise-typo: no container has an image of that name; there are edgewise-agent and "
                "edgewise-model-server"
            ),
        ),
    ],
)
def test_wrong_images_are_refused(options, message):
    with pytest.raises(InvalidArgumentError) as error:
        set_images([deployment()], **{"references": {}, **options})
    assert message in error.value.message


def test_the_name_of_an_image_is_its_last_part():
    assert image_name(f"r.example:5000/a/b:1@sha256:{DIGEST}") == "b"


# --- the model ---


def model_objects(name="model-source"):
    data = {"MODEL_URI": "s3://b/1", "MODEL_SHA256": "0" * 64, "MODEL_NAME": "pets", "MODEL_VERSION": "1"}
    env = [{"name": "MODEL_URI", "valueFrom": {"configMapKeyRef": {"name": name, "key": "MODEL_URI"}}}]
    return [config_map(name, data), deployment(env=env)]


def test_another_model_version_is_a_configmap_of_another_name_that_the_pods_read():
    objects = model_objects()
    set_model(objects, ModelVersion("s3://b/2", DIGEST, 2))
    name = objects[0]["metadata"]["name"]
    assert name == f"model-source-{config_map_hash(objects[0])}"
    assert objects[0]["data"] == {
        "MODEL_URI": "s3://b/2",
        "MODEL_SHA256": DIGEST,
        "MODEL_NAME": "pets",
        "MODEL_VERSION": "2",
    }
    fetch = objects[1]["spec"]["template"]["spec"]["initContainers"][0]
    assert fetch["env"][0]["valueFrom"]["configMapKeyRef"]["name"] == name
    assert models_said(objects) == {"model-source": objects[0]["data"]}


def test_a_hash_in_the_name_is_replaced():
    objects = model_objects()
    hashed = f"model-source-{config_map_hash(objects[0])}"
    objects = model_objects(hashed)
    set_model(objects, ModelVersion("s3://b/2", DIGEST, 2, "cats"))
    assert plain_name(objects[0]) == "model-source"
    assert objects[0]["metadata"]["name"] != hashed
    assert objects[0]["data"]["MODEL_NAME"] == "cats"


def test_the_same_version_again_gives_the_same_name():
    names = []
    for _ in range(2):
        objects = model_objects()
        set_model(objects, ModelVersion("s3://b/2", DIGEST, 2))
        names.append(objects[0]["metadata"]["name"])
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("model", "source", "message"),
    [
        (ModelVersion("s3://b", "abc", 2), "model-source", "--model-sha256 is 'abc'; expected 64 hex digits"),
        (ModelVersion(" ", DIGEST, 2), "model-source", "--model-uri is empty"),
        (ModelVersion("s3://b", DIGEST, 2), "canary", "have no ConfigMap canary with MODEL_URI; there is model-source"),
    ],
)
def test_a_wrong_model_is_refused(model, source, message):
    with pytest.raises(InvalidArgumentError) as error:
        set_model(model_objects(), model, source)
    assert message in error.value.message


def test_manifests_without_a_model_say_so():
    with pytest.raises(InvalidArgumentError, match="write the model into an overlay of your own"):
        set_model([deployment()], ModelVersion("s3://b", DIGEST, 2))


@pytest.mark.parametrize(("value", "expected"), [("1", "89g4tffbfk"), ("é", "hdhmth87f5"), ("<", "c67927d5h7")])
def test_name_hashes_are_those_that_kustomize_5_5_gives(value, expected):
    assert config_map_hash(config_map("m", {"A": value})) == expected


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders what this is compared with")
def test_name_hashes_are_those_of_the_kustomize_that_is_here(tmp_path):
    (tmp_path / "kustomization.yaml").write_text(
        "configMapGenerator:\n- name: m\n  literals: ['A=a<b&c>é', 'B=2']\n- name: other\n  files: [blob]\n"
    )
    (tmp_path / "blob").write_bytes(b"\xff\x00\xfe")
    text = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, check=True, text=True).stdout
    objects = parse_manifests(text, "kustomize")
    assert [plain_name(item) for item in objects] == ["m", "other"]


# --- the namespace ---


def moved_objects():
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise"}},
        config_map("gateway-config", {"gateway.toml": 'rest = "http://model-server.edgewise.svc:8501"'}),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "r", "namespace": "edgewise"},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": "edgewise"}],
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "n", "namespace": "edgewise"},
            "spec": {
                "ingress": [
                    {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edgewise"}}}]}
                ]
            },
        },
        deployment(
            env=[{"name": "A", "value": "http://model-store.edgewise.svc.cluster.local:8000"}, {"name": "B"}],
            volumes=[{"name": "c", "configMap": {"name": "gateway-config"}}],
        ),
    ]


def test_everything_that_names_the_namespace_moves():
    objects = moved_objects()
    assert settle_namespace(objects, {1, 2, 3, 4}, "prod") == "prod"
    assert objects[0]["metadata"]["name"] == "prod"
    assert {item["metadata"]["namespace"] for item in objects[1:]} == {"prod"}
    assert objects[1]["data"]["gateway.toml"] == 'rest = "http://model-server.prod.svc:8501"'
    assert objects[2]["subjects"][0]["namespace"] == "prod"
    source = objects[3]["spec"]["ingress"][0]["from"][0]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "prod"}
    env = objects[4]["spec"]["template"]["spec"]["initContainers"][0]["env"]
    assert env[0]["value"] == "http://model-store.prod.svc.cluster.local:8000"


def test_a_configmap_whose_text_moved_gets_the_name_of_its_new_text():
    objects = moved_objects()
    hashed = f"gateway-config-{config_map_hash(objects[1])}"
    objects[1]["metadata"]["name"] = hashed
    objects[4]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] = hashed
    settle_namespace(objects, {1, 2, 3, 4}, "prod")
    name = objects[1]["metadata"]["name"]
    assert name != hashed
    assert plain_name(objects[1]) == "gateway-config"
    assert objects[4]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] == name


def test_only_whole_names_of_namespaces_move():
    objects = [config_map("c", {"a": "x.edgewise.svc y.edgewise.svcs z.edgewise-2.svc .edgewise.svc"})]
    settle_namespace(objects, {0}, "prod")
    assert objects[0]["data"]["a"] == "x.prod.svc y.edgewise.svcs z.edgewise-2.svc .edgewise.svc"


@pytest.mark.parametrize(
    ("named", "wanted", "expected"), [(None, None, "edgewise"), ("a", None, "a"), (None, "b", "b")]
)
def test_the_namespace_is_the_asked_the_named_or_the_usual_one(named, wanted, expected):
    item = config_map("c", {}, namespace=named)
    assert settle_namespace([item], {0}, wanted) == expected
    assert item["metadata"]["namespace"] == expected


def test_several_namespaces_are_refused():
    with pytest.raises(InvalidArgumentError, match="for the namespaces a and b; one installation takes one namespace"):
        settle_namespace([config_map("c", {}, "a"), config_map("c", {}, "b")], {0, 1}, None)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a" * 64, "a/b"])
def test_what_is_no_namespace_is_refused(name):
    with pytest.raises(InvalidArgumentError, match="the namespace is"):
        check_namespace(name)


# --- kinds that the cluster does not know ---


def test_kinds_that_the_cluster_does_not_serve_are_named_with_what_it_has():
    cluster = FakeCluster()
    objects = [
        deployment(),
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "model-server"}},
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "edgewise"}},
    ]
    resources, unknown = resolve(objects, cluster.resources)
    assert [resource and resource.kind for resource in resources] == ["Deployment", None, None]
    assert unknown_kinds(unknown, "v1.20.2", {"autoscaling/v1", "autoscaling/v2beta2", "apps/v1"}) == [
        (
            "HorizontalPodAutoscaler model-server: this cluster (v1.20.2) does not serve HorizontalPodAutoscaler of "
            "autoscaling/v2; it has autoscaling/v1 and autoscaling/v2beta2; leave out the component autoscaling"
        ),
        (
            "PodMonitor edgewise: this cluster (v1.20.2) does not serve PodMonitor of monitoring.coreos.com/v1; it has nothing "
            "of monitoring.coreos.com; install the Prometheus Operator first, or leave out its PodMonitor"
        ),
    ]


def test_kinds_that_the_manifests_bring_are_known():
    objects = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.com"},
            "spec": {"group": "example.com", "names": {"kind": "Thing"}, "scope": "Namespaced"},
        },
        {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}},
    ]
    _, unknown = resolve(objects, FakeCluster().resources)
    assert [item["kind"] for item in unknown] == ["CustomResourceDefinition"]


def test_stable_versions_go_before_betas():
    assert newest_first(["a/v1beta1", "a/v1", "a/v2alpha1", "a/v2", "a/odd"]) == [
        "a/v2",
        "a/v1",
        "a/v1beta1",
        "a/v2alpha1",
        "a/odd",
    ]


# --- marks and what is pruned ---


def test_the_id_of_a_set_is_that_of_the_specification():
    # Computed with another implementation: sha256("edgewise-installation.edgewise.ConfigMap."), base64url without padding.
    assert applyset_id("edgewise").startswith("applyset-")
    assert applyset_id("edgewise").endswith("-v1")
    assert len(applyset_id("edgewise")) <= 63
    assert applyset_id("edgewise") != applyset_id("other")


def test_members_are_marked_and_namespaces_are_not():
    item, namespace = config_map("c", {}), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise"}}
    item["metadata"]["labels"] = {MANAGED_BY: "kustomize"}
    mark(item, "edgewise")
    mark(namespace, "edgewise")
    assert item["metadata"]["labels"] == {MANAGED_BY: EDGEWISE, PART_OF: applyset_id("edgewise")}
    assert PART_OF not in namespace["metadata"]["labels"]


def test_a_parent_tells_what_it_was_told():
    kinds = {GroupKind("", "ConfigMap"), GroupKind("apps", "Deployment")}
    refs = {Ref("apps", "Deployment", "edgewise", "gateway"), Ref("", "ClusterRole", "", "wide")}
    item = parent("edgewise", kinds, refs, "0.1.0", "overlay cloud")
    assert kinds_of(item) == kinds
    assert members_of(item) == refs
    assert kinds_of(None) == set()
    assert members_of({"data": {"objects": "nonsense\nKind noslash\n"}}) == set()


def marked(item, namespace="edgewise"):
    mark(item, namespace)
    return item


def test_only_members_that_nobody_wants_or_uses_are_pruned():
    wanted = marked(config_map("wanted", {}))
    unwanted = marked(config_map("unwanted", {}))
    used = marked(config_map("used", {}))
    foreign = config_map("foreign", {})
    of_another = marked(config_map("of-another", {}), "elsewhere")
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "edgewise", "labels": dict(unwanted["metadata"]["labels"])},
    }
    leaving = marked(config_map("leaving", {}))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    live = [wanted, unwanted, used, foreign, of_another, namespace, leaving]
    old = deployment(volumes=[{"name": "v", "configMap": {"name": "used"}}]) | {"kind": "ReplicaSet"}
    gone, stays = prunable(live, [wanted], "edgewise", [old])
    assert [item["metadata"]["name"] for item in gone] == ["unwanted"]
    assert [item["metadata"]["name"] for item in stays] == ["used"]


# --- small things ---


def test_bookkeeping_is_no_change():
    before = config_map("c", {"a": "1"})
    after = config_map("c", {"a": "1"})
    after["metadata"] |= {"resourceVersion": "2", "managedFields": [{}], "generation": 3}
    after["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "4"}
    after["status"] = {"x": 1}
    assert same(before, after)
    after["data"]["a"] = "2"
    assert not same(before, after)


def test_the_protocol_of_every_port_is_said():
    service = {"kind": "Service", "spec": {"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}}
    say_protocols(service)
    assert [port["protocol"] for port in service["spec"]["ports"]] == ["TCP", "UDP"]
    workload = deployment()
    workload["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 8501}]
    say_protocols(workload)
    assert workload["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] == "TCP"


def test_lists_read_as_sentences():
    assert [listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
