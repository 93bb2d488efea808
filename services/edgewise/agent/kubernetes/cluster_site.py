"""A Kubernetes cluster as a site of rollouts: the actuator of `agent.site.port` over the cluster's API.

    load     a second Deployment with one pod of the version, which takes no requests yet
    divide   its pods take requests, as many of them as the share asks for; at a share of 1 the Deployment of the manifests is given the
             version, the second one goes, and the cluster rolls its pods (maxUnavailable 0, ready means loaded and warm)
    serve    the Deployment of the manifests is given a version: the cluster rolls, which is also how it goes back
    unload   the second Deployment goes

Nothing is kept in memory that matters: what is asked for is noted on the Deployments, and read back from there.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgewise.agent.kubernetes.archive_door import archive_path
from edgewise.agent.kubernetes.canary_deployment import (
    DIVISION,
    answers,
    canary_of,
    canary_replicas,
    division_in,
    division_text,
)
from edgewise.agent.kubernetes.cluster_look import DEPLOYMENT, Look, look_at
from edgewise.agent.kubernetes.cluster_view import division_of, view_of
from edgewise.agent.kubernetes.objects import Object, config_maps_used
from edgewise.agent.kubernetes.observation import CONFIG_MAP
from edgewise.agent.kubernetes.pod_counts import PodCounts
from edgewise.agent.kubernetes.pod_door import PodDoor
from edgewise.agent.kubernetes.port import Cluster
from edgewise.agent.kubernetes.release_pods import template_of_version
from edgewise.agent.kubernetes.release_source import (
    MANAGED_BY,
    RELEASES_OF,
    Source,
    fields_for,
    release_map,
    source_of,
)
from edgewise.agent.kubernetes.version_archive import archive_of
from edgewise.agent.site.port import Division, Reading, View
from edgewise.core.errors import FailedPreconditionError, UnavailableError
from edgewise.core.rollout.reports import Served

LOOK_S: Final = 1.0
"""A look at the cluster is good for so long, unless something was changed: the loop looks more often where looking costs nothing."""
_LOG: Final = logging.getLogger(__name__)


class ClusterActuator:
    """See `agent.site.port.SiteActuator`.

    Args:
        deployment: of the model servers.
        archives: the URL under which pods reach this agent's archives, such as http://agent:8602.
        models: MODEL/VERSION below it.
        now_s: a monotonic clock.
    """

    divides = True

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        door: PodDoor,
        *,
        archives: str,
        models: Path,
        deployment: str = "model-server",
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._door = door
        self._archives = archives.rstrip("/")
        self._models = models
        self._deployment = deployment
        self._now_s = now_s
        self._counts = PodCounts(door, now_s)
        self._look: Look | None = None
        self._looked_s = float("-inf")
        self._config_maps: dict[str, Object] = {}
        self._refused: dict[tuple[str, int], str] = {}
        self._served = ""

    def models(self) -> tuple[str, ...]:
        """Models that the cluster serves, as far as that is known."""
        try:
            self._served = self._seen().main.model
        except UnavailableError as error:
            _LOG.debug("the cluster cannot be seen: %s", error.message)
        return (self._served,) if self._served else ()

    def look(self, model: str) -> View:
        """See `SiteActuator`."""
        seen = self._seen()
        if seen.main.model != model:
            return View(failed={version: why for (name, version), why in self._refused.items() if name == model})
        return view_of(seen.main, seen.canary)

    def load(self, model: str, version: int) -> None:
        """See `SiteActuator`."""
        seen = self._seen(fresh=True)
        if self._refuses(seen, model, version) or seen.main.version == version:
            return
        division = division_of(seen.main, seen.canary)
        if division is not None and division.share == 1.0 and division.old == version:
            # It answered everything until now: the way back is the cluster's own, and it begins at once.
            self._set(seen, self._source(seen, model, version), None)
        elif seen.canary is None or seen.canary.version != version or not seen.canary.replicas:
            source = self._staged(seen, model, version) or self._source(seen, model, version)
            self._apply(canary_of(seen.main.deployment, source, 1, None, answers=False))

    def unload(self, model: str, version: int) -> None:
        """See `SiteActuator`."""
        seen = self._seen(fresh=True)
        self._refused.pop((model, version), None)
        if seen.main.model == model and seen.canary is not None and seen.canary.version == version:
            self._remove_canary(seen)

    def serve(self, model: str, version: int) -> None:
        """See `SiteActuator`."""
        seen = self._seen(fresh=True)
        if not self._refuses(seen, model, version) and seen.main.version != version:
            self._set(seen, self._source(seen, model, version), division_in(seen.main.deployment))

    def divide(self, model: str, division: Division | None) -> None:
        """See `SiteActuator`."""
        seen = self._seen(fresh=True)
        if seen.main.model != model:
            return
        if division is None:
            self._end_division(seen)
        elif division.share == 1.0:
            self._give_all(seen, division)
        elif (
            seen.canary is not None
            and seen.canary.replicas
            and (seen.main.version, seen.canary.version) == (division.old, division.new)
        ):
            self._give_share(seen, division)

    def reading(self, model: str) -> Reading | None:
        """See `SiteActuator`."""
        seen = self._seen()
        division = division_of(seen.main, seen.canary)
        if seen.main.model != model or division is None:
            return None
        return self._counts.reading(model, seen.asked_pods(), division)

    def served(self) -> tuple[Mapping[str, Served], Mapping[str, Served]]:
        """See `SiteActuator`."""
        seen = self._seen()
        found = self._counts.served(seen.main.model, seen.asked_pods()) if seen.main.model else None
        return ({} if found is None else {seen.main.model: found}), {}

    def runtimes(self) -> Mapping[str, str]:
        """See `SiteActuator`: pods have their own, and do not say which."""
        return {}

    # ---- what is changed

    def _give_share(self, seen: Look, division: Division) -> None:
        """So many pods of the new version take requests."""
        assert seen.canary is not None  # noqa: S101  (the caller looked)
        before = seen.canary.deployment
        replicas = canary_replicas(division.share, seen.main.replicas)
        source = source_of(before["spec"]["template"], before["metadata"]["name"])
        answering = division.share > 0.0
        present = division_in(before)
        same_share = present is not None and (present.share, present.new) == (division.share, division.new)
        if same_share and answers(before) == answering:
            # As many as there are: an autoscaler that adds old ones meanwhile is no reason to start over.
            replicas = seen.canary.replicas
            if present == division:
                return
        self._apply(canary_of(seen.main.deployment, source, replicas, division, answers=answering))

    def _give_all(self, seen: Look, division: Division) -> None:
        """The cluster rolls its pods to the new version. Those that were tried go: where there is room for one pod more, they have it."""
        if seen.main.version != division.new or division_in(seen.main.deployment) != division:
            self._set(seen, self._source(seen, seen.main.model, division.new), division)
        self._remove_canary(seen)

    def _end_division(self, seen: Look) -> None:
        main, canary = seen.main, seen.canary
        if division_in(main.deployment) is not None:
            source = source_of(main.deployment["spec"]["template"], self._deployment)
            self._set(seen, source, None)
        if canary is None:
            return
        loads_only = canary.replicas and not answers(canary.deployment) and canary.version != main.version
        if not (loads_only and canary.ready(canary.version)):
            self._remove_canary(seen)
        elif division_in(canary.deployment) is not None:
            source = source_of(canary.deployment["spec"]["template"], canary.deployment["metadata"]["name"])
            self._apply(canary_of(main.deployment, source, 1, None, answers=False))

    def _set(self, seen: Look, source: Source, division: Division | None) -> None:
        """Give the Deployment of the manifests a version, or note a division on it. All that is the agent's goes along, since what is left
        out is taken away.
        """
        fields = fields_for(seen.main.deployment, source)
        if division is not None:
            fields["metadata"]["annotations"] = {DIVISION: division_text(division)}
        self._apply(fields)
        self._tidy()

    def _apply(self, item: Object) -> None:
        self._cluster.apply(DEPLOYMENT, item, force=True, manager=MANAGED_BY)
        self._looked_s = float("-inf")

    def _remove_canary(self, seen: Look) -> None:
        """Take its pods away, and then itself: the garbage collector would get round to pods when it has the time."""
        canary = seen.canary
        if canary is None:
            return
        metadata = canary.deployment["metadata"]
        if canary.replicas:
            source = source_of(canary.deployment["spec"]["template"], metadata["name"])
            asked = answers(canary.deployment)
            self._apply(canary_of(seen.main.deployment, source, 0, None, answers=asked))
        elif not canary.pods:
            self._cluster.delete(DEPLOYMENT, self._namespace, metadata["name"], uid=metadata["uid"])
            self._looked_s = float("-inf")
            self._tidy()

    def _tidy(self) -> None:
        """Remove ConfigMaps of releases that no pod and no undo needs any more."""
        seen = self._seen()
        used = {name for template in seen.templates() for name in config_maps_used(template.get("spec") or {})}
        for item in self._cluster.list(CONFIG_MAP, self._namespace, labels=f"{RELEASES_OF}={self._deployment}"):
            metadata = item["metadata"]
            if metadata["name"] not in used:
                self._cluster.delete(CONFIG_MAP, self._namespace, metadata["name"], uid=metadata["uid"])

    # ---- where versions come from

    def _source(self, seen: Look, model: str, version: int) -> Source:
        """A version that runs or ran here as it did then, so that the cluster knows it again; any other from the disk.

        Raises: EdgewiseError: it is nowhere.
        """
        if seen.canary is not None and (seen.canary.model, seen.canary.version) == (model, version):
            template: Object | None = seen.canary.deployment["spec"]["template"]
        else:
            template = template_of_version(seen.main.deployment, seen.replica_sets, seen.config_maps, model, version)
        if template is not None:
            return source_of(template, self._deployment)
        staged = self._staged(seen, model, version)
        if staged is None:
            raise FailedPreconditionError(
                f"version {version} of {model} is neither on the agent's disk nor in the history of Deployment {self._deployment}"
            )
        return staged

    def _staged(self, seen: Look, model: str, version: int) -> Source | None:
        """A version that is on the disk, with the ConfigMap that tells pods where it is; None when it is not."""
        directory = self._models / model / str(version)
        if not directory.is_dir():
            return None
        main = seen.main.deployment
        item = release_map(
            main, model, version, f"{self._archives}{archive_path(model, version)}", archive_of(directory).sha256()
        )
        name = item["metadata"]["name"]
        self._cluster.apply(CONFIG_MAP, item, force=True, manager=MANAGED_BY)
        source = source_of(main["spec"]["template"], self._deployment)
        return replace(source, maps=dict.fromkeys(source.maps, name), release=f"{model}/{version}")

    def _refuses(self, seen: Look, model: str, version: int) -> bool:
        if seen.main.model == model:
            return False
        self._refused[model, version] = (
            f"Deployment {self._deployment} serves {seen.main.model or 'no model that it names'}, not {model}; "
            "an agent follows one Deployment"
        )
        _LOG.error("%s", self._refused[model, version])
        return True

    # ---- what is seen

    def _seen(self, *, fresh: bool = False) -> Look:
        """The cluster, as it was a moment ago at most."""
        now_s = self._now_s()
        if fresh or self._look is None or now_s - self._looked_s >= LOOK_S:
            self._look = look_at(self._cluster, self._namespace, self._deployment, self._door, self._config_maps)
            self._looked_s = now_s
        return self._look
