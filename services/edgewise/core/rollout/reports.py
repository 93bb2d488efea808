"""What an agent says of its site."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import NO_FINDINGS, Findings
from edgewise.core.rollout.site_state import SiteState


@dataclass(frozen=True, slots=True)
class Served:
    """How one model was answered at a site lately, by whom the gateway asked for it.

    Attributes:
        requests, errors: in the last minute.
        p50_ms, p99_ms: of the answers.
    """

    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class SampleBacklog:
    """What waits in a site's spool of samples.

    Attributes:
        segments, size_bytes: all that is not at the hub.
        held_up: how many of these segments were sent again and again, and the hub did not take them in.
    """

    segments: int
    size_bytes: int
    held_up: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """A site as its agent sees it: what a plan asks about.

    Attributes:
        agent: its version.
        clock: of the site's wall clock when the report was made, RFC 3339, UTC.
        disk_free_bytes, memory_free_bytes: None where that is not known.
        bandwidth_bytes_per_s: measured while fetching; None before anything was fetched.
        quota_left_bytes: what may still be fetched today; None without a quota.
        runtimes: versions by name, such as onnxruntime.
        certificate_expires: RFC 3339; "" without one.
        models: versions of each model that are loaded.
        serving: the version of each model that answers everything outside of a canary.
        cloud, edge: latencies by model as the gateway measured them at the two tiers.
        samples: what waits to be sent; None where no samples are.
    """

    agent: str = ""
    clock: str = ""
    disk_free_bytes: int | None = None
    memory_free_bytes: int | None = None
    bandwidth_bytes_per_s: float | None = None
    quota_left_bytes: int | None = None
    runtimes: Mapping[str, str] = field(default_factory=dict)
    certificate_expires: str = ""
    models: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    serving: Mapping[str, int] = field(default_factory=dict)
    cloud: Mapping[str, Served] = field(default_factory=dict)
    edge: Mapping[str, Served] = field(default_factory=dict)
    samples: SampleBacklog | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a site is in one rollout.

    Attributes:
        want: what it was told last, as far as it knows.
        stage: of the canary as it was ordered, see `site_plan.shares`; a site that cannot divide requests leaves out those between.
        waiting, findings, why: as in `events.Reported`.
        bytes_done, bytes_total: of what has to be fetched; 0 when nothing has.
    """

    rollout: str
    state: SiteState
    want: Want
    stage: int = 0
    waiting: bool = False
    findings: Findings = NO_FINDINGS
    why: str = ""
    bytes_done: int = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True)
class SiteReport:
    """What an agent says at one time; signed with the site's key.

    Attributes:
        sequence: greater with every report of this site, from 1; one that is not greater than the last was sent twice.
        generation: of the desired state that it follows; 0 for none.
        trusted: versions of the metadata that it has seen, by role (root, timestamp, snapshot, targets): what a hub that was restored from
            a backup has to go beyond.
    """

    site: str
    sequence: int
    generation: int
    trusted: Mapping[str, int] = field(default_factory=dict)
    inventory: Inventory = field(default_factory=Inventory)
    rollouts: tuple[Progress, ...] = ()
