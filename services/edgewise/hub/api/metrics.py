"""What the hub counts, as Prometheus reads it."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.control.status import RolloutSummary, SiteStatus

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class HubMetrics:
    """Counters of one hub."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "edgewise_hub_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self.latency_s = Histogram(
            "edgewise_hub_request_duration_seconds",
            "From the request to the end of its answer; of long polls without their waiting.",
            ("route", "method"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self.reports = Counter("edgewise_hub_reports", "Reports of sites that were taken.", registry=self._registry)
        self.refused = Counter(
            "edgewise_hub_refused_credentials", "Requests with wrong credentials.", registry=self._registry
        )
        self.blob_bytes = Counter(
            "edgewise_hub_blob_bytes", "Bytes of blobs that were given out.", registry=self._registry
        )
        self.taken_bytes = Counter(
            "edgewise_hub_blob_taken_bytes", "Bytes of blobs that were taken.", registry=self._registry
        )
        self.samples = Counter(
            "edgewise_hub_samples",
            "Samples that sites sent: new ones, such as were here already, such as could not be taken.",
            ("outcome",),
            registry=self._registry,
        )
        self.sample_bytes = Counter(
            "edgewise_hub_sample_bytes", "Bytes of segments of samples that were taken.", registry=self._registry
        )
        self.sample_segments = Counter(
            "edgewise_hub_sample_segments",
            "Segments of samples that came to their end.",
            ("outcome",),
            registry=self._registry,
        )
        self.database_errors = Counter(
            "edgewise_hub_database_errors", "Calls that the database failed.", registry=self._registry
        )
        self._waiting = Gauge("edgewise_hub_waiting_polls", "Requests that wait for a change.", registry=self._registry)
        self._sites = Gauge(
            "edgewise_hub_sites", "Sites by whether they were heard of lately.", ("link",), registry=self._registry
        )
        self._standing = Gauge(
            "edgewise_hub_site_states", "Sites by how far they are in a rollout.", ("state",), registry=self._registry
        )
        self._samples_waiting = Gauge(
            "edgewise_hub_site_sample_segments",
            "Segments of samples that wait at sites, and how many of them are held up.",
            ("state",),
            registry=self._registry,
        )
        self._rollouts = Gauge("edgewise_hub_rollouts", "Rollouts by state.", ("state",), registry=self._registry)
        self._metadata = Gauge(
            "edgewise_hub_metadata_version",
            "Versions of the TUF metadata in force.",
            ("role",),
            registry=self._registry,
        )

        self._expires = Gauge(
            "edgewise_hub_metadata_expires_timestamp_seconds",
            "When what operators signed offline expires.",
            ("role",),
            registry=self._registry,
        )

    def exposition(
        self,
        sites: Iterable[SiteStatus],
        rollouts: Iterable[RolloutSummary],
        *,
        waiting: int,
        versions: Mapping[str, int],
        expires_s: Mapping[str, float],
    ) -> bytes:
        """All of it, and how things stand.

        Args:
            waiting: how many requests wait for a change.
            versions: of the metadata, by role.
            expires_s: when the metadata of a role expires, seconds since the epoch.
        """
        self._waiting.set(waiting)
        links = {"online": 0, "offline": 0}
        waiting_segments = {"waiting": 0, "held_up": 0}
        standing: dict[str, int] = dict.fromkeys(SiteState, 0)
        for site in sites:
            links["online" if site.online else "offline"] += 1
            for state in site.states.values():
                standing[state] += 1
            if site.inventory.samples is not None:
                waiting_segments["waiting"] += site.inventory.samples.segments
                waiting_segments["held_up"] += site.inventory.samples.held_up
        found: dict[str, int] = dict.fromkeys(RolloutState, 0)
        for rollout in rollouts:
            found[rollout.state] += 1
        measured: tuple[tuple[Gauge, Mapping[str, float]], ...] = (
            (self._sites, links),
            (self._standing, standing),
            (self._samples_waiting, waiting_segments),
            (self._rollouts, found),
            (self._metadata, versions),
            (self._expires, expires_s),
        )
        for gauge, values in measured:
            for label, value in values.items():
                gauge.labels(str(label)).set(value)
        return generate_latest(self._registry)
