"""An edge node: a model server and a gateway on the same machine, each of which follows a file of ours."""

import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Final

from edgewise.agent.site.dividing import Divider
from edgewise.agent.site.edge_servers import Gateway, ModelServer, ModelStatus
from edgewise.agent.site.lately_served import LatelyServed
from edgewise.agent.site.models_config import ModelsConfig, Wanted
from edgewise.agent.site.port import Division, Reading, View
from edgewise.core.rollout.reports import Served

STALE_S: Final = 3.0
"""An error of a former attempt to load a version is believed after so long: the model server may not have looked at its file yet."""
_RUNTIMES: Final = ("edgewise", "onnxruntime", "tensorflow")


class EdgeActuator:
    """See `SiteActuator`.

    Args:
        gateway: what apps ask; None where they ask the model server directly.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        config: ModelsConfig,
        divider: Divider,
        server: ModelServer,
        gateway: Gateway | None,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.divides = divider.divides
        self._config = config
        self._divider = divider
        self._server = server
        self._gateway = gateway
        self._now_s = now_s
        self._lately = LatelyServed(now_s)
        self._status: dict[str, ModelStatus] = {}
        self._stale: dict[tuple[str, int], tuple[float, str]] = {}

    def look(self, model: str) -> View:
        """See `SiteActuator`."""
        status = self._status[model] = self._server.status(model)
        self._divider.look()
        wanted = self._config.get(model)
        versions = wanted.versions if wanted is not None else frozenset()
        failed = {
            version: why
            for version, why in status.failed.items()
            if version in versions and not self._is_stale(model, version, why)
        }
        return View(
            loaded=status.loaded,
            coming=versions - status.loaded - failed.keys(),
            failed=failed,
            serving=status.default or max(status.loaded, default=0),
            meant=0 if wanted is None else wanted.default or max(wanted.versions),
            division=self._divider.division(model),
            settled=self._divider.is_settled(model),
        )

    def load(self, model: str, version: int) -> None:
        """See `SiteActuator`."""
        wanted = self._config.get(model)
        if wanted is not None and version in wanted.versions:
            return
        known = self._status.get(model, ModelStatus()).failed.get(version)
        self._config.set(
            model,
            Wanted(frozenset({version}))
            if wanted is None
            # What answers now goes on: the highest version would otherwise be taken as soon as it is there.
            else Wanted(wanted.versions | {version}, wanted.default or max(wanted.versions)),
        )
        if known:
            self._stale[model, version] = (self._now_s(), known)

    def unload(self, model: str, version: int) -> None:
        """See `SiteActuator`."""
        wanted = self._config.get(model)
        if wanted is None or version not in wanted.versions:
            return
        left = wanted.versions - {version}
        self._config.set(model, Wanted(left, wanted.default if wanted.default in left else 0) if left else None)

    def serve(self, model: str, version: int) -> None:
        """See `SiteActuator`."""
        wanted = self._config.get(model)
        versions = wanted.versions if wanted is not None else frozenset()
        self._config.set(model, Wanted(versions | {version}, version))

    def divide(self, model: str, division: Division | None) -> None:
        """See `SiteActuator`."""
        self._divider.divide(model, division)

    def reading(self, model: str) -> Reading | None:
        """See `SiteActuator`."""
        return self._divider.reading(model)

    def served(self) -> tuple[Mapping[str, Served], Mapping[str, Served]]:
        """See `SiteActuator`."""
        if self._gateway is None:
            return {}, {}
        return self._lately.read(self._gateway.metrics())

    def runtimes(self) -> Mapping[str, str]:
        """See `SiteActuator`."""
        found = {}
        for name in _RUNTIMES:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return found

    def _is_stale(self, model: str, version: int, why: str) -> bool:
        since_s, known = self._stale.get((model, version), (float("-inf"), ""))
        return why == known and self._now_s() - since_s < STALE_S
