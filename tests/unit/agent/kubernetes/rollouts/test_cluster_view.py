"""What one look at a cluster says, in the words of the agent's loop."""

import pytest

from edgewise.agent.kubernetes.cluster_look import look_at
from edgewise.agent.kubernetes.cluster_site import ClusterActuator
from edgewise.agent.kubernetes.cluster_view import view_of
from edgewise.agent.kubernetes.port import ClusterLostError
from edgewise.agent.site.port import Division
from edgewise.core.errors import FailedPreconditionError, UnavailableError
from support.rollout_cluster import Behaviour, RolloutCluster

TENTH = Division(1, 2, 0.1, 0.0, "r/1.0")
ALL = Division(1, 2, 1.0, 0.0, "r/3.0")


@pytest.fixture
def cluster():
    return RolloutCluster()


@pytest.fixture
def actuator(cluster, tmp_path):
    for version in (2, 3):
        (tmp_path / "pets" / str(version)).mkdir(parents=True)
        (tmp_path / "pets" / str(version) / "model.onnx").write_bytes(b"%d" % version)
    return ClusterActuator(
        cluster,
        "edgewise",
        cluster.door,
        archives="http://agent:8602/",
        models=tmp_path,
        now_s=lambda: cluster.now_s,
    )


def test_what_the_manifests_brought_serves(actuator):
    view = actuator.look("pets")
    assert (view.serving, view.meant, view.loaded, view.settled) == (1, 1, frozenset({1}), True)
    assert view.division is None
    assert actuator.models() == ("pets",)


def test_a_version_that_loads_is_coming_and_then_loaded_and_answers_nobody(cluster, actuator):
    actuator.load("pets", 2)
    view = actuator.look("pets")
    assert (view.coming, view.loaded, view.settled) == (frozenset({2}), frozenset({1}), False)
    cluster.settle(10)
    view = actuator.look("pets")
    assert (view.coming, view.loaded, view.settled) == (frozenset(), frozenset({1, 2}), True)
    assert (view.serving, view.division) == (1, None)
    assert cluster.versions() == [1, 1, 1]


def test_a_share_is_in_force_when_its_pods_answer(cluster, actuator):
    actuator.load("pets", 2)
    cluster.settle(10)
    actuator.divide("pets", TENTH)
    view = actuator.look("pets")
    assert (view.division, view.settled) == (TENTH, False)
    cluster.settle(10)
    view = actuator.look("pets")
    assert (view.division, view.settled, view.serving) == (TENTH, True, 1)
    assert cluster.versions() == [1, 1, 1, 2]


def test_pods_are_taken_away_before_their_deployment_is(cluster, actuator):
    actuator.load("pets", 2)
    cluster.settle(10)
    actuator.divide("pets", TENTH)
    cluster.settle(10)
    actuator.divide("pets", None)
    assert cluster.get("Deployment", "model-server-next")["spec"]["replicas"] == 0
    view = actuator.look("pets")
    assert (view.division, view.settled) == (None, False)
    cluster.settle(5)
    assert cluster.versions() == [1, 1, 1]
    assert not actuator.look("pets").settled
    actuator.divide("pets", None)
    assert cluster.names("Deployment") == ["model-server"]
    assert actuator.look("pets").settled


def test_a_version_that_is_on_its_way_out_can_come_back(cluster, actuator):
    actuator.load("pets", 2)
    cluster.settle(10)
    actuator.unload("pets", 2)
    assert 2 not in actuator.look("pets").coming | actuator.look("pets").loaded
    actuator.load("pets", 2)
    assert 2 in actuator.look("pets").coming | actuator.look("pets").loaded
    cluster.settle(10)
    assert actuator.look("pets").loaded == frozenset({1, 2})


def test_a_key_alone_is_noted_and_replaces_no_pod(cluster, actuator):
    actuator.load("pets", 2)
    cluster.settle(10)
    actuator.divide("pets", TENTH)
    cluster.settle(10)
    before = set(cluster.names("Pod"))
    actuator.divide("pets", Division(1, 2, 0.1, 0.0, "r/1.1", 12.5))
    cluster.settle(10)
    assert actuator.look("pets").division.key == "r/1.1"
    assert set(cluster.names("Pod")) == before


def test_everything_is_rolled_by_the_cluster_and_one_pod_after_the_other(cluster, actuator):
    actuator.load("pets", 2)
    cluster.settle(10)
    actuator.divide("pets", ALL)
    view = actuator.look("pets")
    assert (view.meant, view.serving, view.settled) == (2, 1, False)
    seen = set()
    for _ in range(60):
        cluster.tick(0.5)
        seen.add(tuple(cluster.versions()))
        if not actuator.look("pets").settled:
            actuator.divide("pets", ALL)
    assert {(1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2)} <= seen
    assert min(map(len, seen)) == 3
    view = actuator.look("pets")
    assert (view.meant, view.serving, view.settled, view.division) == (2, 2, True, ALL)


