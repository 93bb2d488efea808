"""Installing, on a cluster in memory and virtual time."""

import pytest

from edgewise.agent.kubernetes.applyset import PARENT, PART_OF, kinds_of, members_of
from edgewise.agent.kubernetes.installation import InstallOptions, install
from edgewise.agent.kubernetes.model_source import ModelVersion
from edgewise.agent.kubernetes.objects import GroupKind, Ref
from edgewise.agent.kubernetes.port import ClusterLostError, CredentialsError, ForbiddenError, RefusedError
from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from support.fake_cluster import FakeCluster, VirtualSurroundings, roll

DIGEST = "a" * 64


def manifests(*extra):
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "model-server", "namespace": "edgewise", "labels": {}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "model-server"}},
                "template": {
                    "metadata": {"labels": {"app": "model-server"}},
                    "spec": {
                        "containers": [
                            {
                                "name": "model-server",
                                "image": "edgewise-model-server:0.1.0",
                                "envFrom": [{"configMapRef": {"name": "model-source"}}],
                                "ports": [{"name": "rest", "containerPort": 8501}],
                            }
                        ]
                    },
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "model-server", "namespace": "edgewise"},
            "spec": {"selector": {"app": "model-server"}, "ports": [{"name": "rest", "port": 8501}]},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "model-source", "namespace": "edgewise"},
            "data": {"MODEL_URI": "s3://b/1", "MODEL_SHA256": "0" * 64, "MODEL_NAME": "pets", "MODEL_VERSION": "1"},
        },
        *extra,
    ]


EXTRA = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra", "namespace": "edgewise"}, "data": {}}


class Site:
    """A cluster with controllers, and one way to install in it."""

    def __init__(self):
        self.cluster = FakeCluster()
        self.ready = True
        self.revision = 1
        self.around = VirtualSurroundings(self.each_second)

    def each_second(self, now_s):
        if ("Deployment", "edgewise", "model-server") in self.cluster.objects:
            roll(self.cluster, "model-server", ready=self.ready, revision=str(self.revision))

    def install(self, objects=None, **options):
        self.around.lines.clear()
        options = InstallOptions(**{"source": "overlay test", "timeout_s": 30.0, **options})
        return install(self.cluster, objects or manifests(), options, self.around.surroundings())


@pytest.fixture
def site():
    return Site()


def test_everything_is_applied_in_order_and_waited_for(site):
    assert site.install() == 0
    assert list(dict.fromkeys(site.cluster.applied)) == [
        "Namespace/edgewise",
        f"ConfigMap/{PARENT}",
        "ConfigMap/model-source",
        "Service/model-server",
        "Deployment/model-server",
    ]
    assert "Deployment model-server: created" in site.around.lines
    assert "model-source: model pets version 1 from s3://b/1" in site.around.lines
    assert "model-server: 2 of 2 ready" in site.around.lines
    assert site.around.lines[-1].startswith("Service model-server, from here: kubectl -n edgewise port-forward")


def test_again_changes_nothing_and_says_so(site):
    site.install()
    assert site.install() == 0
    assert "applied: 0 created, 0 configured, 4 unchanged" in site.around.lines
    assert not [line for line in site.around.lines if line.endswith((": created", ": configured"))]


def test_a_change_is_told_as_one(site):
    site.install()
    site.revision = 2
    assert site.install(image_tag="0.2.0") == 0
    assert "Deployment model-server: configured" in site.around.lines
    assert "applied: 0 created, 1 configured, 3 unchanged" in site.around.lines


def test_what_this_installation_does_not_hold_is_taken_away_once_it_is_ready(site):
    foreign = {**EXTRA, "metadata": {"name": "foreign", "namespace": "edgewise"}}
    site.install(manifests(EXTRA))
    site.cluster.put(foreign)
    assert site.install() == 0
    assert site.cluster.deleted == ["ConfigMap/extra"]
    assert site.cluster.get("ConfigMap", "foreign") is not None
    assert "ConfigMap extra: taken away, since this installation does not hold it" in site.around.lines


