"""What has to hold of every system that is rendered, beyond the schemas. Each policy yields what is wrong."""

import re
from collections.abc import Callable, Iterator, Mapping

from e2e.manifests.pods import (
    all_containers,
    containers,
    labels_of,
    pod_of,
    ports_of,
    references,
    selects,
    workloads,
)
from e2e.manifests.rendering import Object, of_kind

USER = 10001
FROM_USERS = {"model-server-tls", "gateway-tls"}
"""Secrets that are asked for and never rendered."""
ALONE = {"model-store", "agent"}
"""What has files that two cannot share."""
SETTLE_S = 0.25
"""How long a server that was told to stop still takes connections: `ready_settle_s` of both."""
LOOK_AT_ENDPOINTS = {
    (resource, verb) for resource in ("endpointslices", "endpoints") for verb in ("get", "list", "watch")
}
SET_RELEASES = {
    *((f"deployments/{name}", verb) for name in ("model-server", "model-server-next") for verb in ("get", "patch")),
    *(("deployments/model-server-next", verb) for verb in ("create", "delete")),
    *((resource, "list") for resource in ("replicasets", "pods", "events")),
    *(("configmaps", verb) for verb in ("get", "list", "create", "patch", "delete")),
}
ALLOWED = {"gateway-discovery": LOOK_AT_ENDPOINTS, "agent": SET_RELEASES}
"""By role: resource (with the one name that it is about) and verb."""
TRIED = {"app.kubernetes.io/name": "model-server-next"}
"""Of the pods that the agent makes."""
_CLUSTER_WIDE = {"Namespace"}
_LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "component", "part-of", "managed-by")}
_GROUPS_OF_1_20 = {"v1", "apps/v1", "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1", "batch/v1"}

Policy = Callable[[list[Object]], Iterator[str]]


