"""Pods that end in every way a pod can, under load."""

import os
import signal
import time
from pathlib import Path

import pytest

from e2e.cluster.archives import row_questions
from e2e.cluster.kube import Pod
from e2e.cluster.story import phases_between, show_ledger


def _force(installation, pod: Pod) -> None:
    installation.namespace.kubectl(
        "delete", "pod", pod.name, "--force", "--grace-period=0", "--wait=false", check=False
    )


def _gracefully(installation, pod: Pod) -> None:
    installation.namespace.kubectl("delete", "pod", pod.name, "--wait=false")


def _kill_process(installation, pod: Pod) -> None:
    """SIGKILL to the server, which is process 1 of its container and so only to be killed from outside."""
    (container,) = pod.container_ids
    name = container.rpartition("/")[2]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_first_of(entry, name):
            os.kill(int(entry.name), signal.SIGKILL)
            return
    pytest.skip("the pod's processes are not to be seen from here")


def _is_first_of(entry: Path, container: str) -> bool:
    try:
        inside = (entry / "status").read_text().partition("NSpid:")[2].partition("\n")[0].split()
        return container in (entry / "cgroup").read_text() and inside[-1:] == ["1"]
    except OSError:
        return False


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("kubectl delete pod --force --grace-period=0", _force),
        ("kill -9 of the server's process", _kill_process),
        ("kubectl delete pod", _gracefully),
    ],
    ids=["force", "kill", "graceful"],
)
def test_a_pod_that_ends_costs_no_request(tiny, timeline, apps, how, end):
    timeline.section(f"One of three pods ends under 100 requests/s: {how}")
    namespace = tiny.namespace
    timeline.wait("three pods are ready", lambda: len(namespace.ready("model-server")) == 3)
    victim = namespace.ready("model-server")[0]
    load = apps("lost-pod", row_questions(2_000), rest=70, grpc=30)
    load.wait_count(300)
    at_s = time.monotonic()
    end(tiny, victim)
    done_s = time.monotonic()
    timeline.say(f"{how}: {victim.name}")
    timeline.say("$ kubectl get pods -o wide")
    timeline.show(namespace.kubectl("get", "pods", "-o", "wide"))
    timeline.wait("the pod is gone or has been started again", lambda: _other(namespace, victim))
    timeline.wait("three pods are ready", lambda: len(namespace.ready("model-server")) == 3)
    healed_s = time.monotonic()
    load.wait_count(150)
    tiny.show()
    ledger = load.finish()
    names, marks_s = ["before", "first second", "until three are ready", "after"], [at_s, done_s + 1.0]
    show_ledger(timeline, ledger, phases_between(ledger, names, [*marks_s, max(healed_s, done_s + 1.0)]))
    timeline.say(f"requests that took two attempts: {sum(record.attempts > 1 for record in ledger.records)}")
    ledger.require_all_right()


def _other(namespace, victim: Pod) -> bool:
    now = {pod.uid: pod for pod in namespace.pods("model-server")}
    pod = now.get(victim.uid)
    return pod is None or pod.container_ids != victim.container_ids or pod.deleting
