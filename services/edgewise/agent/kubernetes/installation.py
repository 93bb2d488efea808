"""Installs manifests in a cluster: checks everything, applies in order, waits and says why, takes away what is no longer wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgewise import __version__
from edgewise.agent.kubernetes.applyset import (
    NEVER_DELETED,
    PARENT,
    PART_OF,
    applyset_id,
    is_member,
    kinds_of,
    mark,
    parent,
    prunable,
    selector,
)
from edgewise.agent.kubernetes.comparison import same
from edgewise.agent.kubernetes.images import set_images
from edgewise.agent.kubernetes.kinds import resolve, unknown_kinds
from edgewise.agent.kubernetes.model_source import NAME, URI, VERSION, ModelVersion, models_said, set_model
from edgewise.agent.kubernetes.namespaces import settle_namespace
from edgewise.agent.kubernetes.objects import GroupKind, Object, Ref, at, labels_of, listed, ref_of
from edgewise.agent.kubernetes.observation import CONFIG_MAP, NAMESPACE, POD, REPLICA_SET
from edgewise.agent.kubernetes.order import apply_order, delete_order
from edgewise.agent.kubernetes.port import (
    Cluster,
    ClusterError,
    ClusterLostError,
    CredentialsError,
    FieldConflictError,
    ForbiddenError,
    Resource,
)
from edgewise.agent.kubernetes.ports import say_protocols
from edgewise.agent.kubernetes.readiness import POLL_S, Surroundings, wait_until_ready
from edgewise.agent.kubernetes.resources import resource_of
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What is wanted of an installation beside its manifests.

    Attributes:
        source: what the manifests are called, such as "overlay cloud".
        namespace: None takes the one that they name.
        timeout_s: for readiness; 0 does not wait.
        force_conflicts: take over fields that another manager owns.
        dry_run: have the API check everything, and change nothing.
        image_registry, image_tag: for Edgewise's own images.
        images: whole references by image name.
        model: another model version than the manifests say.
        model_source: the ConfigMap that says it.
    """

    source: str
    namespace: str | None = None
    timeout_s: float = 300.0
    force_conflicts: bool = False
    dry_run: bool = False
    image_registry: str | None = None
    image_tag: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    model: ModelVersion | None = None
    model_source: str = "model-source"


def install(cluster: Cluster, objects: list[Object], options: InstallOptions, around: Surroundings) -> int:
    """Install.

    Args:
        cluster: where.
        objects: the manifests; they are changed.
        options: what else is wanted.
        around: the world.
    Returns: 0 when everything is ready (or nothing was to be waited for), 1 when it was not ready in time.
    Raises:
        EdgewiseError: nothing, or not everything, was applied; the message says why, in a line for each thing.
    """
    return _Installation(cluster, options, around).run(objects)


