"""The second Deployment that runs a new version beside the one that answers, for as long as the two are compared.

Its pods are those of the first, with another source. They carry the label by which the Service finds pods only once they are to answer: so
a version is loaded, warm and right about its golden inputs before the first request reaches it. Its selector is its own, so neither of the
two takes the other's pods.
"""

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from edgewise.agent.kubernetes.objects import Object, annotations_of, at, labels_of
from edgewise.agent.kubernetes.release_source import Source, agent_labels, owned_by, template_with
from edgewise.agent.site.port import Division

COMPONENT: Final = "app.kubernetes.io/component"
"""The label by which the Service of the model servers selects; see deploy/k8s/components/rollouts."""
ANSWERS: Final = "model-server"
LOADS: Final = "model-server-next"
DIVISION: Final = "edgewise.dev/division"
"""On the Deployment: how requests are to be divided, as JSON."""
_NAME: Final = "app.kubernetes.io/name"
_COPIED: Final = ("minReadySeconds", "progressDeadlineSeconds", "strategy")


def canary_name(deployment: str) -> str:
    """What the second Deployment is called."""
    return f"{deployment}-next"


def canary_of(deployment: Object, source: Source, replicas: int, division: Division | None, *, answers: bool) -> Object:
    """The second Deployment.

    Args:
        deployment: the first, as the cluster has it.
        source: of the version to try.
        replicas: pods.
        division: in force; None while it loads only.
        answers: whether requests reach it.
    """
    name = canary_name(deployment["metadata"]["name"])
    spec = deployment["spec"]
    template = template_with(spec["template"], source)
    labels = template["metadata"].setdefault("labels", {})
    labels[_NAME] = name
    labels[COMPONENT] = ANSWERS if answers else LOADS
    selectors = [
        at(one, "labelSelector", "matchLabels") for one in at(template, "spec", "topologySpreadConstraints") or []
    ]
    for selector in filter(None, selectors):
        # They are spread among themselves, as the others are.
        if selector.get(_NAME) == deployment["metadata"]["name"]:
            selector[_NAME] = name
    annotations = {} if division is None else {DIVISION: division_text(division)}
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "metadata": {
            "name": name,
            "namespace": deployment["metadata"]["namespace"],
            "labels": agent_labels(name),
            "annotations": annotations,
            "ownerReferences": [owned_by(deployment)],
        },
        "spec": {
            **{key: copy.deepcopy(spec[key]) for key in _COPIED if key in spec},
            "replicas": replicas,
            # Nobody goes back to a former try.
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {_NAME: name}},
            "template": template,
        },
    }


def canary_replicas(share: float, replicas: int) -> int:
    """How many pods beside `replicas` of the old version get at least a share of the requests, as far as pods are asked alike.

    The old ones stay, so that nothing is lost when the new ones are taken away; so more than as many again are never asked of a cluster,
    which is a half of the requests.
    """
    if share <= 0.0 or replicas <= 0:
        return 1
    wanted = math.ceil(share / (1.0 - share) * replicas - 1e-9) if share < 1.0 else replicas
    return max(1, min(wanted, replicas))


def division_text(division: Division) -> str:
    """As an annotation."""
    return json.dumps(asdict(division), sort_keys=True, separators=(",", ":"))


def division_in(canary: Object) -> Division | None:
    """The division that a second Deployment is for; None for none, or one that nobody understands."""
    try:
        said: Mapping[str, Any] = json.loads(annotations_of(canary).get(DIVISION, ""))
        return Division(**said)
    except (ValueError, TypeError):
        return None


def answers(canary: Object) -> bool:
    """Whether the pods of a second Deployment are to be asked."""
    return bool(labels_of(canary["spec"]["template"]).get(COMPONENT) == ANSWERS)