def restricted(objects: list[Object]) -> Iterator[str]:
    """Kubernetes' Pod Security Standard `restricted`, and what of it is easily forgotten."""
    for item in workloads(objects):
        pod, name = pod_of(item), item["metadata"]["name"]
        security = pod.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or security.get("runAsUser") != USER:
            yield f"{name}: runs as somebody else than {USER}"
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: no seccomp profile"
        if any(pod.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name}: shares the node's namespaces"
        for volume in pod.get("volumes", []):
            if not volume.keys() & {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"}:
                yield f"{name}: volume {volume['name']} is of a kind that is not allowed"
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{name}: volume {volume['name']} may fill the node's disk"
        for container in all_containers(pod):
            own = container.get("securityContext", {})
            if (
                own.get("allowPrivilegeEscalation") is not False
                or own.get("capabilities") != {"drop": ["ALL"]}
                or own.get("readOnlyRootFilesystem") is not True
                or own.keys() & {"privileged", "runAsUser", "runAsNonRoot", "procMount"}
            ):
                yield f"{name}: container {container['name']} may do more than it has to"


def tokens(objects: list[Object]) -> Iterator[str]:
    """Only what asks the Kubernetes API has credentials for it, and those allow what it is there for."""
    accounts = {item["metadata"]["name"]: item for item in of_kind(objects, "ServiceAccount")}
    bound = set()
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        for subject in binding["subjects"]:
            bound.add(subject["name"])
            if subject["namespace"] != binding["metadata"]["namespace"]:
                yield f"{binding['metadata']['name']}: binds an account of namespace {subject['namespace']}"
            if subject["name"] not in accounts:
                yield f"{binding['metadata']['name']}: there is no account {subject['name']}"
        if binding["roleRef"]["name"] not in {role["metadata"]["name"] for role in of_kind(objects, "Role")}:
            yield f"{binding['metadata']['name']}: there is no role {binding['roleRef']['name']}"
    for role in of_kind(objects, "Role", "ClusterRole"):
        name = role["metadata"]["name"]
        allowed = {
            ("/".join(filter(None, (resource, which))), verb)
            for rule in role["rules"]
            for resource in rule["resources"]
            for which in rule.get("resourceNames", [""])
            for verb in rule["verbs"]
        }
        if role["kind"] != "Role" or not allowed <= ALLOWED.get(name, set()):
            yield f"{name}: allows more than it is there for"
    for item in workloads(objects):
        pod, name = pod_of(item), item["metadata"]["name"]
        if pod.get("serviceAccountName") not in accounts:
            yield f"{name}: has no service account of its own"
        elif accounts[pod["serviceAccountName"]].get("automountServiceAccountToken") is not False:
            yield f"{name}: its account gives every pod a token"
        if pod.get("automountServiceAccountToken") is not (pod.get("serviceAccountName") in bound):
            yield f"{name}: has a token without a role, a role without a token, or does not say"


def probes(objects: list[Object]) -> Iterator[str]:
    """Readiness asks whether it can serve, liveness never more than whether the process answers."""
    for item in workloads(objects):
        for container in containers(pod_of(item)):
            name = container["name"]
            asked = {}
            for kind in ("startup", "readiness", "liveness"):
                probe = container.get(f"{kind}Probe", {}).get("httpGet")
                if probe is None:
                    yield f"{name}: no {kind} probe over HTTP"
                    continue
                asked[kind] = probe["path"]
                if probe["port"] not in {port["name"] for port in container["ports"]}:
                    yield f"{name}: the {kind} probe asks port {probe['port']}"
            ours = name != "model-store"
            if ours and asked.get("liveness") != "/v2/health/live":
                yield f"{name}: would be restarted for more than not answering"
            if ours and asked.get("readiness") != "/v2/health/ready":
                yield f"{name}: is called ready without being asked"
            if name == "model-server" and asked.get("startup") != "/v2/health/ready":
                yield f"{name}: counts as started before its models are loaded"
            if name == "gateway" and asked.get("startup") != "/v2/health/live":
                yield f"{name}: would be restarted since its sites are away"


def resources(objects: list[Object]) -> Iterator[str]:
    """Every container says what it needs and what it may take."""
    for item in workloads(objects):
        for container in all_containers(pod_of(item)):
            said = container.get("resources", {})
            for what in ("requests", "limits"):
                for resource in ("cpu", "memory"):
                    if resource not in said.get(what, {}):
                        yield f"{item['metadata']['name']}: {container['name']} has no {what} of {resource}"


def images(objects: list[Object]) -> Iterator[str]:
    """Images are named by version."""
    for item in workloads(objects):
        for container in all_containers(pod_of(item)):
            repository, _, tag = container["image"].rpartition(":")
            if not repository or tag == "latest" or "/" in tag:
                yield f"{item['metadata']['name']}: image {container['image']} has no version"
            if container.get("imagePullPolicy") != "IfNotPresent":
                yield f"{item['metadata']['name']}: {container['name']} pulls what cannot have changed"


def stopping(objects: list[Object]) -> Iterator[str]:
    """Pods are replaced one by one, and each has the time that its own way to stop may take."""
    for item in of_kind(objects, "Deployment"):
        name, pod = item["metadata"]["name"], pod_of(item)
        if name in ALONE:
            if item["spec"].get("strategy") != {"type": "Recreate"} or item["spec"]["replicas"] != 1:
                yield f"{name}: two of them may be there at once"
            continue
        strategy = item["spec"].get("strategy", {})
        if strategy.get("rollingUpdate") != {"maxUnavailable": 0, "maxSurge": 1}:
            yield f"{name}: a rollout takes pods away before there are new ones"
        container = containers(pod)[0]
        command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [""])
        pause = re.search(r"sleep\((\d+)\)", command[-1])
        drain = [re.search(r"--drain-timeout-s=(\d+)", word) for word in container["args"]]
        drains = [float(found[1]) for found in drain if found]
        if pause is None or len(drains) != 1:
            yield f"{name}: does not wait before it stops, or does not say how long it drains"
            continue
        # The model server may take the drain's time once more for what its batchers hold.
        times = 2 if container["name"] == "model-server" else 1
        needed_s = float(pause[1]) + SETTLE_S + times * drains[0] + 5.0
        if pod.get("terminationGracePeriodSeconds", 30) < needed_s:
            yield f"{name}: is killed before the {needed_s:g} s that it may take to stop"


