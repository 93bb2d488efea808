"""What installing, looking and uninstalling ask of a cluster; `api.py` is the real one, tests have another.

ClusterError (UnavailableError)      the API gave no usable answer
├── ClusterLostError                 nothing answers, or not in time; trying again makes sense
├── CredentialsError                 401, or a certificate that one side does not take
├── ForbiddenError                   403: a verb on a resource in a namespace is not allowed
├── FieldConflictError               409: fields that another manager owns
└── RefusedError                     any other refusal: invalid object, quota, admission
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edgewise.agent.kubernetes.objects import GroupKind, Object
from edgewise.core.errors import UnavailableError

FIELD_MANAGER: Final = "edgewise"
"""Of what installing applies."""


class ClusterError(UnavailableError):
    """The API gave no usable answer; the message says why, for people."""


class ClusterLostError(ClusterError):
    """Nothing answers at the API's address, or not in time."""


class CredentialsError(ClusterError):
    """The API does not know who asks, or one side does not take the other's certificate."""


class ForbiddenError(ClusterError):
    """Who asks is known and may not do it."""


@dataclass(frozen=True, slots=True, order=True)
class FieldConflict:
    """A field that another manager owns.

    Attributes:
        manager: such as "kubectl-edit".
        field: a path such as ".spec.replicas".
    """

    manager: str
    field: str


class FieldConflictError(ClusterError):
    """Fields that another manager owns have other values.

    Attributes:
        conflicts: one for each field.
    """

    def __init__(self, message: str, conflicts: Sequence[FieldConflict]) -> None:
        super().__init__(message)
        self.conflicts = tuple(conflicts)


class RefusedError(ClusterError):
    """The API does not take what it was given, or is not able to.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """A kind as the cluster serves it.

    Attributes:
        plural: as in paths, such as "deployments".
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group_kind(self) -> GroupKind:
        """The kind without its version."""
        return GroupKind(self.group, self.kind)

    @property
    def group_version(self) -> str:
        """As in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Applied:
    """An object after it was applied.

    Attributes:
        item: as the cluster has it now.
        created: whether it was not there before.
    """

    item: Object
    created: bool


@dataclass(frozen=True, slots=True)
class PodAnswer:
    """What a pod answered through the API's proxy.

    Attributes:
        status: of HTTP; the API itself answers 503 when it cannot reach the pod.
    """

    status: int
    body: bytes


class Cluster(Protocol):
    """The API of one cluster. Every call ends in bounded time and raises `ClusterError` only."""

    @property
    def address(self) -> str:
        """Where the API is, for people."""
        ...

    def version(self) -> str:
        """The server's version, such as "v1.20.2"."""
        ...

    def group_versions(self) -> frozenset[str]:
        """Every apiVersion that is served, such as "v1" and "apps/v1"."""
        ...

    def resources(self, group_version: str) -> tuple[Resource, ...]:
        """Kinds of an apiVersion; empty for one that is not served."""
        ...

    def read(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object; None when it is not there."""
        ...

    def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[Object]:
        """Objects of a kind in a namespace ("" for all), with `apiVersion` and `kind` in each.

        Args:
            resource: the kind.
            namespace: "" lists the whole cluster's.
            labels: a label selector.
        """
        ...

    def apply(
        self,
        resource: Resource,
        item: Object,
        *,
        dry_run: bool = False,
        force: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Applied:
        """Server-side apply.

        Args:
            resource: the kind.
            item: every field that is wanted, and no other.
            dry_run: check it as if it were applied.
            force: take over fields of other managers.
            manager: whose fields they are; those that it applied before and leaves out now are taken away.
        Raises:
            FieldConflictError: another manager owns a field with another value, and `force` is off.
        """
        ...

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> bool:
        """Delete an object; a workload is gone when its pods are.

        Args:
            resource: the kind.
            namespace: "" for objects of the whole cluster.
            name: the object's.
            uid: of the object that is meant; a successor of the same name stays.
        Returns: whether it was there.
        """
        ...

    def log(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int) -> str:
        """The last lines of a container's log; empty when there is none."""
        ...

    def ask_pod(self, namespace: str, pod: str, port: int, path: str, *, tls: bool) -> PodAnswer:
        """GET a path from a pod through the API's proxy."""
        ...
