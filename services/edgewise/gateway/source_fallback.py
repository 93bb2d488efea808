"""A source of endpoints, and what stands in for it while it cannot be asked."""

import logging
from time import monotonic
from typing import Final

from edgewise.gateway.endpoint_sources import EndpointListener, EndpointSource
from edgewise.gateway.endpoints import Endpoint

_LOG: Final = logging.getLogger(__name__)


class NewsWithFallback:
    """Passes on what a source says, and while it cannot be asked what another one says. Used on the loop's thread only.

    Args:
        listener: is told.
        fallback: begins to look when the source fails before it ever answered, or has failed for a while; None for none.
        fallback_after_s: how long that is.
    """

    def __init__(self, listener: EndpointListener, fallback: EndpointSource | None, fallback_after_s: float) -> None:
        self._listener: EndpointListener | None = listener
        self._fallback = fallback
        self._fallback_after_s = fallback_after_s
        self._fallback_runs = False
        self._away_since_s: float | None = None
        # What the API said last; None before it said anything.
        self._listed: tuple[Endpoint, ...] | None = None

    def found(self, endpoints: tuple[Endpoint, ...]) -> None:
        """The source answered."""
        if self._listener is not None:
            self._away_since_s = None
            self._stop_fallback()
            self._listed = endpoints
            self._listener.found(endpoints)

    def failed(self, why: str) -> None:
        """The source could not be asked."""
        if self._listener is None:
            return
        self._listener.failed(why)
        now_s = monotonic()
        if self._away_since_s is None:
            self._away_since_s = now_s
        long = self._listed is None or now_s - self._away_since_s >= self._fallback_after_s
        if long and self._fallback is not None and not self._fallback_runs:
            self._fallback_runs = True
            self._fallback.start(_FallbackNews(self))

    def fallback_found(self, endpoints: tuple[Endpoint, ...]) -> None:
        """The fallback found these; what the source said goes before what it could not mean."""
        if self._listener is None or not self._fallback_runs:
            return
        if self._listed is not None:
            # A name that leads to a virtual address says nothing of pods; one that shares an address with them does.
            hosts = {endpoint.host for endpoint in self._listed}
            if not endpoints or (hosts and hosts.isdisjoint(endpoint.host for endpoint in endpoints)):
                return
            self._listed = endpoints
        self._listener.found(endpoints)

    def close(self) -> None:
        """Pass nothing on any more."""
        self._listener = None
        self._stop_fallback()

    def _stop_fallback(self) -> None:
        if self._fallback_runs and self._fallback is not None:
            self._fallback_runs = False
            self._fallback.close()


class _FallbackNews:
    """What the fallback says; that it fails as well is no news."""

    def __init__(self, news: NewsWithFallback) -> None:
        self._news = news

    def found(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._news.fallback_found(endpoints)

    def failed(self, why: str) -> None:
        _LOG.debug("%s", why)