class _Installation:
    def __init__(self, cluster: Cluster, options: InstallOptions, around: Surroundings) -> None:
        self.cluster = cluster
        self.options = options
        self.around = around
        self.namespace = ""
        self.before: dict[Ref, Object | None] = {}
        self.made: list[Ref] = []
        self.members: set[Ref] = set()

    def run(self, objects: list[Object]) -> int:
        options, say = self.options, self.around.say
        server = self.cluster.version()
        ordered = self._prepare(objects, server)
        say(f"{options.source} to namespace {self.namespace} at {self.cluster.address} (Kubernetes {server})")
        there = self._namespace_there()
        if not there and not options.dry_run:
            # What is in it can only be checked where it is.
            first = [item for item in ordered if item["kind"] == "Namespace"]
            self._check(first)
            self._apply(first)
            there = True
        rest = ordered if there else [item for item in ordered if not item["metadata"].get("namespace")]
        self._check(rest)
        if options.dry_run:
            return self._dry_run(ordered, rest)
        parent_before = self.cluster.read(CONFIG_MAP, self.namespace, PARENT)
        self.members = {ref_of(item) for item in objects if item["kind"] not in NEVER_DELETED}
        kinds = {ref.group_kind for ref in self.members}
        old_kinds = kinds_of(parent_before)
        self._write_parent(kinds | old_kinds)
        self._apply(ordered)
        for name, data in sorted(models_said(objects).items()):
            say(f"{name}: model {data.get(NAME, '?')} version {data.get(VERSION, '?')} from {data.get(URI, '?')}")
        if options.timeout_s == 0:
            say("not waiting for readiness, and taking nothing away (--timeout-s 0): edgewise k8s status tells")
            return 0
        ready = wait_until_ready(self.cluster, self.namespace, objects, options.timeout_s, self.around)
        if not ready.well:
            say("what the last installation had and this one has not stays until this one is ready")
            return 1
        self._prune(objects, kinds, old_kinds)
        for service in ready.services:
            for line in service.reach if service.predicts else ():
                say(f"Service {service.name}, {line}")
        return 0

    def _prepare(self, objects: list[Object], server: str) -> list[Object]:
        """Make the manifests what is to be applied.

        Returns: them in the order in which they are.
        """
        options = self.options
        resources = self._resources(objects, server)
        namespaced = {i for i, item in enumerate(objects) if _namespaced(item, resources[i], objects)}
        self.namespace = settle_namespace(objects, namespaced, options.namespace)
        if options.model is not None:
            set_model(objects, options.model, options.model_source)
        set_images(objects, registry=options.image_registry, tag=options.image_tag, references=options.images)
        if not any(item["kind"] == "Namespace" and item["metadata"]["name"] == self.namespace for item in objects):
            objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        for item in objects:
            say_protocols(item)
            mark(item, self.namespace)
        return apply_order(objects)

    def _resources(self, objects: list[Object], server: str) -> list[Resource | None]:
        resources, unknown = resolve(objects, self.cluster.resources)
        if unknown:
            lines = unknown_kinds(unknown, server, self.cluster.group_versions())
            raise FailedPreconditionError(
                "nothing was applied: this cluster does not know " + "; ".join(lines)
                if len(lines) == 1
                else "nothing was applied: this cluster does not know some kinds:\n  " + "\n  ".join(lines)
            )
        return resources

    def _namespace_there(self) -> bool:
        try:
            found = self.cluster.read(NAMESPACE, "", self.namespace)
        except ForbiddenError:
            # Whoever may work in one namespace only may often not look at the namespace itself.
            return True
        if found is not None and found["metadata"].get("deletionTimestamp"):
            raise FailedPreconditionError(
                f"namespace {self.namespace} is being deleted; wait until it is gone (kubectl get namespace {self.namespace})"
            )
        return found is not None

    def _check(self, items: Sequence[Object]) -> None:
        """Have the API check everything, so that nothing is applied when something cannot be."""
        problems: list[str] = []
        for item in items:
            ref = ref_of(item)
            resource = self._resource(item)
            if resource is None:
                continue
            try:
                before = self.cluster.read(resource, ref.namespace, ref.name)
                self.before[ref] = before
                self._refuse_others(before)
                self.cluster.apply(resource, item, dry_run=True, force=self.options.force_conflicts)
            except (ClusterLostError, CredentialsError):
                raise
            except FieldConflictError as error:
                problems += [_conflict(ref, one.field, one.manager) for one in error.conflicts]
            except ForbiddenError as error:
                if ref.kind == "Namespace" and ref.name == self.namespace and self.before.get(ref, item) is not None:
                    # It is there or not ours to see; what is in it is what was asked for.
                    self.before[ref] = item
                    continue
                problems.append(error.message)
            except (ClusterError, InvalidArgumentError) as error:
                problems.append(f"{ref}: {error.message}")
        unique = list(dict.fromkeys(problems))
        if unique:
            made = listed(sorted(str(ref) for ref in self.made))
            done = f"nothing was applied but {made}" if made else "nothing was applied"
            raise FailedPreconditionError(
                f"{done}: {unique[0]}" if len(unique) == 1 else f"{done}:\n  " + "\n  ".join(unique)
            )

    def _refuse_others(self, before: Object | None) -> None:
        owner = labels_of(before or {}).get(PART_OF)
        if owner is not None and owner != applyset_id(self.namespace):
            raise InvalidArgumentError(
                f"it belongs to another installation ({PART_OF}={owner}); uninstall that one first, or choose other names"
            )

    def _dry_run(self, ordered: Sequence[Object], checked: Sequence[Object]) -> int:
        say = self.around.say
        known = {ref_of(item) for item in checked}
        for item in ordered:
            ref = ref_of(item)
            resource = self._resource(item)
            if ref not in known or resource is None:
                say(f"{ref}: would be created; not checked, since its namespace or kind is not there yet")
                continue
            before = self.before.get(ref)
            if before is None:
                say(f"{ref}: would be created")
                continue
            if ref.kind == "Namespace":
                continue
            after = self.cluster.apply(resource, item, dry_run=True, force=self.options.force_conflicts).item
            say(f"{ref}: would be {'unchanged' if same(before, after) else 'configured'}")
        old_kinds = (
            kinds_of(self.cluster.read(CONFIG_MAP, self.namespace, PARENT)) if len(checked) == len(ordered) else set()
        )
        gone, _ = prunable(self._live(old_kinds), ordered, self.namespace, self._users() if old_kinds else ())
        for item in gone:
            say(f"{ref_of(item)}: would be taken away, since this installation does not hold it")
        say("dry run: nothing was changed")
        return 0

    def _apply(self, items: Sequence[Object]) -> None:
        counts = {"created": 0, "configured": 0, "unchanged": 0}
        for item in items:
            ref = ref_of(item)
            if ref.kind == "Namespace" and self.before.get(ref) is item:
                continue
            resource = self._resource(item, fresh=True)
            if resource is None:
                raise FailedPreconditionError(
                    f"{ref}: the cluster does not serve its kind although its definition was applied"
                )
            before = self.before.get(ref)
            try:
                applied = self.cluster.apply(resource, item, force=self.options.force_conflicts)
            except FieldConflictError as error:
                raise FailedPreconditionError(
                    "\n  ".join(_conflict(ref, one.field, one.manager) for one in error.conflicts)
                ) from None
            what = (
                "created"
                if applied.created or before is None
                else "unchanged"
                if same(before, applied.item)
                else "configured"
            )
            self.before[ref] = applied.item
            counts[what] += 1
            if what == "created":
                self.made.append(ref)
            if what != "unchanged":
                self.around.say(f"{ref}: {what}")
        self.around.say("applied: " + ", ".join(f"{count} {what}" for what, count in counts.items()))

    def _write_parent(self, kinds: set[GroupKind]) -> None:
        item = parent(self.namespace, kinds, self.members, __version__, self.options.source)
        self.cluster.apply(CONFIG_MAP, item, force=True)

    def _prune(self, objects: Sequence[Object], kinds: set[GroupKind], old_kinds: set[GroupKind]) -> None:
        gone, stays = prunable(self._live(kinds | old_kinds), objects, self.namespace, self._users())
        by_ref = {ref_of(item): item for item in gone}
        for ref in delete_order(by_ref):
            resource = resource_of(self.cluster, ref.group_kind)
            if resource is not None:
                self.cluster.delete(resource, ref.namespace, ref.name, uid=by_ref[ref]["metadata"].get("uid") or "")
                self.around.say(f"{ref}: taken away, since this installation does not hold it")
        if stays:
            names = listed(sorted(str(ref_of(item)) for item in stays))
            self.around.say(f"kept for undo, since older revisions of a Deployment name it: {names}")
        self._write_parent(kinds | {ref_of(item).group_kind for item in stays})

    def _live(self, kinds: set[GroupKind]) -> list[Object]:
        """Members of the set, of the given kinds."""
        found: list[Object] = []
        for kind in sorted(kinds):
            resource = resource_of(self.cluster, kind)
            if resource is not None:
                where = self.namespace if resource.namespaced else ""
                found += self.cluster.list(resource, where, labels=selector(self.namespace))
        return [item for item in found if is_member(item, self.namespace)]

    def _users(self) -> list[Object]:
        return [*self.cluster.list(POD, self.namespace), *self.cluster.list(REPLICA_SET, self.namespace)]

    def _resource(self, item: Object, *, fresh: bool = False) -> Resource | None:
        found = next((one for one in self.cluster.resources(item["apiVersion"]) if one.kind == item["kind"]), None)
        if found is None and fresh:
            # Served some moments after its definition was applied.
            for _ in range(10):
                self.around.sleep(POLL_S)
                found = next(
                    (one for one in self.cluster.resources(item["apiVersion"]) if one.kind == item["kind"]), None
                )
                if found is not None:
                    break
        return found


def _namespaced(item: Object, resource: Resource | None, objects: Sequence[Object]) -> bool:
    if resource is not None:
        return resource.namespaced
    for definition in objects:
        if definition["kind"] == "CustomResourceDefinition" and at(definition, "spec", "names", "kind") == item["kind"]:
            return bool(at(definition, "spec", "scope") == "Namespaced")
    return True


def _conflict(ref: Ref, field_path: str, manager: str) -> str:
    hint = ""
    if field_path == ".spec.replicas":
        hint = "; if an autoscaler sets it, leave replicas out of the manifests"
    return f"{ref}: {field_path} is set by {manager!r} to another value; --force-conflicts takes it over{hint}"
