"""A node that is drained, with one node in the cluster: pod by pod through its own gateway, and all at once behind an edge."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator

from e2e.cluster.archives import row_questions
from e2e.cluster.installation import SUITE_LABEL, Installation
from e2e.cluster.story import phases_between, show_ledger, show_seconds

SELECTOR = f"{SUITE_LABEL},app.kubernetes.io/name in (model-server,gateway)"
PARTS = ("model-server", "gateway")


@contextlib.contextmanager
def budgets(installation: Installation) -> Iterator[None]:
    """At most one pod of each part may be missing; of policy/v1 where the cluster has it."""
    versions = installation.namespace.cluster.kubectl("api-versions").split()
    group = "policy/v1" if "policy/v1" in versions else "policy/v1beta1"
    objects = [
        {
            "apiVersion": group,
            "kind": "PodDisruptionBudget",
            "metadata": {"name": f"e2e-{part}"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": part}}},
        }
        for part in PARTS
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    installation.namespace.kubectl("apply", "-f", "-", text=text)
    try:
        yield
    finally:
        installation.namespace.kubectl("delete", "pdb", *(f"e2e-{part}" for part in PARTS), check=False)


@contextlib.contextmanager
def draining(installation: Installation) -> Iterator["subprocess.Popen[str]"]:
    """`kubectl drain` of the node, of this installation's pods alone; the node is uncordoned in any case."""
    cluster = installation.namespace.cluster
    node = installation.namespace.ready("model-server")[0].node
    words = ["kubectl", "drain", node, "--pod-selector", SELECTOR, "--delete-emptydir-data", "--timeout=90s"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=cluster.environment()
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        cluster.kubectl("uncordon", node)


def _uids(installation: Installation) -> set[str]:
    return {pod.uid for part in PARTS for pod in installation.namespace.pods(part)}


def _unschedulable(installation: Installation, node: str) -> bool:
    return installation.namespace.cluster.kubectl("get", "node", node, "-o", "jsonpath={.spec.unschedulable}") == "true"


def _whole(installation: Installation) -> bool:
    return [len(installation.namespace.ready(part)) for part in PARTS] == [3, 2]


def test_a_drain_within_the_budgets_fails_no_request(tiny, timeline, apps):
    timeline.section("Drain pod by pod within disruption budgets, 100 requests/s through the cluster's own gateway")
    timeline.wait("all pods are ready", lambda: _whole(tiny))
    before, node = _uids(tiny), tiny.namespace.ready("model-server")[0].node
    load = apps("drain", row_questions(2_000), rest=70, grpc=30)
    load.wait_count(300)
    with budgets(tiny):
        begun_s = time.monotonic()
        with draining(tiny) as process:
            timeline.wait("the node is cordoned", lambda: _unschedulable(tiny, node), pause_s=0.05)
            tiny.show()
            # There is no other node for the pods to go to.
            tiny.namespace.cluster.kubectl("uncordon", node)
            timeline.say("uncordoned, so that what is evicted has a place; the drain goes on")
            output, _ = process.communicate(timeout=100)
        ended_s = time.monotonic()
    timeline.say(f"kubectl drain, {ended_s - begun_s:.1f} s:")
    timeline.show(output)
    timeline.wait("all pods are ready", lambda: _whole(tiny))
    load.wait_count(150)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["before", "during", "after"], [begun_s, ended_s]))
    assert not process.returncode
    assert not before & _uids(tiny), "a pod was not evicted"
    ledger.require_all_right()


def test_a_full_drain_behind_an_edge_gateway_fails_no_request(tiny, edge, timeline, apps):
    timeline.section("Drain of everything, 100 requests/s through an edge gateway outside of the cluster")
    timeline.wait("all pods are ready", lambda: _whole(tiny))
    edge.start_gateway(tiny.rest)
    try:
        timeline.wait("both links are UP", lambda: edge.links() == {"cloud": "UP", "edge": "UP"})
        load = apps(
            "full-drain",
            row_questions(2_000),
            rest=70,
            grpc=30,
            through=(f"{edge.gateway}:8080", f"{edge.gateway}:8081"),
        )
        load.wait_count(300)
        begun_s = time.monotonic()
        with draining(tiny) as process:
            output, _ = process.communicate(timeout=100)
            gone_s = time.monotonic()
            timeline.say(f"kubectl drain, {gone_s - begun_s:.1f} s:")
            timeline.show(output)
            timeline.say(f"links of the edge gateway: {edge.links()}")
            tiny.show()
            load.wait_count(150)
        timeline.say("uncordoned")
        timeline.wait("all pods are ready", lambda: _whole(tiny), timeout_s=90)
        healed_s = time.monotonic()
        load.wait(lambda records: all(record.site == "cloud" for record in records[-100:]), timeout_s=60)
        timeline.say(
            f"a hundred answers in a row from the cloud, {time.monotonic() - healed_s:.1f} s after the pods were ready"
        )
        ledger = load.finish()
    finally:
        edge.stop_gateway()
    names = ["before", "during the drain", "drained", "after"]
    show_ledger(timeline, ledger, phases_between(ledger, names, [begun_s, gone_s, healed_s]))
    show_seconds(timeline, ledger, begun_s, "site")
    assert not process.returncode
    ledger.require_all_right()
    assert {record.site for record in ledger.records} == {"cloud", "edge"}
