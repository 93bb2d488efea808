"""What real API objects in a bad state are said to be. The objects were read from a cluster of v1.20.2 and trimmed."""

import json
from pathlib import Path

import pytest

from edgewise.agent.kubernetes.containers import LogWanted
from edgewise.agent.kubernetes.pods import logs_wanted, pod_state, restarts_of
from edgewise.agent.kubernetes.workloads import newest_owner, workload_state

RECORDED = Path(__file__).parent / "recorded"
IMAGE = "localhost:5999/edgewise-gateway"

STATES = [
    (
        "wrong-digest",
        f"container main: image {IMAGE}@sha256:{'0' * 64} cannot be had: the registry has no such digest (not found)",
    ),
    (
        "wrong-tag",
        f"container main: image {IMAGE}:9.9.9 cannot be had: the registry has no such image or tag (not found)",
    ),
    (
        "no-registry",
        (
            "container main: image 127.0.0.1:5998/edgewise-gateway:1 cannot be had: the registry cannot be reached from the "
            "node (connect: connection refused)"
        ),
    ),
    ("bad-name", "container main: image UPPER/Case cannot be had: that is no image's name"),
    ("never", "container main: image nowhere/thing:1 cannot be had: it is not on the node, and is never pulled"),
    (
        "fetch-fails",
        (
            "init container fetch: exit 1: the checksum of https://models.example/pets/2.tar.gz is 6b86b273, expected "
            "d4735e3a; nothing was written"
        ),
    ),
    ("no-key", "container main: ConfigMap there has no key MODEL_URI, which the container needs"),
    ("no-map", "container main: there is no ConfigMap absent, which the container needs"),
    ("no-volume", "volume config cannot be mounted: there is no ConfigMap absent"),
    ("no-volume-key", "volume config cannot be mounted: its ConfigMap has no key gateway.toml"),
    ("too-big", "no node takes it: 0/1 nodes are available: 1 Insufficient cpu."),
    ("probe-fails", "container main: runs, but its readiness probe fails: HTTP probe failed with statuscode: 404"),
    (
        "liveness-fails",
        "container main: restarted because its liveness probe fails: HTTP probe failed with statuscode: 404",
    ),
    (
        "crashes",
        (
            "container main: exit 1: json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 "
            "column 2 (char 1)"
        ),
    ),
    ("says-why", "container main: exit 1: gateway.toml: [[site]] 2 has no rest"),
    ("oom", "container main: killed, since it took more memory than its limit (OOMKilled)"),
    (
        "truncated",
        "container model-server: model tiny version 1 FAILED to load: tiny/1/model.onnx: the file is truncated or not ONNX",
    ),
]


def recorded(name):
    return json.loads((RECORDED / f"{name}.json").read_text())


def states(record):
    logs = {(log["pod"], LogWanted(log["container"], previous=log["previous"])): log["text"] for log in record["logs"]}
    found = []
    for pod in record["pods"]:
        name = pod["metadata"]["name"]
        events = [event for event in record["events"] if event["involvedObject"]["name"] == name]
        of_pod = {wanted: text for (whose, wanted), text in logs.items() if whose == name}
        found.append((pod, pod_state(pod, events, of_pod)))
    return found


@pytest.mark.parametrize(("name", "words"), STATES, ids=[name for name, _ in STATES])
def test_a_pod_that_is_not_ready_says_why(name, words):
    ((pod, state),) = states(recorded(name))
    assert not state.ready
    assert state.trouble == words
    assert pod["metadata"]["name"].startswith(name)


def test_an_executable_that_is_missing_is_named():
    ((_, state),) = states(recorded("no-command"))
    assert 'exec: "edgewise-not-there": executable file not found in $PATH' in state.trouble


def test_a_pod_that_starts_is_in_no_trouble_yet():
    ((_, state),) = states(recorded("starting"))
    assert state.trouble == ""
    assert state.words == (
        "container main is starting: its startup probe fails: HTTP probe failed with statuscode: 404"
    )