def test_a_division_of_other_versions_than_are_there_changes_nothing(cluster, actuator):
    actuator.load("pets", 2)
    cluster.settle(10)
    before = list(cluster.applied)
    actuator.divide("pets", Division(1, 3, 0.1, 0.0, "r/1.0"))
    actuator.divide("tiny", TENTH)
    assert cluster.applied == before


def test_calling_again_changes_nothing_more(cluster, actuator):
    for call in (
        lambda: actuator.load("pets", 2),
        lambda: actuator.divide("pets", TENTH),
        lambda: actuator.divide("pets", ALL),
        lambda: actuator.divide("pets", None),
        lambda: actuator.serve("pets", 1),
        lambda: actuator.unload("pets", 2),
    ):
        call()
        cluster.settle(15)
        call()
        changed = list(cluster.applied), list(cluster.deleted)
        call()
        assert (cluster.applied, cluster.deleted) == changed


def test_what_a_pod_cannot_load_has_failed_in_its_words(cluster, actuator):
    cluster.behaviour[2] = Behaviour(refuses="golden inputs: wrong")
    actuator.load("pets", 2)
    cluster.settle(5)
    view = actuator.look("pets")
    assert view.failed == {2: "golden inputs: wrong"}
    assert view.coming == frozenset()


def test_another_model_than_the_deployments_is_refused_in_words(actuator):
    actuator.load("tiny", 2)
    why = actuator.look("tiny").failed[2]
    assert why == "Deployment model-server serves pets, not tiny; an agent follows one Deployment"
    assert actuator.look("tiny").loaded == frozenset()
    # Once it is asked for no more, there is nothing left to let go.
    actuator.unload("tiny", 2)
    assert actuator.look("tiny").failed == {}


def test_a_version_that_is_nowhere_is_said(actuator):
    with pytest.raises(FailedPreconditionError, match="neither on the agent's disk nor in the history"):
        actuator.load("pets", 9)


def test_a_cluster_that_cannot_be_seen_is_no_end(cluster, actuator):
    assert actuator.models() == ("pets",)
    cluster.tick(5.0)
    cluster.down = ClusterLostError("no API server")
    with pytest.raises(UnavailableError, match="no API server"):
        actuator.look("pets")
    assert actuator.models() == ("pets",)


def test_a_namespace_without_the_deployment_is_said(cluster):
    with pytest.raises(UnavailableError, match="there is no Deployment other in namespace edgewise"):
        look_at(cluster, "edgewise", "other", cluster.door, {})


def test_pods_that_are_replaced_by_somebody_else_unsettle_and_change_nothing(cluster, actuator):
    item = cluster.objects["Deployment", "edgewise", "model-server"]
    item["spec"]["template"]["spec"]["containers"][0]["image"] = "edgewise-model-server:0.2.0"
    item["metadata"]["generation"] += 1
    cluster.tick(1.0)
    view = actuator.look("pets")
    assert (view.serving, view.meant, view.settled, view.loaded) == (1, 1, False, frozenset({1}))
    cluster.settle(40)
    assert actuator.look("pets").settled


def test_a_pod_that_is_lost_later_unsettles_nothing(cluster, actuator):
    name = cluster.names("Pod")[0]
    del cluster.objects["Pod", "edgewise", name]
    cluster.tick(1.0)
    seen = look_at(cluster, "edgewise", "model-server", cluster.door, {})
    assert len(seen.main.ready()) == 2
    assert view_of(seen.main, None).settled


def test_looking_often_asks_the_cluster_seldom(cluster, actuator):
    asked = []
    read = cluster.read
    cluster.read = lambda *words: asked.append(words) or read(*words)
    for _ in range(20):
        actuator.look("pets")
    first = len(asked)
    cluster.tick(2.0)
    actuator.look("pets")
    assert first < len(asked) <= 2 * first
    assert first <= 4


def test_the_pods_numbers_are_read_under_the_key_in_force(cluster, actuator):
    assert actuator.reading("pets") is None
    actuator.load("pets", 2)
    cluster.settle(10)
    actuator.divide("pets", TENTH)
    cluster.settle(10)
    assert actuator.reading("pets").key == "r/1.0"
    for _ in range(20):
        cluster.tick(0.5, 40)
        actuator.look("pets")
        reading = actuator.reading("pets")
    assert reading.counts.old_count == 600
    assert reading.counts.new_count == 66
    cluster.tick(1.1, 0)
    (served, _) = actuator.served()
    assert served["pets"].requests > 500