def selectors(objects: list[Object]) -> Iterator[str]:
    """Whatever selects pods or points at something finds it."""
    found = workloads(objects)
    for item in found:
        if not selects(item["spec"]["selector"]["matchLabels"], labels_of(item)):
            yield f"{item['metadata']['name']}: does not select its own pods"
        others = [other for other in found if other is not item]
        if any(selects(item["spec"]["selector"]["matchLabels"], labels_of(other)) for other in others):
            yield f"{item['metadata']['name']}: selects the pods of another one"
        for constraint in pod_of(item).get("topologySpreadConstraints", []):
            if not selects(constraint["labelSelector"]["matchLabels"], labels_of(item)):
                yield f"{item['metadata']['name']}: is spread by labels that it does not have"
    for item in of_kind(objects, "Service"):
        chosen = [one for one in found if selects(item["spec"]["selector"], labels_of(one))]
        if len(chosen) != 1:
            yield f"Service {item['metadata']['name']}: leads to {len(chosen)} workloads"
        for one in chosen:
            missing = {port["targetPort"] for port in item["spec"]["ports"]} - ports_of(pod_of(one)).keys()
            if missing:
                yield f"Service {item['metadata']['name']}: {one['metadata']['name']} has no ports {missing}"
    for item in of_kind(objects, "PodDisruptionBudget", "PodMonitor"):
        chosen = [one for one in found if selects(item["spec"]["selector"]["matchLabels"], labels_of(one))]
        if not chosen:
            yield f"{item['kind']} {item['metadata']['name']}: is about no pod"
        for one in chosen:
            for endpoint in item["spec"].get("podMetricsEndpoints", []):
                if endpoint["port"] not in ports_of(pod_of(one)):
                    yield f"{item['kind']} {item['metadata']['name']}: no port {endpoint['port']}"
    for item in of_kind(objects, "HorizontalPodAutoscaler"):
        target = item["spec"]["scaleTargetRef"]
        chosen = [one for one in found if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])]
        if len(chosen) != 1:
            yield f"HorizontalPodAutoscaler {item['metadata']['name']}: there is no {target['name']}"
        elif "replicas" in chosen[0]["spec"]:
            yield f"HorizontalPodAutoscaler {item['metadata']['name']}: each apply sets the replicas back"
    yield from _network(objects)


def _network(objects: list[Object]) -> Iterator[str]:
    found = workloads(objects)
    names = {item["metadata"]["name"] for item in found}
    for item in of_kind(objects, "NetworkPolicy"):
        name, spec = item["metadata"]["name"], item["spec"]
        chosen = [one for one in found if _chooses(spec["podSelector"], labels_of(one))]
        if not chosen:
            yield f"NetworkPolicy {name}: is about no pod"
        for rule in spec.get("ingress", []):
            for port in rule.get("ports", []):
                if isinstance(port["port"], str) and any(port["port"] not in ports_of(pod_of(one)) for one in chosen):
                    yield f"NetworkPolicy {name}: there is no port {port['port']}"
        for peer in [peer for rule in spec.get("ingress", []) for peer in rule.get("from", [])]:
            if "namespaceSelector" not in peer and not any(
                selects(peer["podSelector"]["matchLabels"], labels)
                for labels in (*map(labels_of, found), TRIED if "agent" in names else {})
            ):
                yield f"NetworkPolicy {name}: lets nobody in"


