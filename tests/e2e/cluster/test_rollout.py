"""Releases reach the cluster from a hub: step by step under load, back by themselves when they are bad, and without the hub."""

import shutil
import signal
from collections.abc import Iterator

import pytest

from e2e.cluster.archives import row_questions
from e2e.cluster.installation import Overlay, source_of
from e2e.cluster.rollout_site import SITE, rollout_site, way_to
from e2e.cluster.story import phases_between, show_ledger, show_seconds
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Gate, Gates
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Canary
from support.site_hub import SiteHub
from support.spoiled_versions import expect_another_answer

pytestmark = pytest.mark.long

NAMESPACE = "edgewise-e2e-rollout"
CANARY = Canary(shares=(0.25,), stage_s=5.0, bake_s=5.0)
GATES = Gates(errors=Gate(0.1, 0.95), latency=None)
STEP_S = 180.0


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[SiteHub]:
    hub = SiteHub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def way(hub, cluster):
    with way_to(hub, cluster.node_address()) as process:
        yield process


@pytest.fixture(scope="module")
def releases(hub, published, tmp_path_factory):
    """Versions 2 and 4, which are good, and 3, whose golden answer is another one."""
    for version in (2, 3, 4):
        directory = tmp_path_factory.mktemp(f"tiny-{version}") / str(version)
        shutil.copytree(published.repository / "tiny" / "1", directory)
        if version == 3:
            expect_another_answer(directory)
        hub.release("tiny", version, directory)
    return hub


@pytest.fixture(scope="module")
def installation(cluster, images, published, hub, way, releases, timeline, tmp_path_factory):
    """`tiny` version 1 on three pods, and an agent."""
    timeline.section("A cluster as a site: tiny version 1 on three pods, two gateways, and an agent of a hub outside")
    with rollout_site(cluster, NAMESPACE, images, timeline, tmp_path_factory.mktemp("site")) as site:
        with timeline.timed("edgewise k8s install"):
            site.install_site(published.tiny_1, hub.enrollment(SITE))
        hub.want(site=SITE)
        hub.wait_for(lambda report: report.inventory.serving == {"tiny": 1}, SITE, STEP_S)
        timeline.say(f"the hub hears of it: {hub.reports(SITE)[-1].inventory}")
        yield site


def begin(hub, version, rollout, want=Want.RUN):
    order = hub.order(want, model="tiny", version=version, rollout=rollout, gates=GATES, canary=CANARY)
    hub.want(order, site=SITE)


def states(hub, rollout):
    found = [one.state.value for report in hub.reports(SITE) for one in report.rollouts if one.rollout == rollout]
    return list(dict.fromkeys(found))


def wait(installation, hub, state, rollout):
    try:
        return hub.wait_for_state(state, rollout, SITE, STEP_S)
    except AssertionError:
        installation.timeline.show(installation.agent_says())
        installation.show()
        raise


def test_the_agent_may_do_what_a_rollout_takes_and_no_more(installation):
    account = f"system:serviceaccount:{NAMESPACE}:agent"

    def may(*words):
        return installation.namespace.kubectl("auth", "can-i", *words, f"--as={account}", check=False).startswith("yes")

    assert may("patch", "deployments/model-server")
    assert may("create", "deployments/model-server-next")
    assert may("list", "pods")
    assert not may("delete", "deployments/model-server")
    assert not may("patch", "deployments/gateway")
    assert not may("get", "secrets/agent-enrollment")
    assert not may("create", "pods")
    assert not may("get", "pods/proxy")
    assert not may("patch", "roles/agent")


def test_a_release_reaches_the_pods_and_no_request_fails(installation, hub, timeline, apps):
    timeline.section("Rollout of version 2 under 100 requests/s: a pod that loads, a share, then all")
    load = apps("rollout", row_questions(2_000, 1, 2), rest=70, grpc=30)
    load.wait_count(200)
    begin(hub, 2, "tiny-2")
    wait(installation, hub, SiteState.VERIFYING, "tiny-2")
    begun_s = load.look()[-1].ended_s
    timeline.say(f"a pod has loaded it; none of {len(load.seen)} requests has reached it before")
    load.wait(lambda records: records[-1].version == 2, timeout_s=STEP_S)
    timeline.say("version 2 answers for the first time")
    installation.show()
    progress = wait(installation, hub, SiteState.ACTIVE, "tiny-2")
    ended_s = load.look()[-1].ended_s
    timeline.say(f"states: {' → '.join(states(hub, 'tiny-2'))}; counted: {progress.findings.sampled}")
    timeline.wait("only version 2 is behind the Service", lambda: installation.told_versions() == ["2"] * 3)
    load.wait_count(300)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["before", "during", "after"], [begun_s, ended_s]))
    show_seconds(timeline, ledger, begun_s, "version")

    ledger.require_all_right()
    assert {record.version for record in ledger.records} == {1, 2}
    assert {record.version for record in ledger.records[-100:]} == {2}
    timeline.wait(
        "nothing else is left", lambda: "model-server-next" not in installation.deployments(), timeout_s=STEP_S
    )


