"""Shows an installation's state, once or whenever it has changed."""

import json

from edgewise.agent.kubernetes.observation import observe
from edgewise.agent.kubernetes.port import Cluster, ClusterLostError
from edgewise.agent.kubernetes.readiness import Surroundings
from edgewise.agent.kubernetes.site_status import report
from edgewise.agent.kubernetes.status_text import status_text


def show(cluster: Cluster, namespace: str, around: Surroundings, *, as_json: bool = False) -> int:
    """Show the state.

    Args:
        cluster: where.
        namespace: of the installation.
        around: the world.
        as_json: one line of JSON in place of text.
    Returns: 0 when all is well, else 1.
    Raises:
        ClusterError: it cannot be read.
    """
    text, well = _look(cluster, namespace, as_json=as_json)
    around.say(text)
    return 0 if well else 1


def watch(cluster: Cluster, namespace: str, around: Surroundings, *, as_json: bool, every_s: float) -> int:
    """Show the state whenever it has changed, until interrupted; a cluster that is away is waited for.

    Args:
        cluster: where.
        namespace: of the installation.
        around: the world.
        as_json: lines of JSON in place of text.
        every_s: between two looks.
    Raises:
        ClusterError: it cannot be read, and not because nothing answers.
    """
    last = ""
    while True:
        try:
            text, _ = _look(cluster, namespace, as_json=as_json)
        except ClusterLostError as error:
            text = json.dumps({"error": error.message}) if as_json else f"{error.message}; trying again"
        if text != last:
            around.say(text if as_json or not last else f"\n{text}")
            last = text
        around.sleep(every_s)


def _look(cluster: Cluster, namespace: str, *, as_json: bool) -> tuple[str, bool]:
    found = report(observe(cluster, namespace), cluster.version())
    return (json.dumps(found.as_json()) if as_json else status_text(found)), found.well
