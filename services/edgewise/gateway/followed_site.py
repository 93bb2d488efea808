"""A site whose endpoints are found: what finds them, what is known of them, and how the search goes."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from edgewise.gateway.config import DNS, SiteConfig
from edgewise.gateway.discovery import KubernetesSource, check_package
from edgewise.gateway.endpoint_sources import DnsSource, EndpointSource
from edgewise.gateway.endpoints import Endpoint, service_of

_LOG: Final = logging.getLogger(__name__)

MAX_ENDPOINTS: Final = 256
_COMPLAIN_S: Final = 60.0
_SHOWN: Final = 8

Question = tuple[str, str, int, str | None]
"""What is looked for: by what, host, port, and the name of the port."""


class FollowedSite:
    """Listens to a source on behalf of one site. Used on the loop's thread only.

    Args:
        name: of the site.
        question: what `source` looks for.
        source: finds the endpoints.
        changed: is called when there are others than before.
        failed: is called for each look that failed.

    Attributes:
        question: as given.
        endpoints: those that take requests, sorted.
        since_s: `time.monotonic()` of the last change, or of the beginning.
        why: what went wrong with the last look; "" when nothing did.
    """

    def __init__(
        self,
        name: str,
        question: Question,
        source: EndpointSource,
        *,
        changed: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self.question = question
        self.endpoints: tuple[Endpoint, ...] = ()
        self.since_s = monotonic()
        self.why = ""
        self._name = name
        self._source = source
        self._changed = changed
        self._failed = failed
        self._heard = asyncio.Event()
        self._found = False
        self._complained_s = float("-inf")

    @property
    def host(self) -> str:
        """The name that is looked for."""
        return self.question[1]

    def start(self) -> None:
        """Begin to look."""
        self._source.start(self)

    async def first(self, timeout_s: float) -> None:
        """Wait until something is found or the first look fails, but no longer than this."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            pass
        if not self.endpoints:
            _LOG.warning("site %s has no endpoint yet; it takes requests as soon as one is found", self._name)

    def keep(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Go on with what another search for the same found last, until this one finds something itself."""
        if not self._found:
            self.endpoints = endpoints

    def look_sooner(self) -> None:
        """A connection could not be made."""
        self._source.hint()

    def close(self) -> None:
        """Look no more."""
        self._source.close()

    def found(self, endpoints: tuple[Endpoint, ...]) -> None:
        """See `EndpointListener`."""
        self._found = True
        if self.why:
            _LOG.info("site %s: endpoints can be looked up again", self._name)
            self.why = ""
            self._complained_s = float("-inf")
        if len(endpoints) > MAX_ENDPOINTS:
            _LOG.warning("site %s has %d endpoints; %d of them are used", self._name, len(endpoints), MAX_ENDPOINTS)
            endpoints = endpoints[:MAX_ENDPOINTS]
        if endpoints != self.endpoints:
            self._tell(endpoints)
            self.endpoints = endpoints
            self.since_s = monotonic()
            self._changed()
        self._heard.set()

    def failed(self, why: str) -> None:
        """See `EndpointListener`."""
        self.why = why
        self._failed(self._name)
        now_s = monotonic()
        if now_s - self._complained_s >= _COMPLAIN_S:
            self._complained_s = now_s
            kept = f"the {len(self.endpoints)} known endpoints stay" if self.endpoints else "no endpoint is known"
            _LOG.warning("site %s: %s; %s", self._name, why, kept)
        self._heard.set()

    def _tell(self, endpoints: tuple[Endpoint, ...]) -> None:
        before, after = set(self.endpoints), set(endpoints)
        parts = [
            f"{len(ones)} {word} ({', '.join(map(str, sorted(ones)[:_SHOWN]))}{', ...' if len(ones) > _SHOWN else ''})"
            for ones, word in ((after - before, "new"), (before - after, "gone"))
            if ones
        ]
        _LOG.info("site %s: endpoints %s; %d in all", self._name, ", ".join(parts), len(endpoints))


def question_of(config: SiteConfig) -> Question:
    """What has to be looked for; a config that asks the same need not be looked up anew."""
    return config.discover, config.address.host, config.address.port, config.port_name


def source_of(config: SiteConfig) -> EndpointSource:
    """What finds the endpoints of a site.

    Raises: FailedPreconditionError: a package that it takes is not installed.
    """
    address = config.address
    dns = DnsSource(address.host, address.port)
    if config.discover == DNS:
        return dns
    check_package()
    service, namespace = service_of(address.host)
    port_name = config.port_name or ("rest" if config.rest is not None else "grpc")
    return KubernetesSource(service, namespace, port_name, fallback=dns)
