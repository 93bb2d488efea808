"""What the agent's loop sees of a model on a cluster: two Deployments and their pods, put into the words of `agent.site.port`.

    the Deployment of the manifests runs what answers; its pod template says what is meant to
    the second one (`canary_deployment`) runs a new version beside it: first it loads, then it takes a share of the requests

The pods that are ready are what is loaded: a model server is ready when its version is loaded, warm and right about the golden inputs. All of
it is read from the cluster at each look, so an agent that was killed, or was away while people changed something, sees what is.
"""

from collections.abc import Mapping

from edgewise.agent.kubernetes.canary_deployment import answers, division_in
from edgewise.agent.kubernetes.release_pods import Fleet
from edgewise.agent.site.port import Division, View


def view_of(main: Fleet, canary: Fleet | None) -> View:
    """A model as the cluster shows it.

    Args:
        canary: the second Deployment; None while there is none. One that is to have no pods is on its way out.
    """
    going = canary is not None and not canary.replicas
    if going:
        canary = None
    fleets = [main] if canary is None else [main, canary]
    loaded = frozenset(pod.version for fleet in fleets for pod in fleet.ready() if pod.version)
    failed = _failed(main, canary)
    return View(
        loaded=loaded - failed.keys(),
        coming=frozenset(fleet.version for fleet in fleets if fleet.version) - loaded - failed.keys(),
        failed=failed,
        serving=_serving(main),
        meant=main.version,
        division=division_of(main, canary),
        settled=main.rolled and not going and (canary is None or _is_settled(main, canary)),
    )


def division_of(main: Fleet, canary: Fleet | None) -> Division | None:
    """The division that was asked for last: it is noted where the pods are that it is about."""
    found = division_in(main.deployment)
    return found if found is not None or canary is None else division_in(canary.deployment)


def _serving(main: Fleet) -> int:
    """While pods are replaced, some of them still answer with the version before."""
    if main.rolled:
        return main.version
    return next((pod.version for pod in main.ready() if pod.version != main.version), main.version)


def _failed(main: Fleet, canary: Fleet | None) -> Mapping[int, str]:
    found: dict[int, str] = {}
    if main.failure and not main.rolled:
        found[main.version] = main.failure
    # That there is no room for a larger share is no fault of the version; a smaller one does then.
    if canary is not None and canary.failure and not has_enough(canary) and canary.version != main.version:
        found[canary.version] = canary.failure
    return found


def has_enough(canary: Fleet) -> bool:
    """Whether a second Deployment is as large as it gets."""
    if any(not pod.newest for pod in canary.pods) or not canary.ready(canary.version):
        return False
    return canary.rolled or (not canary.failures and canary.lacks_room)


def _is_settled(main: Fleet, canary: Fleet) -> bool:
    division = division_of(main, canary)
    if canary.version == main.version or (division is None and answers(canary.deployment)):
        # It is on its way out.
        return False
    if division is not None and division.share == 1.0:
        return False
    return has_enough(canary)
