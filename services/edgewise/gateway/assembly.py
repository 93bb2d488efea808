"""Everything behind the gateway's doors, put together and kept up to date with its config."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.routing.router import Router
from edgewise.gateway.carrier import Carrier
from edgewise.gateway.config import GatewayConfig, SiteConfig
from edgewise.gateway.grpc_upstream import make_upstream
from edgewise.gateway.metrics import GatewayMetrics
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.service import GatewayService
from edgewise.gateway.site import Site
from edgewise.net.api_keys import ApiKeys
from edgewise.net.errors import ApiKeyFileError

_log = logging.getLogger(__name__)

_LONGEST_GOODBYE_S: Final = 60.0
_Stamp = tuple[int, int, int]


class Assembly:
    """Router, carrier, sites and service of one process.

    Args:
        options: checked.
        config: what to begin with.
        worker: which of the worker processes this is.

    Attributes:
        service: what the doors take.

    Raises: FailedPreconditionError: a file of keys or certificates cannot be used.
    """

    def __init__(self, options: GatewayOptions, config: GatewayConfig, *, worker: int = 0) -> None:
        loop = asyncio.get_running_loop()
        try:
            api_keys = ApiKeys(options.api_keys) if options.api_keys else None
        except ApiKeyFileError as error:
            raise FailedPreconditionError(str(error)) from None
        self._drops_credentials = api_keys is not None
        self._stamps = self._refused = _stamps(config)
        sites = {one.name: make_site(one, drops_credentials=self._drops_credentials) for one in config.sites}
        metrics = GatewayMetrics()
        router = Router([site.spec() for site in sites.values()], now_s=time.monotonic(), draws=random.random)
        carrier = Carrier(router, sites, loop=loop, hooks=metrics)
        self.service = GatewayService(
            options=options,
            config=config,
            router=router,
            carrier=carrier,
            sites=sites,
            metrics=metrics,
            api_keys=api_keys,
            worker=worker,
        )
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._name_all(config)

    async def start(self) -> None:
        """Look the sites up and begin to probe. A site without an address is looked up again while it is needed."""
        await asyncio.gather(*(self._start_site(site) for site in self.service.sites.values()))
        self.service.carrier.start()
        self.service.sample()

    async def _start_site(self, site: Site) -> None:
        if not await site.start():
            _log.warning("site %s has no address yet; it is looked up again when it is needed", site.name)

    def told(self, site: str, state: str) -> None:
        """Another worker process saw this link change."""
        if site in self.service.router.links:
            self.service.carrier.told(site, state)

    async def reload(self, config: GatewayConfig) -> None:
        """Take over another config. Sites that stay as they are keep their connections and their state.

        Raises: FailedPreconditionError: a file that it names cannot be used; nothing has changed then.
        """
        async with self._reloading:
            await self._take_over(config)

    async def reload_changed_files(self) -> bool:
        """Look at the keys and certificates, towards apps and towards sites, and take over new ones.

        Returns: whether there were any.
        Raises:
            ApiKeyFileError, FailedPreconditionError: a file has become unusable; what was in force stays so.
        """
        service = self.service
        changed = False
        stamps = _stamps(service.config)
        if stamps not in (self._stamps, self._refused):
            # Files that cannot be used are complained about once, not at each look.
            self._refused = stamps
            async with self._reloading:
                await self._take_over(service.config)
            changed = True
        if service.api_keys is not None and service.api_keys.reload_if_changed():
            _log.info("new API keys are in force")
            changed = True
        return changed

    async def _take_over(self, config: GatewayConfig) -> None:
        service = self.service
        before = {one.name: one for one in service.config.sites}
        stamps_before, stamps = self._stamps, _stamps(config)
        sites: dict[str, Site] = {}
        fresh: list[Site] = []
        for one in config.sites:
            if one == before.get(one.name) and stamps[one.name] == stamps_before.get(one.name):
                sites[one.name] = service.sites[one.name]
            else:
                sites[one.name] = made = make_site(one, drops_credentials=self._drops_credentials)
                fresh.append(made)
        await asyncio.gather(*(self._start_site(site) for site in fresh))
        gone = [site for name, site in service.sites.items() if sites.get(name) is not site]
        self._name_all(config)
        self._stamps = stamps
        service.config = config
        service.sites = sites
        service.carrier.reconfigure(sites, [site.spec() for site in sites.values()])
        for site in gone:
            self._say_goodbye(site)
        _log.info(
            "the config is in force: %d sites (%s new or changed, %s gone or replaced), %d routes",
            *(len(sites), len(fresh), len(gone), len(config.routes)),
        )

    def _say_goodbye(self, site: Site) -> None:
        """Close a site's connections once what is in flight there has ended."""
        deadlines = (route.deadline_s for route in (self.service.config.route, *self.service.config.routes.values()))
        wait_s = min(max(deadlines), _LONGEST_GOODBYE_S)

        async def later() -> None:
            try:
                await asyncio.sleep(wait_s)
            finally:
                await site.close()
                self.service.carrier.forget(site)

        task = asyncio.get_running_loop().create_task(later())
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    def _name_all(self, config: GatewayConfig) -> None:
        metrics = self.service.metrics
        metrics.name_models(config.routes)
        for one in config.sites:
            metrics.name_site(one.name)

    async def close(self) -> None:
        """Stop probing and drop all connections to the sites."""
        self.service.carrier.drain()
        self.service.carrier.close()
        for task in list(self._goodbyes):
            task.cancel()
        await asyncio.gather(*self._goodbyes, return_exceptions=True)
        for site in self.service.sites.values():
            await site.close()
        self.service.request_log.close()


def make_site(config: SiteConfig, *, drops_credentials: bool = False) -> Site:
    """A site with the sides that its addresses ask for.

    Args:
        config: what is known of it.
        drops_credentials: apps' keys are not passed on to it.

    Raises: FailedPreconditionError: a file it names cannot be used.
    """
    site = Site(config, drops_credentials=drops_credentials)
    site.grpc = make_upstream(config, site.authorization)
    return site


def _stamps(config: GatewayConfig) -> Mapping[str, tuple[_Stamp | None, ...]]:
    """What tells whether a site's files have changed."""
    return {
        one.name: tuple(
            _stamp(path) for path in (one.api_key_file, one.tls.ca, one.tls.cert, one.tls.key) if path is not None
        )
        for one in config.sites
    }


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
