"""Everything behind the gateway's doors, put together and kept up to date with its config."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.routing.router import Router
from edgewise.gateway.carrier import Carrier
from edgewise.gateway.config import NOTHING, GatewayConfig, SiteConfig
from edgewise.gateway.endpoints import Endpoint
from edgewise.gateway.followed_site import FollowedSite, question_of, source_of
from edgewise.gateway.grpc_upstream import make_upstream
from edgewise.gateway.metrics import GatewayMetrics
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.service import GatewayService
from edgewise.gateway.site import Site
from edgewise.gateway.site_files import SiteFiles, read_files
from edgewise.net.api_keys import ApiKeys
from edgewise.net.errors import ApiKeyFileError

if TYPE_CHECKING:
    from edgewise.gateway.capture import Capture

_LOG: Final = logging.getLogger(__name__)

_LONGEST_GOODBYE_S: Final = 60.0
_GOODBYE_LOOK_S: Final = 0.25
_FIRST_LOOK_S: Final = 5.0
_TOGETHER_S: Final = 0.03
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
        self._worker = worker
        self._stamps = self._refused = _stamps(config)
        self._files = {one.name: read_files(one) for one in config.sites}
        sites = {one.name: self._make_site(one, self._files) for one in config.sites if one.discover == NOTHING}
        metrics = GatewayMetrics()
        self._metrics = metrics
        self._followed = {one.name: self._follow(one) for one in config.sites if one.discover != NOTHING}
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
            followed=self._followed,
        )
        # Changes of endpoints that come close together are taken over once.
        self._taking: asyncio.TimerHandle | None = None
        self._started = False
        self._closed = False
        self._leaving: set[Site] = set()
        self._goodbyes: set[asyncio.Task[None]] = set()
        # Samples that are still being written.
        self._written: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._name_all(config)

    async def start(self) -> None:
        """Look the sites up and begin to probe. A site without an address is looked up again while it is needed.

        Raises: FailedPreconditionError: samples are to be kept, and cannot be.
        """
        self.service.capture = await self._capture_for(self.service.config)
        await self._look_up(self.service.sites.values(), self._followed.values())
        self.service.carrier.start()
        self._started = True
        self._take_endpoints()
        self.service.sample()

    async def _look_up(self, sites: Iterable[Site], followed: Iterable[FollowedSite]) -> None:
        followed = list(followed)
        for one in followed:
            one.start()
        await asyncio.gather(
            *(self._start_site(site) for site in sites), *(one.first(_FIRST_LOOK_S) for one in followed)
        )

    async def _capture_for(self, config: GatewayConfig) -> "Capture | None":
        """What captures as a config says; the one there is where that stays as it is."""
        service = self.service
        if service.capture is not None and config.capture == service.config.capture:
            return service.capture
        if config.capture is None:
            return None
        # A gateway that captures nothing does not carry it.
        from edgewise.gateway.capture import open_capture  # noqa: PLC0415

        return await asyncio.to_thread(open_capture, config.capture, service, self._worker)

    def _exchange_capture(self, capture: "Capture | None") -> None:
        before, self.service.capture = self.service.capture, capture
        if before is not None and before is not capture:
            before.end()
            task = asyncio.get_running_loop().create_task(asyncio.to_thread(before.close))
            self._written.add(task)
            task.add_done_callback(self._written.discard)

    async def _start_site(self, site: Site) -> None:
        if not await site.start():
            _LOG.warning("site %s has no address yet; it is looked up again when it is needed", site.name)

    def told(self, link: str, state: str) -> None:
        """Another worker process saw this link change."""
        if link in self.service.router.links:
            self.service.carrier.told(link, state)

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
            _LOG.info("new API keys are in force")
            changed = True
        return changed

    async def _take_over(self, config: GatewayConfig) -> None:
        service = self.service
        before = {one.name: one for one in service.config.sites}
        stamps_before, stamps = self._stamps, _stamps(config)
        files: dict[str, SiteFiles] = {}
        fixed: dict[str, Site] = {}
        followed: dict[str, FollowedSite] = {}
        for one in config.sites:
            name = one.name
            same = one == before.get(name) and stamps[name] == stamps_before.get(name)
            files[name] = self._files[name] if same else read_files(one)
            if one.discover == NOTHING:
                fixed[name] = service.sites[name] if same else self._make_site(one, files)
            else:
                known = self._followed.get(name)
                same_question = known is not None and known.question == question_of(one)
                followed[name] = known if known is not None and same_question else self._follow(one)
        fresh = [site for name, site in fixed.items() if service.sites.get(name) is not site]
        searches = [search for name, search in followed.items() if self._followed.get(name) is not search]
        try:
            await self._look_up(fresh, searches)
            capture = await self._capture_for(config)
        except BaseException:
            for search in searches:
                search.close()
            raise
        for name, search in self._followed.items():
            if followed.get(name) is not search:
                search.close()
                successor = followed.get(name)
                if successor is not None and successor.host == search.host:
                    successor.keep(search.endpoints)
        self._name_all(config)
        self._stamps, self._files = stamps, files
        self._followed = service.followed = followed
        self._exchange_capture(capture)
        service.config = config
        made, gone = self._exchange(fixed)
        _LOG.info(
            "the config is in force: %d sites (%s links new or changed, %s gone or replaced), %d routes",
            *(len(config.sites), made, gone, len(config.routes)),
        )

    # --- endpoints ---

    def _follow(self, config: SiteConfig) -> FollowedSite:
        return FollowedSite(
            config.name,
            question_of(config),
            source_of(config),
            changed=self._take_endpoints_soon,
            failed=self._metrics.discovery_failed,
        )

    def _take_endpoints_soon(self) -> None:
        if self._taking is None and self._started:
            self._taking = asyncio.get_running_loop().call_later(_TOGETHER_S, self._take_endpoints)

    def _take_endpoints(self) -> None:
        """Take over the endpoints as they are known now. Waits for nothing."""
        self._taking = None
        if self._followed and not self._closed:
            self._exchange()

    def _exchange(self, fixed: Mapping[str, Site] | None = None) -> tuple[int, int]:
        """Put other connections in the place of those there are. What stays as it is keeps its connections and its state.

        Args:
            fixed: sites of a config that is new, which have no endpoints of their own; None where only endpoints may have changed.
        Returns: how many links are new, and how many are gone.
        """
        service = self.service
        sites: dict[str, Site] = {}
        for one in service.config.sites:
            if one.discover == NOTHING:
                sites[one.name] = (fixed or service.sites)[one.name]
                continue
            search = self._followed[one.name]
            for endpoint in search.endpoints:
                known = service.sites.get(f"{one.name}/{endpoint}")
                if known is None or known.config != one or known.files is not self._files[one.name]:
                    known = self._make_site(one, self._files, endpoint, search.look_sooner)
                    known.begin()
                sites[known.name] = known
        gone = [site for name, site in service.sites.items() if sites.get(name) is not site]
        made = sum(service.sites.get(name) is not site for name, site in sites.items())
        service.sites = sites
        present = {site.site for site in sites.values()}
        service.carrier.absent_tiers = frozenset(one.tier for one in service.config.sites if one.name not in present)
        # A config may change routes alone, or the order of sites.
        if made or gone or fixed is not None:
            service.carrier.reconfigure(sites, [site.spec() for site in sites.values()])
        for site in gone:
            self._say_goodbye(site)
        self._count_endpoints()
        return made, len(gone)

    def _count_endpoints(self) -> None:
        self._metrics.endpoints = {
            name: {
                "ready": len(search.endpoints),
                "leaving": sum(site.site == name for site in self._leaving),
            }
            for name, search in self._followed.items()
        }

    def _make_site(
        self,
        config: SiteConfig,
        files: Mapping[str, SiteFiles],
        endpoint: Endpoint | None = None,
        look_sooner: Callable[[], None] | None = None,
    ) -> Site:
        return make_site(
            config,
            files=files[config.name],
            endpoint=endpoint,
            look_sooner=look_sooner,
            drops_credentials=self._drops_credentials,
        )

    def _say_goodbye(self, site: Site) -> None:
        """Close a site's connections once what is in flight there has ended."""
        # Not by the routes' deadlines: requests may bring longer ones, and what may not run twice has nowhere else to go.
        until_s = time.monotonic() + _LONGEST_GOODBYE_S
        self._leaving.add(site)

        async def later() -> None:
            try:
                while time.monotonic() < until_s:
                    await asyncio.sleep(_GOODBYE_LOOK_S)
                    if not site.busy:
                        break
            finally:
                await site.close()
                self._leaving.discard(site)
                self.service.carrier.forget(site)
                self._count_endpoints()

        task = asyncio.get_running_loop().create_task(later())
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    def _name_all(self, config: GatewayConfig) -> None:
        metrics = self.service.metrics
        metrics.name_models(config.routes)
        for one in config.sites:
            metrics.name_site(one.name)

    async def close(self) -> None:
        """Stop probing and looking, and drop all connections to the sites."""
        self._closed = True
        if self._taking is not None:
            self._taking.cancel()
        for search in self._followed.values():
            search.close()
        self.service.carrier.drain()
        self.service.carrier.close()
        for task in list(self._goodbyes):
            task.cancel()
        await asyncio.gather(*self._goodbyes, return_exceptions=True)
        for site in self.service.sites.values():
            await site.close()
        self._exchange_capture(None)
        await asyncio.gather(*self._written, return_exceptions=True)
        self.service.shadows.close()
        self.service.request_log.close()


def make_site(
    config: SiteConfig,
    *,
    files: SiteFiles | None = None,
    endpoint: Endpoint | None = None,
    look_sooner: Callable[[], None] | None = None,
    drops_credentials: bool = False,
) -> Site:
    """A site with the sides that its addresses ask for, or one endpoint of it.

    Args:
        config: what is known of it.
        files: what the files that it names hold; they are read when None.
        endpoint, look_sooner: as `Site` takes them.
        drops_credentials: apps' keys are not passed on to it.

    Raises: FailedPreconditionError: a file it names cannot be used.
    """
    files = files if files is not None else read_files(config)
    site = Site(config, files=files, endpoint=endpoint, look_sooner=look_sooner, drops_credentials=drops_credentials)
    addresses = None
    if endpoint is not None and config.grpc is not None:
        addresses = site.addresses(config.grpc.port if config.rest is not None else endpoint.port)
    site.grpc = make_upstream(config, site.authorization, context=files.grpc, addresses=addresses)
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