def _chooses(selector: Object, labels: Mapping[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    return selects(selector.get("matchLabels", {}), labels) and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in expressions
    )


def contents(objects: list[Object]) -> Iterator[str]:
    """What a pod asks for is there, and what is there is mounted where it is said."""
    maps = {item["metadata"]["name"]: item.get("data", {}) for item in of_kind(objects, "ConfigMap")}
    used = set()
    for item in workloads(objects):
        name, pod = item["metadata"]["name"], pod_of(item)
        for kind, target, key, optional in references(pod):
            used.add(target)
            if kind == "Secret":
                if not optional and target not in FROM_USERS:
                    yield f"{name}: asks for Secret {target}, of which nothing is said"
            elif target not in maps:
                yield f"{name}: there is no ConfigMap {target}"
            elif key is not None and key not in maps[target]:
                yield f"{name}: ConfigMap {target} has no key {key}"
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {mount["name"] for container in all_containers(pod) for mount in container.get("volumeMounts", [])}
        if volumes != mounted:
            yield f"{name}: volumes {sorted(volumes ^ mounted)} are mounted or there, not both"
        for container in all_containers(pod):
            known = {variable["name"] for variable in container.get("env", [])}
            for word in [*container.get("command", []), *container.get("args", [])]:
                unset = set(re.findall(r"\$\((\w+)\)", word)) - known
                if unset:
                    yield f"{name}: {container['name']} is told {word} and has no {unset}"
    generated = {target for target in maps if re.search(r"-[0-9a-z]{10}$", target)}
    for target in sorted(generated - used):
        yield f"ConfigMap {target}: nobody asks for it"


def identity(objects: list[Object]) -> Iterator[str]:
    """One namespace, each object once, and the labels by which they are found."""
    seen = set()
    places = set()
    for item in objects:
        metadata = item["metadata"]
        key = (item["kind"], metadata["name"])
        if key in seen:
            yield f"{key}: is there twice"
        seen.add(key)
        if item["kind"] in _CLUSTER_WIDE:
            continue
        places.add(metadata.get("namespace"))
        missing = _LABELS - metadata.get("labels", {}).keys()
        if missing and item["kind"] != "ConfigMap":
            yield f"{key}: has no {sorted(missing)}"
    if len(places) != 1 or None in places:
        yield f"objects are in the namespaces {sorted(map(str, places))}"
    for item in of_kind(objects, "Namespace"):
        levels = {label: level for label, level in item["metadata"]["labels"].items() if "pod-security" in label}
        if set(levels.values()) != {"restricted"} or len(levels) != 3:
            yield "the namespace takes pods that are not restricted"
        if places != {item["metadata"]["name"]}:
            yield f"the namespace {item['metadata']['name']} is empty"


POLICIES: tuple[Policy, ...] = (
    *(restricted, tokens, probes, resources, images),
    *(stopping, selectors, contents, identity),
)


def old_enough(objects: list[Object]) -> Iterator[str]:
    """Only what Kubernetes 1.20 has; for the overlay `test`."""
    for item in objects:
        if item["apiVersion"] not in _GROUPS_OF_1_20:
            yield f"{item['kind']}/{item['metadata']['name']}: {item['apiVersion']} came later"
        for port in item["spec"]["ports"] if item["kind"] == "Service" else []:
            if "protocol" not in port:
                yield f"{item['kind']}/{item['metadata']['name']}: server-side apply takes a protocol for each port"
    for item in workloads(objects):
        pod = pod_of(item)
        for container in containers(pod):
            for kind in ("startup", "readiness", "liveness"):
                if "grpc" in container.get(f"{kind}Probe", {}):
                    yield f"{item['metadata']['name']}: gRPC probes came later"
            if "sleep" in container.get("lifecycle", {}).get("preStop", {}):
                yield f"{item['metadata']['name']}: preStop's sleep came later"
        for constraint in pod.get("topologySpreadConstraints", []):
            if constraint.keys() - {"topologyKey", "maxSkew", "whenUnsatisfiable", "labelSelector"}:
                yield f"{item['metadata']['name']}: spreads as later versions can"