def test_a_release_whose_golden_answer_is_wrong_goes_back_by_itself_and_answers_nobody(
    installation, hub, timeline, apps
):
    timeline.section("Rollout of version 3, which is wrong about its golden input")
    load = apps("golden", row_questions(2_000, 2), rest=70, grpc=30)
    load.wait_count(100)
    begin(hub, 3, "tiny-3")
    progress = wait(installation, hub, SiteState.ROLLED_BACK, "tiny-3")
    timeline.say(f"states: {' → '.join(states(hub, 'tiny-3'))}; why: {progress.why}")
    timeline.wait(
        "the pod that tried it is gone",
        lambda: not installation.namespace.pods("model-server-next"),
        timeout_s=STEP_S,
    )
    load.wait_count(100)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))

    ledger.require_all_right()
    assert {record.version for record in ledger.records} == {2}
    assert "golden" in progress.why
    assert installation.told_versions() == ["2", "2", "2"]


def test_whoever_applies_the_manifests_again_is_told_that_the_release_is_the_agents(installation, published):
    done = installation.install(Overlay(source_of(published.tiny_1)), check=False)
    assert done.code == 1
    assert "is set by 'edgewise-agent' to another value" in done.output
    assert installation.told_versions() == ["2", "2", "2"]


def test_pods_start_again_while_the_hub_is_away_and_after_the_agent_was_killed(installation, hub, way, timeline, apps):
    timeline.section("The hub is cut off, the agent's container ends, and a model server's pod is deleted")
    load = apps("alone", row_questions(2_000, 2), rest=70, grpc=30)
    load.wait_count(100)
    way.send_signal(signal.SIGSTOP)
    namespace = installation.namespace
    namespace.kubectl("exec", "deployment/agent", "--", "python", "-c", "import os; os.kill(1, 15)", check=False)
    timeline.wait(
        "the agent's container runs again",
        lambda: any(pod.ready for pod in namespace.pods("agent")) and _restarts(namespace) >= 1,
        timeout_s=STEP_S,
    )
    victim = namespace.ready("model-server")[0]
    namespace.kubectl("delete", "pod", victim.name, "--wait=false")
    timeline.say(f"kubectl delete pod {victim.name}")
    timeline.wait(
        "three pods are ready again, one of them new",
        lambda: len(ready := namespace.ready("model-server")) == 3 and victim.name not in {pod.name for pod in ready},
        timeout_s=STEP_S,
    )
    way.send_signal(signal.SIGCONT)
    load.wait_count(100)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))
    ledger.require_all_right()
    assert {record.version for record in ledger.records} == {2}
    timeline.wait("all serve version 2", lambda: installation.told_versions() == ["2", "2", "2"])


def test_told_to_go_back_the_cluster_runs_what_it_ran_before(installation, hub, timeline, apps):
    timeline.section("Version 4 is rolled out, and undone")
    load = apps("undo", row_questions(2_000, 2, 4), rest=70, grpc=30)
    load.wait_count(100)
    begin(hub, 4, "tiny-4")
    wait(installation, hub, SiteState.ACTIVE, "tiny-4")
    assert installation.told_versions() == ["4", "4", "4"]
    begin(hub, 4, "tiny-4", Want.BACK)
    wait(installation, hub, SiteState.ROLLED_BACK, "tiny-4")
    timeline.say(f"states: {' → '.join(states(hub, 'tiny-4'))}")
    load.wait_count(100)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))
    ledger.require_all_right()
    assert {record.version for record in ledger.records[-50:]} == {2}
    assert installation.told_versions() == ["2", "2", "2"]
    timeline.wait(
        "nothing else is left", lambda: "model-server-next" not in installation.deployments(), timeout_s=STEP_S
    )


def _restarts(namespace):
    items = namespace.get("pods?labelSelector=app.kubernetes.io%2Fname%3Dagent")["items"]
    return sum(status["restartCount"] for item in items for status in item["status"].get("containerStatuses", []))