def test_without_logs_the_exit_code_is_told():
    record = recorded("fetch-fails")
    pod = record["pods"][0]
    assert pod_state(pod).trouble == "init container fetch: exit 1"


def test_the_message_that_the_kubelet_kept_stands_for_a_log_that_may_not_be_read():
    pod = recorded("fetch-fails")["pods"][0]
    for status in pod["status"]["initContainerStatuses"]:
        for state in (status["state"], status["lastState"]):
            if "terminated" in state:
                state["terminated"]["message"] = "edgewise: the checksum is wrong\n"
    assert pod_state(pod).trouble == "init container fetch: exit 1: the checksum is wrong"


def test_logs_are_wanted_of_the_container_that_failed_only():
    assert logs_wanted(recorded("fetch-fails")["pods"][0]) == (LogWanted("fetch", previous=False),)
    assert logs_wanted(recorded("too-big")["pods"][0]) == ()


def test_restarts_count_over_all_containers():
    assert restarts_of(recorded("fetch-fails")["pods"][0]) >= 1


def test_a_pod_that_is_being_stopped_is_neither_ready_nor_in_trouble():
    pod = recorded("fetch-fails")["pods"][0]
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    state = pod_state(pod)
    assert (state.ready, state.leaving, state.words) == (False, True, "stopping")


def test_an_evicted_pod_says_so():
    pod = recorded("probe-fails")["pods"][0]
    pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    assert pod_state(pod).trouble == "evicted from its node: The node was low on resource: memory."


def workload_words(record):
    workload = record["workload"]
    newest = newest_owner(workload, record["replica_sets"])
    about = {workload["metadata"]["name"], newest}
    events = [event for event in record["events"] if event["involvedObject"]["name"] in about]
    return workload_state(workload, states(record), newest, events)


def test_a_rollout_that_is_stuck_tells_that_old_pods_serve():
    state = workload_words(recorded("rollout-stuck"))
    assert state.stuck
    assert (state.wanted, state.ready, state.old_ready) == (2, 0, 2)
    assert state.words.startswith(
        "0 of 2 ready, old pods keep serving: 2 ready; the rollout is stuck; pod model-server-796bdbc494-b8twg: "
        "container model-server: image docker.io/library/python:no-such cannot be had: the registry cannot be reached"
    )


def test_a_quota_that_is_used_up_is_told():
    state = workload_words(recorded("quota"))
    assert (state.wanted, state.ready, state.well) == (3, 1, False)
    assert state.trouble == (
        "pods are not created: a quota of the namespace is used up: two-pods, requested: pods=1, used: pods=1, "
        "limited: pods=1"
    )


def test_a_missing_service_account_is_told():
    assert 'their ServiceAccount is missing: pods "no-account-' in workload_words(recorded("no-account")).trouble


def test_pods_in_the_same_trouble_are_told_once():
    record = recorded("no-key")
    twin = json.loads(json.dumps(record["pods"][0]))
    twin["metadata"]["name"] = "no-key-twin"
    record["pods"].append(twin)
    record["workload"]["spec"]["replicas"] = 2
    trouble = workload_words(record).trouble
    assert trouble.count("MODEL_URI") == 1
    assert "(and 1 more)" in trouble


def test_a_controller_that_has_not_seen_the_change_is_waited_for():
    record = recorded("rollout-stuck")
    record["workload"]["metadata"]["generation"] = 99
    state = workload_words(record)
    assert not state.well
    assert state.trouble == "its controller has yet to see the change"


def test_a_deployment_of_ready_pods_of_the_newest_revision_is_well():
    record = recorded("quota")
    record["workload"]["spec"]["replicas"] = 1
    state = workload_words(record)
    assert state.well
    assert state.words == "1 of 1 ready"


def test_a_paused_rollout_is_told():
    record = recorded("rollout-stuck")
    record["workload"]["spec"]["paused"] = True
    record["workload"]["status"]["conditions"] = []
    record["pods"] = [pod for pod in record["pods"] if pod["metadata"]["name"] != "model-server-796bdbc494-b8twg"]
    record["events"] = []
    assert workload_words(record).trouble == "the rollout is paused (kubectl rollout resume)"
