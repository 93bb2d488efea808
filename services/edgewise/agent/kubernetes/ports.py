"""Ports whose protocol is said: servers before 1.21 cannot apply one that leaves it out, since it is part of a port's key."""

from edgewise.agent.kubernetes.objects import Object, at, containers_of, pod_spec_of


def say_protocols(item: Object) -> None:
    """Write the default, TCP, into every port of a Service or workload that names none, in place."""
    spec = pod_spec_of(item)
    ports = [port for container in (containers_of(spec) if spec else ()) for port in container.get("ports") or []]
    if item["kind"] == "Service":
        ports += at(item, "spec", "ports") or []
    for port in ports:
        if isinstance(port, dict):
            port.setdefault("protocol", "TCP")
