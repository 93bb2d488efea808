"""Services: whether somebody answers behind one, and how to reach it from outside."""

from collections.abc import Mapping, Sequence
from typing import Final

from edgewise.agent.kubernetes.objects import Object, at, labels_of, matches
from edgewise.agent.kubernetes.pods import is_ready

REST: Final = "rest"
GRPC: Final = "grpc"


def service_trouble(service: Object, pods: Sequence[Object]) -> str:
    """Why nobody answers behind a Service; empty when somebody does, or it selects no pods of its own.

    Args:
        service: the Service.
        pods: all pods of its namespace.
    """
    selector: Mapping[str, str] = at(service, "spec", "selector") or {}
    if not selector:
        return ""
    chosen = [pod for pod in pods if matches(selector, labels_of(pod))]
    if any(is_ready(pod) and not pod["metadata"].get("deletionTimestamp") for pod in chosen):
        return _port_trouble(service, chosen)
    said = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    if not chosen:
        return f"no endpoints: no pod has the labels {said}"
    return f"no endpoints: none of its {len(chosen)} pod{'' if len(chosen) == 1 else 's'} is ready"


def _port_trouble(service: Object, pods: Sequence[Object]) -> str:
    names = {
        port.get("name")
        for pod in pods
        for container in at(pod, "spec", "containers") or []
        for port in container.get("ports") or []
    }
    for port in at(service, "spec", "ports") or []:
        target = port.get("targetPort")
        if isinstance(target, str) and target not in names:
            return f"port {port.get('name') or port.get('port')}: no container of its pods has a port named {target}"
    return ""


def ways_in(service: Object, pods: Sequence[Object]) -> list[str]:
    """How to reach a Service, one line each.

    Args:
        service: the Service.
        pods: of its namespace; they tell addresses of nodes without permission to read nodes.
    """
    metadata = service["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    ports = {port.get("name") or str(port.get("port")): port for port in at(service, "spec", "ports") or []}
    kind = at(service, "spec", "type") or "ClusterIP"
    hosts: list[str] = []
    if kind == "LoadBalancer":
        ingress = at(service, "status", "loadBalancer", "ingress") or []
        hosts = [f"{_bracketed(str(one.get('ip') or one.get('hostname')))}:{{port}}" for one in ingress[:1]]
    if not hosts and kind in ("NodePort", "LoadBalancer"):
        nodes = sorted({str(at(pod, "status", "hostIP")) for pod in pods if at(pod, "status", "hostIP")})
        hosts = [f"{_bracketed(node)}:{{nodePort}}" for node in nodes[:1]]
    lines = []
    for port_name, port in ports.items():
        scheme = "http://" if port_name == REST else "grpc://" if port_name == GRPC else ""
        lines += [f"{port_name}: {scheme}{host.format(**{'nodePort': '?'} | port)}" for host in hosts]
        lines.append(f"{port_name}, in the cluster: {scheme}{name}.{namespace}.svc:{port.get('port')}")
    if not hosts:
        forwards = " ".join(f"{port.get('port')}:{port.get('port')}" for port in ports.values())
        lines.append(f"from here: kubectl -n {namespace} port-forward service/{name} {forwards}")
    return lines


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
