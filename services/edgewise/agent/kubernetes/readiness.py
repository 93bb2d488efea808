"""Waits until what was applied is ready, and says which object is why it waits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.objects import Object, ref_of
from edgewise.agent.kubernetes.observation import observe
from edgewise.agent.kubernetes.port import Cluster, ClusterLostError
from edgewise.agent.kubernetes.site_status import SiteReport, report
from edgewise.agent.kubernetes.workloads import WORKLOADS

POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the flow needs of the world beside the cluster.

    Attributes:
        say: prints a line.
        now_s: monotonic.
        sleep: waits some seconds.
    """

    say: Callable[[str], None]
    now_s: Callable[[], float]
    sleep: Callable[[float], None]


def wait_until_ready(
    cluster: Cluster, namespace: str, objects: Sequence[Object], timeout_s: float, around: Surroundings
) -> SiteReport:
    """Wait until all workloads and Services are well, or time is up; say whatever changes.

    Args:
        cluster: where.
        namespace: of the installation.
        objects: the manifests; their workloads and Services are waited for.
        timeout_s: for all of it; a cluster that does not answer meanwhile is asked again.
        around: the world.
    Returns: the last state, which may not be well.
    Raises:
        ClusterError: the cluster cannot be asked, or did not answer when time was up.
    """
    until_s = around.now_s() + timeout_s
    expected = [ref_of(item) for item in objects if item["kind"] in WORKLOADS]
    only = frozenset(expected) | {ref_of(item) for item in objects if item["kind"] == "Service"}
    told: dict[str, str] = {}
    state: SiteReport | None = None
    while True:
        lost = ""
        try:
            state = report(observe(cluster, namespace, only=only, ask_models=False), "", expected)
        except ClusterLostError as error:
            lost = error.message
            _say_once(told, "", f"{lost}; trying again", around.say)
        else:
            _tell(state, told, around.say)
            if state.well or not expected:
                return state
        if around.now_s() >= until_s:
            break
        around.sleep(min(POLL_S, max(0.0, until_s - around.now_s())))
    if state is None or lost:
        raise ClusterLostError(f"{lost}; whether the installation is ready is not known")
    _say_unready(state, timeout_s, around.say)
    return state


def _say_unready(state: SiteReport, timeout_s: float, say: Callable[[str], None]) -> None:
    say(f"not ready after {timeout_s:g} s:")
    for workload in state.workloads:
        if not workload.well:
            say(f"  {workload.kind} {workload.name}: {workload.state}")
    for service in state.services:
        if not service.well:
            say(f"  Service {service.name}: {service.trouble}")


def _tell(state: SiteReport, told: dict[str, str], say: Callable[[str], None]) -> None:
    """Say what changed since the last look, one line for each object."""
    told.pop("", None)
    for workload in state.workloads:
        _say_once(told, workload.name, f"{workload.name}: {workload.state}", say)
    for service in state.services:
        key = f"Service {service.name}"
        _say_once(told, key, f"{key}: {service.trouble}" if service.trouble else "", say)
    for note in state.notes:
        _say_once(told, f"note {note}", f"note: {note}", say)


def _say_once(told: dict[str, str], key: str, line: str, say: Callable[[str], None]) -> None:
    if told.get(key, "") != line:
        told[key] = line
        if line:
            say(line)