def test_nothing_is_taken_away_before_the_new_is_ready(site):
    site.install(manifests(EXTRA))
    site.ready = False
    site.each_second(0.0)
    assert site.install() == 1
    assert site.cluster.deleted == []
    assert site.cluster.get("ConfigMap", "extra") is not None
    site.ready = True
    assert site.install() == 0
    assert site.cluster.deleted == ["ConfigMap/extra"]


def test_the_configmap_of_pods_that_can_be_rolled_back_to_stays(site):
    site.install()
    site.revision = 2
    assert site.install(model=ModelVersion("s3://b/2", DIGEST, 2)) == 0
    assert "model-source" in site.cluster.names("ConfigMap")
    assert any(line.startswith("kept for undo") and "ConfigMap model-source" in line for line in site.around.lines)
    for key in [key for key in site.cluster.objects if key[2].startswith("model-server-1")]:
        del site.cluster.objects[key]
    assert site.install(model=ModelVersion("s3://b/2", DIGEST, 2)) == 0
    assert "model-source" not in site.cluster.names("ConfigMap")


def test_the_parent_tells_kinds_and_members(site):
    site.install()
    found = site.cluster.get("ConfigMap", PARENT)
    assert kinds_of(found) == {GroupKind("", "ConfigMap"), GroupKind("", "Service"), GroupKind("apps", "Deployment")}
    assert Ref("apps", "Deployment", "edgewise", "model-server") in members_of(found)


def test_unknown_kinds_are_named_before_anything_is_applied(site):
    odd = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "model-server"}}
    with pytest.raises(FailedPreconditionError) as error:
        site.install(manifests(odd))
    assert error.value.message == (
        "nothing was applied: this cluster does not know HorizontalPodAutoscaler model-server: this cluster (v1.20.2) does "
        "not serve HorizontalPodAutoscaler of autoscaling/v2; it has autoscaling/v1; leave out the component autoscaling"
    )
    assert site.cluster.applied == []


def test_conflicts_are_told_with_the_other_manager_before_anything_is_applied(site):
    site.install()
    applied = len(site.cluster.applied)
    site.cluster.owners["Deployment", "edgewise", "model-server"] = {".spec.replicas": "kubectl-edit"}
    with pytest.raises(FailedPreconditionError) as error:
        site.install()
    assert error.value.message == (
        "nothing was applied: Deployment model-server: .spec.replicas is set by 'kubectl-edit' to another value; "
        "--force-conflicts takes it over; if an autoscaler sets it, leave replicas out of the manifests"
    )
    assert len(site.cluster.applied) == applied
    assert site.install(force_conflicts=True) == 0


def test_all_that_is_wrong_is_told_at_once(site):
    site.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise"}})
    site.cluster.fail("patch", "Service", ForbiddenError("may not patch services"))
    site.cluster.fail("patch", "Deployment", RefusedError("spec.x is invalid", 422))
    with pytest.raises(FailedPreconditionError) as error:
        site.install()
    assert error.value.message == (
        "nothing was applied:\n  may not patch services\n  Deployment model-server: spec.x is invalid"
    )
    assert site.cluster.applied == []


def test_what_is_wrong_in_a_new_namespace_leaves_only_the_namespace(site):
    site.cluster.fail("patch", "Service", RefusedError("spec.x is invalid", 422))
    with pytest.raises(
        FailedPreconditionError, match="nothing was applied but Namespace edgewise: Service model-server"
    ):
        site.install()


def test_whoever_may_not_touch_namespaces_installs_in_one_that_is_there(site):
    site.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise"}})
    site.cluster.fail("get", "Namespace", ForbiddenError("may not get namespaces"))
    site.cluster.fail("patch", "Namespace", ForbiddenError("may not patch namespaces"))
    assert site.install() == 0
    assert "Deployment model-server: created" in site.around.lines


