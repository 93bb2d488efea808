"""Uninstalling, on a cluster in memory and virtual time."""

import pytest

from edgewise.agent.kubernetes.applyset import PARENT, mark, parent
from edgewise.agent.kubernetes.objects import GroupKind, ref_of
from edgewise.agent.kubernetes.port import ClusterLostError, ForbiddenError
from edgewise.agent.kubernetes.removal import UninstallOptions, uninstall
from edgewise.core.errors import FailedPreconditionError
from support.fake_cluster import FakeCluster, VirtualSurroundings


def thing(kind, name, api_version="v1", **more):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "edgewise"}, **more}


class Site:
    def __init__(self):
        self.cluster = FakeCluster()
        self.around = VirtualSurroundings()
        self.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgewise"}})

    def installed(self, *, with_parent=True):
        deployment = thing("Deployment", "gateway", "apps/v1", spec={"selector": {"matchLabels": {"app": "gateway"}}})
        members = [deployment, thing("Service", "gateway"), thing("ConfigMap", "config")]
        for item in members:
            mark(item, "edgewise")
            self.cluster.put(item)
        if with_parent:
            refs = [ref_of(item) for item in members]
            kinds = {ref.group_kind for ref in refs} | {GroupKind("example.com", "Gone")}
            self.cluster.put(parent("edgewise", kinds, refs, "0.1.0", "overlay test"))
        return self

    def uninstall(self, **options):
        self.around.lines.clear()
        options = UninstallOptions(**{"namespace": "edgewise", "timeout_s": 10.0, **options})
        return uninstall(self.cluster, options, self.around.surroundings())


@pytest.fixture
def site():
    return Site()


def test_what_was_installed_goes_and_nothing_else(site):
    site.installed().cluster.put(thing("ConfigMap", "foreign"))
    assert site.uninstall() == 0
    assert site.cluster.deleted == ["Deployment/gateway", "Service/gateway", "ConfigMap/config", f"ConfigMap/{PARENT}"]
    assert site.cluster.names("ConfigMap") == ["foreign"]
    assert site.cluster.names("Namespace") == ["edgewise"]
    assert site.around.lines[-1] == "gone: 3 objects"


def test_without_the_parent_the_usual_kinds_are_looked_through(site):
    site.installed(with_parent=False)
    assert site.uninstall() == 0
    assert site.cluster.deleted == ["Deployment/gateway", "Service/gateway", "ConfigMap/config"]


def test_nothing_there_is_no_failure(site):
    assert site.uninstall() == 0
    assert site.around.lines == ["nothing in namespace edgewise was made by edgewise k8s install"]
    assert site.uninstall(namespace="nowhere") == 0
    assert site.around.lines == ["there is no namespace nowhere; nothing to take away"]


def test_what_came_otherwise_is_named_and_stays(site):
    item = thing("Deployment", "gateway", "apps/v1")
    item["metadata"]["labels"] = {"app.kubernetes.io/part-of": "edgewise"}
    site.cluster.put(item)
    assert site.uninstall() == 0
    assert "Deployment gateway came otherwise and stays" in site.around.text
    assert site.cluster.deleted == []


def test_finalizers_that_hold_something_are_named(site):
    site.installed().cluster.held.add("config")
    assert site.uninstall() == 1
    words = "ConfigMap config: the finalizer example.com/hold holds it: whoever set it has to let go"
    assert site.around.lines.count(words) == 1
    assert site.around.lines[-2:] == ["not gone in time:", f"  {words}"]
    assert site.around.time_s == 10.0


def test_an_object_that_is_there_anew_is_not_waited_for(site):
    site.installed().cluster.held.add("config")

    def anew(now_s):
        site.cluster.objects["ConfigMap", "edgewise", "config"]["metadata"]["uid"] = "another"

    site.around.each_second = anew
    assert site.uninstall() == 0


def test_pods_that_still_end_are_counted(site):
    site.installed().cluster.held.add("gateway")
    pod = thing("Pod", "gateway-1")
    pod["metadata"]["labels"] = {"app": "gateway"}
    site.cluster.put(pod)

    def ends(now_s):
        found = site.cluster.objects.get(("Deployment", "edgewise", "gateway"))
        if found:
            found["metadata"]["finalizers"] = ["foregroundDeletion"]
        if now_s >= 3:
            for kind in ("Deployment", "Service"):
                site.cluster.objects.pop((kind, "edgewise", "gateway"), None)

    site.around.each_second = ends
    assert site.uninstall() == 0
    assert site.around.lines.count("Deployment gateway: waits for 1 pod to end") == 1


def test_an_api_server_that_goes_away_is_asked_again(site):
    site.installed().cluster.held.add("config")

    def away(now_s):
        site.cluster.down = ClusterLostError("no API server") if now_s < 4 else None
        if now_s >= 4:
            site.cluster.objects.pop(("ConfigMap", "edgewise", "config"), None)

    site.around.each_second = away
    assert site.uninstall() == 0
    assert site.around.lines.count("no API server; trying again") == 1


def test_the_namespace_goes_too_when_it_is_asked_for(site):
    site.installed()
    assert site.uninstall(delete_namespace=True) == 0
    assert site.cluster.names("Namespace") == []
    assert site.around.lines[-1] == "gone: namespace edgewise"


def test_a_namespace_with_things_of_others_stays(site):
    site.installed()
    site.cluster.put(thing("Secret", "theirs"))
    site.cluster.put(thing("ConfigMap", "kube-root-ca.crt"))
    site.cluster.put(thing("Secret", "default-token", type="kubernetes.io/service-account-token"))
    with pytest.raises(
        FailedPreconditionError, match="did not make: Secret theirs; if all of it may go: kubectl delete"
    ):
        site.uninstall(delete_namespace=True)
    assert site.cluster.names("Namespace") == ["edgewise"]


def test_a_namespace_that_is_held_says_by_what(site):
    site.cluster.held.add("edgewise")

    def condition(now_s):
        site.cluster.objects["Namespace", "", "edgewise"]["status"] = {
            "conditions": [{"type": "NamespaceFinalizersRemaining", "status": "True", "message": "x holds it"}]
        }

    site.around.each_second = condition
    assert site.uninstall(delete_namespace=True) == 1
    assert site.around.lines[-2:] == [
        "Namespace edgewise: x holds it",
        "not gone in time: Namespace edgewise: x holds it",
    ]


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_namespaces_of_the_cluster_itself_stay(site, namespace):
    with pytest.raises(FailedPreconditionError, match="belongs to the cluster itself and stays"):
        site.uninstall(namespace=namespace, delete_namespace=True)


def test_whoever_may_not_look_at_namespaces_uninstalls_all_the_same(site):
    site.installed().cluster.fail("get", "Namespace", ForbiddenError("may not"))
    assert site.uninstall() == 0
    assert "Deployment/gateway" in site.cluster.deleted


def test_without_a_timeout_nothing_is_waited_for(site):
    site.installed().cluster.held.add("config")
    assert site.uninstall(timeout_s=0.0) == 0
    assert site.around.time_s == 0.0
