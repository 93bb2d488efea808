"""A node that is drained, with one node in the cluster: pod by pod through its own gateway, and all at once behind an edge."""

import contextlib
import json
import time
from collections.abc import Iterator

from e2e.cluster.archives import row_questions
from e2e.cluster.installation import SUITE_LABEL, Installation
from e2e.cluster.story import phases_between, show_ledger, show_seconds
from e2e.cluster.timeline import Told

SELECTOR = f"{SUITE_LABEL},app.kubernetes.io/name in (model-server,gateway)"
PARTS = {"model-server": 3, "gateway": 2}


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
def draining(installation: Installation) -> Iterator[Told]:
    """A drain; the node is uncordoned in any case."""
    node = installation.namespace.ready("model-server")[0].node
    words = ["kubectl", "drain", node, "--pod-selector", SELECTOR, "--delete-emptydir-data", "--timeout=90s"]
    drain = Told(installation.timeline, "kubectl drain", words, installation.namespace.cluster.environment())
    try:
        yield drain
    finally:
        drain.close()
        installation.namespace.cluster.kubectl("uncordon", node)


def _uids(installation: Installation) -> set[str]:
    return {pod.uid for part in PARTS for pod in installation.namespace.pods(part)}


def _unschedulable(installation: Installation, node: str) -> bool:
    return installation.namespace.cluster.kubectl("get", "node", node, "-o", "jsonpath={.spec.unschedulable}") == "true"


def _whole(installation: Installation) -> bool:
    """Everybody is there, and nobody who is to go."""
    namespace = installation.namespace
    return all(len(namespace.pods(part)) == len(namespace.ready(part)) == count for part, count in PARTS.items())


def test_a_drain_within_the_budgets_fails_no_request(tiny, timeline, apps):
    timeline.section("Drain pod by pod within disruption budgets, 100 requests/s through the cluster's own gateway")
    timeline.wait("all pods are ready", lambda: _whole(tiny))
    before, node = _uids(tiny), tiny.namespace.ready("model-server")[0].node
    load = apps("drain", row_questions(2_000), rest=70, grpc=30)
    load.wait_count(300)
    with budgets(tiny):
        begun_s = time.monotonic()
        with draining(tiny) as drain:
            timeline.wait("the node is cordoned", lambda: _unschedulable(tiny, node), pause_s=0.05)
            # There is no other node for the pods to go to.
            tiny.namespace.cluster.kubectl("uncordon", node)
            timeline.say("uncordoned, so that what is evicted has a place; the drain goes on")
            tiny.show()
            code = drain.wait()
        ended_s = time.monotonic()
    timeline.say(f"drained, after {ended_s - begun_s:.1f} s")
    timeline.wait("all pods are ready", lambda: _whole(tiny))
    load.wait_count(150)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["before", "during", "after"], [begun_s, ended_s]))
    assert not code
    assert not before & _uids(tiny), "a pod was not evicted"
    ledger.require_all_right()


def test_a_full_drain_behind_an_edge_gateway_fails_no_request(tiny, edge, timeline, apps):
    timeline.section("Drain of everything, 100 requests/s through an edge gateway outside of the cluster")
    timeline.wait("all pods are ready", lambda: _whole(tiny))
    with edge.gateway_to(tiny.rest, timeline) as doors:
        load = apps("full-drain", row_questions(2_000), rest=70, grpc=30, through=doors)
        load.wait_count(300)
        begun_s = time.monotonic()
        with draining(tiny) as drain:
            code = drain.wait()
            gone_s = time.monotonic()
            timeline.say(f"drained, after {gone_s - begun_s:.1f} s; links of the edge gateway: {edge.links()}")
            tiny.show()
            load.wait_count(150)
        timeline.say("uncordoned")
        timeline.wait("all pods are ready", lambda: _whole(tiny), timeout_s=90)
        healed_s = time.monotonic()
        load.wait_mostly("cloud", 100, timeout_s=60)
        timeline.say(f"the cloud answers again, {time.monotonic() - healed_s:.1f} s after all pods were ready")
        ledger = load.finish()
    names = ["before", "during the drain", "drained", "after"]
    show_ledger(timeline, ledger, phases_between(ledger, names, [begun_s, gone_s, healed_s]))
    show_seconds(timeline, ledger, begun_s, "site")
    assert not code
    ledger.require_all_right()
    assert {record.site for record in ledger.records} == {"cloud", "edge"}