def test_objects_of_another_installation_are_left_alone(site):
    site.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise"}})
    site.cluster.put({**EXTRA, "metadata": {**EXTRA["metadata"], "labels": {PART_OF: "applyset-other-v1"}}})
    with pytest.raises(FailedPreconditionError, match="ConfigMap extra: it belongs to another installation"):
        site.install(manifests(EXTRA))


def test_a_namespace_that_is_going_is_waited_for_by_people(site):
    gone = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise", "deletionTimestamp": "x"}}
    site.cluster.put(gone)
    with pytest.raises(FailedPreconditionError, match="namespace edgewise is being deleted"):
        site.install()


def test_a_dry_run_changes_nothing(site):
    site.install(manifests(EXTRA))
    applied = list(site.cluster.applied)
    assert site.install(dry_run=True, image_tag="0.2.0") == 0
    assert site.cluster.applied == applied
    assert site.cluster.deleted == []
    assert "Deployment model-server: would be configured" in site.around.lines
    assert "Service model-server: would be unchanged" in site.around.lines
    assert "ConfigMap extra: would be taken away, since this installation does not hold it" in site.around.lines


def test_a_dry_run_in_a_new_namespace_says_what_it_cannot_check(site):
    assert site.install(dry_run=True) == 0
    assert site.cluster.objects == {}
    assert "Namespace edgewise: would be created" in site.around.lines
    assert any(line.startswith("Service model-server: would be created; not checked") for line in site.around.lines)


def test_the_reason_is_told_once_while_it_waits_and_once_at_the_end(site):
    site.ready = False

    def failing(now_s):
        site.each_second(now_s)
        for key, item in site.cluster.objects.items():
            if key[0] == "Pod":
                item["status"]["initContainerStatuses"] = [
                    {"name": "fetch", "state": {"terminated": {"exitCode": 1}}, "lastState": {}}
                ]
                site.cluster.logs[key[2], "fetch", False] = "edgewise: the checksum is wrong\n"

    site.around.each_second = failing
    assert site.install() == 1
    reason = "pod model-server-1-0 (and 1 more): init container fetch: exit 1: the checksum is wrong"
    assert site.around.lines.count(f"model-server: 0 of 2 ready; {reason}") == 1
    assert f"  Deployment model-server: 0 of 2 ready; {reason}" in site.around.lines
    assert site.around.time_s == 30.0


def test_an_api_server_that_goes_away_while_waiting_is_asked_again(site):
    site.ready = False
    lost = ClusterLostError("no API server")

    def away(now_s):
        site.cluster.down = lost if now_s < 5 else None
        site.ready = True
        if now_s >= 5:
            site.each_second(now_s)

    site.around.each_second = away
    assert site.install() == 0
    assert site.around.lines.count("no API server; trying again") == 1


def test_an_api_server_that_stays_away_is_told_in_the_end(site):
    def away(now_s):
        site.cluster.down = ClusterLostError("no API server")

    site.around.each_second = away
    with pytest.raises(ClusterLostError, match="no API server; whether the installation is ready is not known"):
        site.install()


@pytest.mark.parametrize("error", [ClusterLostError("lost"), CredentialsError("expired")])
def test_a_cluster_that_cannot_be_asked_ends_it_at_once(site, error):
    site.cluster.down = error
    with pytest.raises(EdgewiseError, match=error.message):
        site.install()


def test_without_a_timeout_nothing_is_waited_for_or_taken_away(site):
    site.install(manifests(EXTRA))
    site.ready = False
    assert site.install(timeout_s=0.0) == 0
    assert site.cluster.deleted == []
    assert site.around.lines[-1].startswith("not waiting for readiness")


def test_it_goes_to_the_namespace_that_is_asked_for(site):
    site.around.each_second = lambda _: roll(site.cluster, "model-server", namespace="prod")
    assert site.install(namespace="prod") == 0
    assert ("Deployment", "prod", "model-server") in site.cluster.objects
    assert ("Deployment", "edgewise", "model-server") not in site.cluster.objects
