"""Endpoints of a site, and how they follow from what the Kubernetes API says of a Service. Pure.

An EndpointSlice holds addresses of one family with the ports that go with them; a Service has several, and while entries move
between slices one address may be in two of them. Endpoints, the older kind, is one object with subsets.

Source: Kubernetes API reference, EndpointSlice discovery.k8s.io/v1 (conditions: an absent `ready` is to be taken for true, an
absent `serving` for `ready`, an absent `terminating` for false; `addresses` are fungible), Endpoints v1.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_ADDRESS_TYPES: Final = ("IPv4", "IPv6", "IP")


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One process that answers for a site.

    Attributes:
        host: its IP address.
        port: its TCP port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a Service came to.

    Attributes:
        endpoints: those that take new requests, sorted.
        unready: those that are there, and neither ready nor terminating.
        no_port: names of the ports where none of them could be chosen; () where that is not so.
    """

    endpoints: tuple[Endpoint, ...]
    unready: tuple[Endpoint, ...] = ()
    no_port: tuple[str, ...] = ()

    def taken_after(self, before: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """Which endpoints take requests, given those that did so far.

        When none is ready any more, those that are still there go on: each of them has a link, which sees for itself whether it
        answers and says that it is ready. That all of them fail a check of the cluster at once tells more of the cluster, or of a
        load that would not get less by refusing everything.
        """
        return self.endpoints or tuple(endpoint for endpoint in before if endpoint in self.unready)


def service_of(host: str) -> tuple[str, str | None]:
    """The Service that a host name stands for.

    Args:
        host: SERVICE, SERVICE.NAMESPACE or SERVICE.NAMESPACE.svc, with whatever domain the cluster has behind it.
    Returns: name and namespace; None for the namespace that the gateway runs in.
    Raises: ValueError: it is none of these.
    """
    name, *more = host.lower().rstrip(".").split(".")
    if (len(more) >= 2 and more[1] != "svc") or not all(_LABEL.match(label) for label in (name, *more)):
        raise ValueError(f"{host!r} names no Service; expected SERVICE, SERVICE.NAMESPACE or SERVICE.NAMESPACE.svc")
    return name, more[0] if more else None


def found_in_slices(slices: Iterable[Mapping[str, Any]], port_name: str) -> Found:
    """The endpoints of a Service by its EndpointSlices, of v1 or v1beta1.

    An address that is in several slices takes requests when one of them says so and none says that it is terminating. Of a pod
    with addresses of both families one is taken, the IPv4 one.

    Args:
        slices: objects as the API gives them.
        port_name: the port that is meant; another one is taken where it is the only one.
    """
    collected = _Collected()
    for one in slices:
        if one.get("addressType") not in _ADDRESS_TYPES:
            continue  # FQDN: nothing that could be connected to without a lookup
        port = _port(one.get("ports"), port_name, collected)
        for entry in one.get("endpoints") or ():
            addresses = entry.get("addresses") or ()
            if not addresses:
                continue
            conditions = entry.get("conditions") or {}
            collected.add(
                str(addresses[0]),
                port,
                _uid(entry),
                ready=conditions.get("ready") is not False and conditions.get("serving") is not False,
                terminating=conditions.get("terminating") is True,
            )
    return collected.found()


def found_in_endpoints(objects: Iterable[Mapping[str, Any]], port_name: str) -> Found:
    """The endpoints of a Service by its Endpoints object, where the cluster has no slices.

    Args:
        objects: one at most, as the API gives it.
        port_name: as for slices.
    """
    collected = _Collected()
    for one in objects:
        for subset in one.get("subsets") or ():
            port = _port(subset.get("ports"), port_name, collected)
            for key, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(key) or ():
                    collected.add(str(address.get("ip")), port, _uid(address), ready=ready, terminating=False)
    return collected.found()


_Key = tuple[str, str, int | None]
"""Pod and address, since an address may have gone over from a pod that is terminating to a new one. What belongs to no pod is
known by address and port."""


class _Collected:
    """Entries of all slices or subsets on their way to being one list."""

    def __init__(self) -> None:
        self._entries: dict[_Key, int | None] = {}
        self._ready: set[_Key] = set()
        self._terminating: set[_Key] = set()
        self.ports: set[str] = set()

    def add(self, address: str, port: int | None, uid: str, *, ready: bool, terminating: bool) -> None:
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            return
        key = (uid, address, None if uid else port)
        ports = [number for number in (port, self._entries.get(key)) if number is not None]
        self._entries[key] = min(ports, default=None)
        if terminating:
            self._terminating.add(key)
        elif ready:
            self._ready.add(key)

    def found(self) -> Found:
        there = self._entries.keys() - self._terminating
        ready = there & self._ready
        endpoints = self._endpoints(ready)
        no_port = ready and not endpoints
        unready = tuple(one for one in self._endpoints(there - ready) if one not in endpoints)
        return Found(endpoints, unready, tuple(sorted(self.ports)) if no_port else ())

    def _endpoints(self, keys: AbstractSet[_Key]) -> tuple[Endpoint, ...]:
        taken: dict[_Key, Endpoint] = {}
        for key in sorted(keys, key=_by_family):
            port = self._entries[key]
            if port is not None:
                # A pod is asked at one address.
                taken.setdefault((key[0], "", None) if key[0] else key, Endpoint(key[1], port))
        return tuple(sorted(set(taken.values())))


def _by_family(key: _Key) -> tuple[bool, str, str, int]:
    return ":" in key[1], key[1], key[0], key[2] or 0


def _uid(entry: Mapping[str, Any]) -> str:
    return str((entry.get("targetRef") or {}).get("uid") or "")


def _port(ports: Iterable[Mapping[str, Any]] | None, port_name: str, collected: _Collected) -> int | None:
    known = [
        (str(port.get("name") or ""), port["port"])
        for port in ports or ()
        if port.get("protocol", "TCP") == "TCP" and isinstance(port.get("port"), int)
    ]
    collected.ports.update(name or str(number) for name, number in known)
    for name, number in known:
        if name == port_name:
            return int(number)
    return int(known[0][1]) if len(known) == 1 else None
