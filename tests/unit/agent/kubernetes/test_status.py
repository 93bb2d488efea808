"""What `edgewise k8s status` shows, of a cluster in memory."""

import json

import pytest

from edgewise.agent.kubernetes.applyset import mark, parent
from edgewise.agent.kubernetes.looking import show, watch
from edgewise.agent.kubernetes.objects import ref_of
from edgewise.agent.kubernetes.port import ClusterLostError, ForbiddenError, PodAnswer
from support.fake_cluster import FakeCluster, VirtualSurroundings, roll


def deployment(name="model-server"):
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "containers": [
                {
                    "name": name,
                    "image": "r.example/edgewise-model-server:0.1.0",
                    "envFrom": [{"configMapRef": {"name": "source"}}],
                    "ports": [{"name": "rest", "containerPort": 8501}],
                }
            ]
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "edgewise", "generation": 1},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


class Site:
    def __init__(self):
        self.cluster = FakeCluster()
        self.around = VirtualSurroundings()
        self.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise"}})
        source = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "source", "namespace": "edgewise"},
            "data": {"MODEL_NAME": "pets", "MODEL_VERSION": "1"},
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "model-server", "namespace": "edgewise"},
            "spec": {
                "selector": {"app": "model-server"},
                "ports": [{"name": "rest", "port": 8501}],
                "clusterIP": "None",
            },
        }
        members = [deployment(), source, service]
        for item in members:
            mark(item, "edgewise")
            self.cluster.put(item)
        refs = [ref_of(item) for item in members]
        self.cluster.put(parent("edgewise", {ref.group_kind for ref in refs}, refs, "0.1.0", "overlay test"))
        roll(self.cluster, "model-server")
        self.answer("1")

    def answer(self, *versions):
        body = {"model_version_status": [{"version": one, "state": "AVAILABLE"} for one in versions]}
        for number in range(2):
            self.cluster.pod_answers[f"model-server-1-{number}"] = PodAnswer(200, json.dumps(body).encode())

    def show(self, **options):
        self.around.lines.clear()
        return show(self.cluster, "edgewise", self.around.surroundings(), **options)


@pytest.fixture
def site():
    return Site()


def test_all_well(site):
    assert site.show() == 0
    assert site.around.text == (
        "namespace edgewise: all well (installed: overlay test; Kubernetes v1.20.2)\n"
        "Deployment model-server: 2 of 2 ready\n"
        "  POD               NODE   READY  RESTARTS  MODEL   IMAGE\n"
        "  model-server-1-0  node1  yes    0         pets 1  r.example/edgewise-model-server:0.1.0\n"
        "  model-server-1-1  node1  yes    0         pets 1  r.example/edgewise-model-server:0.1.0\n"
        "Service model-server: answers"
    )


def test_pods_on_which_a_version_is_tried_are_shown(site):
    main = site.cluster.get("Deployment", "model-server")
    tried = {
        **main,
        "metadata": {
            "name": "model-server-next",
            "namespace": "edgewise",
            "ownerReferences": [{"kind": "Deployment", "name": "model-server", "uid": main["metadata"]["uid"]}],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "model-server-next"}},
            "template": {
                "metadata": {"labels": {"app": "model-server-next"}},
                "spec": main["spec"]["template"]["spec"],
            },
        },
    }
    site.cluster.put(tried)
    roll(site.cluster, "model-server-next", ready=False)
    assert site.show() == 1
    assert "Deployment model-server-next: 0 of 1 ready" in site.around.text


def test_json_holds_the_same(site):
    assert site.show(as_json=True) == 0
    found = json.loads(site.around.text)
    assert found["well"] is True
    assert found["installed"] == "overlay test"
    assert found["workloads"][0]["pods"][0]["serves"] == ["1"]
    assert found["services"] == [{"name": "model-server", "well": True, "trouble": "", "reach": [], "predicts": True}]


def test_nothing_installed_is_not_well():
    around = VirtualSurroundings()
    assert show(FakeCluster(), "edgewise", around.surroundings()) == 1
    assert around.text == "namespace edgewise: nothing of Edgewise is installed here (edgewise k8s install)"


def test_old_pods_that_serve_are_shown_as_such(site):
    roll(site.cluster, "model-server", ready=False, revision="2")
    for key, item in site.cluster.objects.items():
        if key[0] == "Pod" and key[2].startswith("model-server-2"):
            item["status"]["containerStatuses"] = [
                {
                    "name": "model-server",
                    "image": "r.example/edgewise-model-server@sha256:0",
                    "state": {"waiting": {"reason": "ErrImagePull", "message": "x: not found"}},
                }
            ]
    assert site.show() == 1
    lines = site.around.text.splitlines()
    assert lines[0].startswith("namespace edgewise: NOT WELL")
    assert lines[1] == "Deployment model-server: 0 of 2 ready, old pods keep serving: 2 ready"
    assert sum("the registry has no such digest" in line for line in lines) == 2
    assert any("yes, old" in line for line in lines)
    assert lines[-1] == "Service model-server: answers"


def test_a_pod_that_serves_another_version_than_it_was_told_is_named(site):
    site.answer("7")
    assert site.show() == 1
    assert "pod model-server-1-0 serves pets 7 and its ConfigMap says 1" in site.around.text


def test_without_an_answer_the_told_version_is_shown(site):
    site.cluster.pod_answers.clear()
    assert site.show() == 0
    assert "pets 1 (told)" in site.around.text


def test_what_somebody_deleted_is_named(site):
    del site.cluster.objects["ConfigMap", "edgewise", "source"]
    assert site.show() == 1
    assert (
        "note: ConfigMap source of this installation is gone; edgewise k8s install makes it again"
        in site.around.lines[0]
    )


def test_what_may_not_be_read_is_left_out_and_said(site):
    for verb, what in (("list", "Event"), ("list", "Service"), ("get", "pods/proxy"), ("list", "ReplicaSet")):
        site.cluster.fail(verb, what, ForbiddenError(f"may not {verb} {what}"))
    site.show()
    for words in ("may not list Event", "may not list Service", "may not get pods/proxy"):
        assert f"note: {words}" in site.around.text or words in site.around.text


def test_what_cannot_be_done_without_is_an_error(site):
    site.cluster.fail("list", "Pod", ForbiddenError("may not list pods"))
    with pytest.raises(ForbiddenError):
        site.show()


def test_watching_prints_what_changed_and_waits_for_a_cluster_that_is_away(site):
    class EnoughError(Exception):
        pass

    def each(now_s):
        site.cluster.down = ClusterLostError("no API server") if now_s == 2 else None
        if now_s == 4:
            roll(site.cluster, "model-server", ready=False)
        if now_s == 6:
            raise EnoughError

    site.around.each_second = each
    with pytest.raises(EnoughError):
        watch(site.cluster, "edgewise", site.around.surroundings(), as_json=False, every_s=1.0)
    assert [line.strip().splitlines()[0] for line in site.around.lines] == [
        "namespace edgewise: all well (installed: overlay test; Kubernetes v1.20.2)",
        "no API server; trying again",
        "namespace edgewise: all well (installed: overlay test; Kubernetes v1.20.2)",
        "namespace edgewise: NOT WELL (installed: overlay test; Kubernetes v1.20.2)",
    ]
