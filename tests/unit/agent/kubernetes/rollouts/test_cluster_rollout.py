"""Whole rollouts: the agent's own loop, the cluster's actuator, and controllers on virtual time."""

from dataclasses import replace

import pytest

from edgewise.agent.kubernetes.cluster_site import ClusterActuator
from edgewise.agent.site.acting import Acting
from edgewise.agent.site.board import Board, Situation
from edgewise.agent.site.journal import Journal
from edgewise.agent.site.port import StageView
from edgewise.agent.site.state import StateDirectory
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Gate, Gates, LatencyGate
from edgewise.core.rollout.orders import Order
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Canary
from support.rollout_cluster import Behaviour, RolloutCluster

CANARY = Canary(shares=(0.1, 0.5), stage_s=10.0, bake_s=20.0)
GATES = Gates(errors=Gate(0.05), latency=LatencyGate(margin=0.2))
ORDER = Order("r1", "pets", 2, "a" * 64, Want.RUN, GATES, CANARY)


class Staged:
    """All files are there."""

    def look(self, order):
        return StageView(present=True, checked=True)

    def fetch(self, order):
        pass

    def check(self, order):
        pass

    def keep_only(self, model, versions):
        pass


class Site:
    """A cluster, and an agent that may be started anew at any time."""

    def __init__(self, directory, **cluster):
        self.cluster = RolloutCluster(**cluster)
        self.state = StateDirectory(directory)
        for version in (2, 3):
            files = self.state.models / "pets" / str(version)
            files.mkdir(parents=True)
            (files / "model.onnx").write_bytes(b"weights of %d" % version)
        self.order = ORDER
        self.start()

    def start(self):
        self.board = Board()
        self.actuator = ClusterActuator(
            self.cluster,
            "edgewise",
            self.cluster.door,
            archives="http://agent:8602",
            models=self.state.models,
            now_s=lambda: self.cluster.now_s,
        )
        self.acting = Acting(
            self.board,
            Journal(self.state),
            self.actuator,
            Staged(),
            models=self.actuator.models,
            now_s=lambda: self.cluster.now_s,
        )

    def go(self, for_s, requests=20):
        """Let time pass: requests a second come, the agent looks each half second."""
        self.board.ask(Situation(generation=1, orders=(self.order,)))
        for _ in range(int(for_s * 2)):
            self.acting.round()
            self.cluster.tick(0.5, requests // 2)

    def until(self, state, within_s=600.0, requests=20):
        for _ in range(int(within_s)):
            if self.progress is not None and self.progress.state == state:
                return
            self.go(1.0, requests)
        raise AssertionError(f"it never got {state}: {self.progress}")

    @property
    def progress(self):
        found = [one for one in self.board.shown().progress if one.rollout == self.order.rollout]
        return found[0] if found else None

    @property
    def deployments(self):
        return self.cluster.names("Deployment")


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_good_version_takes_over_step_by_step(site):
    site.until(SiteState.VERIFYING)
    assert site.cluster.versions() == [1, 1, 1]
    assert {version for _, version in site.cluster.answered} == {1}
    site.go(15)
    assert site.cluster.versions() == [1, 1, 1, 2]
    site.until(SiteState.ACTIVE)
    site.go(10)
    assert site.cluster.versions() == [2, 2, 2]
    assert site.deployments == ["model-server"]
    assert site.cluster.unanswered == 0
    assert site.board.shown().serving == {"pets": 2}
    assert site.board.shown().loaded == {"pets": (2,)}


def test_what_pods_do_not_load_goes_back_in_their_own_words_and_answers_nobody(site):
    site.cluster.behaviour[2] = Behaviour(refuses="golden inputs: output of 'kitten' is not the known one")
    site.until(SiteState.ROLLED_BACK, within_s=30)
    site.go(10)
    assert site.progress.why == "golden inputs: output of 'kitten' is not the known one"
    assert site.deployments == ["model-server"]
    assert {version for _, version in site.cluster.answered} == {1}
    assert site.cluster.versions(ready=False) == [1, 1, 1]
    assert site.cluster.unanswered == 0


def test_a_model_that_the_cluster_does_not_serve_goes_back_and_says_why(site):
    site.order = replace(ORDER, model="tiny")
    site.until(SiteState.ROLLED_BACK, within_s=30)
    assert "serves pets, not tiny" in site.progress.why
    assert site.deployments == ["model-server"]


def test_errors_of_the_new_version_take_its_pods_away_at_the_first_share(site):
    site.cluster.behaviour[2] = Behaviour(errors=0.5)
    site.until(SiteState.ROLLED_BACK)
    site.go(10)
    assert "gate failed: errors" in site.progress.why
    assert site.deployments == ["model-server"]
    assert site.cluster.versions() == [1, 1, 1]
    answered = [version for _, version in site.cluster.answered]
    assert 0 < answered.count(2) < 0.3 * len(answered)
    assert set(answered[-50:]) == {1}


def test_a_version_that_is_as_good_passes_although_its_pod_gets_more_than_was_asked_for(site):
    site.cluster.behaviour = {1: Behaviour(errors=0.04), 2: Behaviour(errors=0.04)}
    site.until(SiteState.ACTIVE, within_s=900.0)
    assert site.cluster.versions() == [2, 2, 2]


def test_a_slower_version_goes_back(site):
    site.cluster.behaviour[2] = Behaviour(seconds=0.05)
    site.until(SiteState.ROLLED_BACK)
    assert "gate failed: latency" in site.progress.why


def test_pods_that_never_get_ready_are_given_up_when_the_cluster_gives_up(site):
    site.cluster.behaviour[2] = Behaviour(crashes=True)
    site.until(SiteState.ACTIVATING)
    site.go(30)
    assert site.progress.state == SiteState.ACTIVATING
    site.until(SiteState.ROLLED_BACK, within_s=90)
    assert "its pods were not ready in time (0 of 1)" in site.progress.why
    site.go(5)
    assert site.deployments == ["model-server"]


def test_a_cluster_without_room_for_more_compares_with_the_pods_that_fit(tmp_path):
    site = Site(tmp_path, replicas=3, room=5)
    site.until(SiteState.VERIFYING)
    site.until(SiteState.ACTIVE)
    site.go(10)
    assert site.cluster.versions() == [2, 2, 2]
    assert site.cluster.unanswered == 0


def test_errors_after_everything_was_given_roll_the_cluster_back(site):
    while site.cluster.versions() != [2, 2, 2]:
        site.go(1.0)
    site.cluster.behaviour[2] = Behaviour(errors=0.6)
    site.until(SiteState.ROLLED_BACK)
    site.go(5)
    assert site.cluster.versions() == [1, 1, 1]
    assert site.deployments == ["model-server"]
    assert site.cluster.unanswered == 0
    # The cluster's own undo: the pods of then, from where they came then.
    assert (
        site.cluster.objects["Deployment", "edgewise", "model-server"]["spec"]["template"]["spec"]["initContainers"][0][
            "env"
        ][0]["valueFrom"]["configMapKeyRef"]["name"]
        == "model-source-1"
    )


def test_pods_that_do_not_start_once_everything_is_given_are_taken_back(site):
    while "model-server-next" not in site.deployments or 2 not in site.cluster.versions():
        site.go(1.0)
    while site.cluster.objects["Deployment", "edgewise", "model-server"]["metadata"]["generation"] == 1:
        site.go(0.5)
    site.cluster.behaviour[2] = Behaviour(crashes=True)
    site.until(SiteState.ROLLED_BACK, within_s=200)
    site.go(5)
    assert site.cluster.versions(ready=False) == [1, 1, 1]
    assert site.cluster.unanswered == 0


def test_told_to_go_back_after_it_was_active(site):
    site.until(SiteState.ACTIVE)
    site.go(5)
    site.order = replace(ORDER, want=Want.BACK)
    site.until(SiteState.ROLLED_BACK)
    site.go(5)
    assert site.cluster.versions() == [1, 1, 1]
    assert site.deployments == ["model-server"]
    assert site.cluster.unanswered == 0


def test_told_to_go_back_while_it_loads(site):
    site.until(SiteState.ACTIVATING)
    site.order = replace(ORDER, want=Want.BACK)
    site.until(SiteState.ROLLED_BACK)
    site.go(10)
    assert site.deployments == ["model-server"]
    assert site.cluster.versions(ready=False) == [1, 1, 1]


def test_another_rollout_takes_over_in_the_middle(site):
    site.until(SiteState.VERIFYING)
    site.go(12)
    site.order = replace(ORDER, rollout="r2", version=3)
    site.until(SiteState.ACTIVE)
    site.go(10)
    assert site.cluster.versions() == [3, 3, 3]
    assert site.deployments == ["model-server"]


def test_two_rollouts_one_after_the_other_leave_what_an_undo_needs_and_no_more(site):
    site.until(SiteState.ACTIVE)
    site.go(5)
    site.order = replace(ORDER, rollout="r2", version=3)
    site.until(SiteState.ACTIVE)
    site.go(5)
    assert site.cluster.versions() == [3, 3, 3]
    names = site.cluster.names("ConfigMap")
    assert [name.rpartition("-")[0] for name in names] == ["model-source", "release-pets-2", "release-pets-3"]


def test_an_agent_that_starts_anew_at_any_moment_goes_on(site):
    for _ in range(40):
        site.start()
        # Longer than the bake takes, since time in a stage begins anew with the agent.
        site.go(23.0)
    assert site.progress.state == SiteState.ACTIVE
    assert site.cluster.versions() == [2, 2, 2]
    assert site.cluster.unanswered == 0


class KilledError(Exception):
    """The agent ends here."""


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
def test_killed_before_or_after_every_change_of_the_cluster(tmp_path, bad):
    state = SiteState.ROLLED_BACK if bad else SiteState.ACTIVE
    number, changes = 0, 1
    while number < 2 * changes:
        site = Site(tmp_path / str(number), replicas=2)
        site.cluster.behaviour[2] = Behaviour(errors=0.5) if bad else Behaviour()
        changes = _killed_at(site, number, state)
        site.go(10)
        assert site.progress.state == state
        assert site.cluster.versions(ready=False) == ([1, 1] if bad else [2, 2])
        assert site.deployments == ["model-server"]
        assert site.cluster.unanswered == 0
        number += 1
    assert changes >= 3


def _killed_at(site, number, state):
    """Kill the agent before (even numbers) or after one change. Returns: how many changes there were."""
    changes = 0

    def watched(change):
        def do(*args, **kwargs):
            nonlocal changes
            changes += 1
            if number == 2 * (changes - 1):
                raise KilledError
            result = change(*args, **kwargs)
            if number == 2 * (changes - 1) + 1:
                raise KilledError
            return result

        return do

    site.cluster.apply, site.cluster.delete = watched(site.cluster.apply), watched(site.cluster.delete)
    for _ in range(300):
        try:
            site.go(1.0)
        except KilledError:
            site.start()
        if site.progress is not None and site.progress.state == state:
            return changes
    raise AssertionError(f"it never got {state}: {site.progress}")
