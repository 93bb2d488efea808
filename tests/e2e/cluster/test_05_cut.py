"""What is cut off: the cluster from the edge gateway, and the cluster's API and DNS from its own gateway."""

import time
from collections.abc import Sequence

import pytest

from e2e.cluster.archives import row_questions
from e2e.cluster.kube import dropped
from e2e.cluster.story import phases_between, show_ledger, show_seconds
from support.app_load import Record
from support.load_ledger import quantile, within

BODY_BYTES = 20_000
_STREAK = 50


def to_edge_ms(records: Sequence[Record], cut_s: float) -> float | None:
    """From the cut to the end of the last request that waited for the cloud, before all go straight to the edge."""
    at_stake = [record for record in records if record.ended_s >= cut_s]
    direct = [record.site == "edge" and record.attempts == 1 for record in at_stake]
    for start in range(len(at_stake) - _STREAK + 1):
        if all(direct[start : start + _STREAK]):
            return (max((record.ended_s for record in at_stake[:start]), default=cut_s) - cut_s) * 1e3
    return None


def back_ms(records: Sequence[Record], healed_s: float) -> float | None:
    """From the heal until 95 % of a quarter of a second is answered by the cloud."""
    later = [record for record in records if record.due_s >= healed_s]
    for start in range(len(later) - _STREAK + 1):
        if sum(record.site == "cloud" for record in later[start : start + _STREAK]) >= 0.95 * _STREAK:
            return (later[start].due_s - healed_s) * 1e3
    return None


def test_a_cut_between_edge_and_cluster_fails_no_request(tiny, edge, timeline, apps):
    timeline.section(
        "Cut and heal: 200 requests/s of 20 kB through the edge gateway, the way to the cluster drops all packets"
    )
    with edge.gateway_to(tiny.rest, timeline) as doors:
        load = apps("cut", row_questions(BODY_BYTES), rest=140, grpc=60, through=doors)
        load.wait_count(1200)
        with dropped(*edge.way_out()) as cut_s:
            timeline.say("cut")
            timeline.wait("the link is DOWN", lambda: edge.links().get("cloud") == "DOWN", timeout_s=20, pause_s=0.05)
            load.wait_count(1000)
        healed_s = time.monotonic()
        timeline.say(f"healed, {healed_s - cut_s:.1f} s after the cut")
        load.wait_mostly("cloud", 200)
        timeline.wait("the link is UP", lambda: edge.links().get("cloud") == "UP")
        load.wait_count(400)
        ledger = load.finish()
        duplicates = edge.metric("edgewise_gateway_duplicates_total")
    names = ["before", "first second", "rest of the cut", "3 s after the heal", "after"]
    marks_s = [cut_s, cut_s + 1, healed_s, healed_s + 3]
    phases = phases_between(ledger, names, marks_s)
    show_ledger(timeline, ledger, phases)
    show_seconds(timeline, ledger, cut_s, "site")
    switch_ms, return_ms = to_edge_ms(ledger.records, cut_s), back_ms(ledger.records, healed_s)
    before_ms = quantile([(r.ended_s - r.due_s) * 1e3 for r in within(ledger.records, cut_s - 3, cut_s)], 0.99)
    ratio = duplicates / ledger.scheduled * 100
    bars = [
        ("p99 of the first second", phases[1].p99_ms, before_ms + 60.0, "ms"),
        ("everything on the edge after", switch_ms, 250.0, "ms"),
        ("back on the cloud after", return_ms, 3000.0, "ms"),
        ("duplicates", ratio, 1.0, "%"),
    ]
    for name, value, most, unit in bars:
        measured = "never" if value is None else f"{value:.1f} {unit}"
        verdict = "reached" if value is not None and value <= most else "NOT reached"
        timeline.say(f"the gateway's promise: {name} {measured}, at most {most:.1f} {unit}: {verdict}")

    ledger.require_all_right()
    assert switch_ms is not None, "the traffic never went over to the edge as a whole"
    assert return_ms is not None, "the traffic never came back to the cloud"


def test_without_the_api_and_dns_the_gateway_keeps_its_endpoints(tiny, timeline, apps):
    timeline.section("The cluster's gateways are cut off from API server and DNS; then a pod is killed")
    namespace = tiny.namespace
    gateways = namespace.ready("gateway")
    if namespace.cluster.script is None:
        pytest.skip("only of the test cluster it is known where API server and DNS are")
    timeline.wait("three pods are ready", lambda: len(namespace.ready("model-server")) == 3)
    timeline.wait("the gateways know three endpoints", lambda: all(_endpoints(one) == 3 for one in tiny.links()))
    load = apps("no-api", row_questions(2_000), rest=70, grpc=30)
    load.wait_count(200)
    rules = [f"INPUT -i cni0 -s {pod.ip} -p tcp --dport 6443" for pod in gateways]
    rules += [f"INPUT -i cni0 -s {pod.ip} -p udp --dport 5353" for pod in gateways]
    with dropped(*rules) as cut_s:
        timeline.say("cut off")
        load.wait_count(300)
        timeline.say(f"the gateways' links: {tiny.links()}")
        assert all(_endpoints(one) == 3 for one in tiny.links())
        victim = namespace.ready("model-server")[0]
        namespace.kubectl("delete", "pod", victim.name, "--force", "--grace-period=0", "--wait=false", check=False)
        killed_s = time.monotonic()
        timeline.say(f"kubectl delete pod --force {victim.name}")
        load.wait_count(300)
        timeline.say(f"the gateways' links: {tiny.links()}")
        timeline.wait("three pods are ready", lambda: len(namespace.ready("model-server")) == 3)
    healed_s = time.monotonic()
    timeline.say("API server and DNS are back")
    timeline.wait(
        "the gateways know the new pod's endpoint and have forgotten the old one's",
        lambda: all(_endpoints(one) == 3 and not _knows(one, victim.ip) for one in tiny.links()),
        timeout_s=60,
    )
    timeline.wait("all pods get requests", lambda: all(tiny.received().values()), timeout_s=30)
    load.wait_count(100)
    ledger = load.finish()
    names = ["before", "cut off", "and a pod killed", "after"]
    show_ledger(timeline, ledger, phases_between(ledger, names, [cut_s, killed_s, healed_s]))
    ledger.require_all_right()


def _endpoints(links: dict[str, str]) -> int:
    return sum(name.startswith("cloud/") for name in links)


def _knows(links: dict[str, str], ip: str) -> bool:
    return any(name.startswith(f"cloud/{ip}:") for name in links)
