"""What people are told of sites, releases and rollouts. Times are seconds since the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewise.core.rollout.reports import Inventory
from edgewise.hub.control.actors import Role


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """What a site is told about one model."""

    rollout: str
    model: str
    version: int
    want: str


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """One site.

    Attributes:
        labels: as they were set; selectors see `tier` and `site` besides.
        heard_s: when it asked or reported last; None for never.
        online: it was heard of within the last 90 seconds.
        reported_s: when its last report came; None for never.
        generation, following: of its desired state, and the one that it said it follows.
        clock_ahead_s: its clock less the hub's at its last report; None where that is not known.
        retired_s: when it was retired; None while it is not.
        orders: one for each model.
        states: how far it is in each rollout whose order it has, by the rollout's name.
    """

    site: str
    tier: str
    labels: Mapping[str, str]
    enrolled_s: float
    heard_s: float | None
    online: bool
    reported_s: float | None
    generation: int
    following: int
    clock_ahead_s: float | None
    retired_s: float | None
    inventory: Inventory
    orders: tuple[OrderStatus, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReleaseStatus:
    """One release.

    Attributes:
        created: when it was made, RFC 3339.
        sizes_bytes: of the variant of each tier.
        added_s: when the hub took it.
    """

    model: str
    version: int
    created: str
    notes: str
    lineage: Mapping[str, str]
    manifest_sha256: str
    sizes_bytes: Mapping[str, int]
    added_s: float
    added_by: str


@dataclass(frozen=True, slots=True)
class TokenStatus:
    """One token of people, without its secret.

    Attributes:
        expires_s: None for never.
    """

    name: str
    role: Role
    created_s: float
    created_by: str
    expires_s: float | None


@dataclass(frozen=True, slots=True)
class GateStatus:
    """What is known about one gate.

    Attributes:
        verdict: "" where it was not looked at; see `RolloutSiteStatus.gates`.
        margin, confidence: as it was asked; None of golden inputs.
        low, high: the new version's share of hits less the old one's lies between them, with that confidence; None where it is not known.
        new_count, new_hits, old_count, old_hits: requests, and how many of them hit. Of accuracy: held-out examples, and wrong answers. Of golden inputs: sites that were asked, and wrong answers.
        sources: of how many sources the examples are, where several are of one, so that it is sources that are judged; 0 otherwise.
    """

    gate: str
    verdict: str
    margin: float | None
    confidence: float | None
    low: float | None
    high: float | None
    new_count: int
    new_hits: int
    old_count: int
    old_hits: int
    sources: int = 0


@dataclass(frozen=True, slots=True)
class WaveStatus:
    """One wave of a rollout.

    Attributes:
        number: from 0.
        verdict: when it was looked at last.
        promoted: a person took the verdict upon himself.
        since_s: when something last moved.
        sites: how many; `states` how many of them are in each state.
        failed, may_fail: sites that count against the error budget, and how many may.
        at_once: how many may switch at once.
        waits_for: why it is not through, where nothing moves by itself; "" when that is not so, or not known.
    """

    number: int
    name: str
    selector: str
    phase: str
    verdict: str
    promoted: bool
    since_s: float
    sites: int
    states: Mapping[str, int]
    failed: int
    may_fail: int
    at_once: int
    gates: tuple[GateStatus, ...]
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class RolloutSiteStatus:
    """One site of a rollout.

    Attributes:
        wave: its number, from 0.
        was: the state in which it fell silent; "" while it is heard.
        want, acting: what it was told last, and what it says that it was told last.
        waiting: it has all the time behind it that a stage needs, and lacks evidence alone.
        stage, stages: of the canary: 0 for shadowing, the last one for all requests.
        bytes_done, bytes_total: of what it has to fetch.
        gates: by its own evidence; without low and high, and without a verdict in a rollout to more than 200 sites.
    """

    site: str
    tier: str
    wave: int
    state: str
    was: str
    want: str
    acting: str
    why: str
    waiting: bool
    stage: int
    stages: int
    bytes_done: int
    bytes_total: int
    heard_s: float | None
    gates: tuple[GateStatus, ...]


@dataclass(frozen=True, slots=True)
class RolloutSummary:
    """One rollout, in short.

    Attributes:
        why: of its last move.
        revision: greater with every change.
        states: how many sites are in each state.
    """

    name: str
    model: str
    version: int
    state: str
    why: str
    revision: int
    created_s: float
    created_by: str
    changed_s: float
    sites: int
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """One rollout.

    Attributes:
        specification, form: as it was asked for, in TOML or YAML.
        verbs: what can be asked of it now.
    """

    name: str
    model: str
    version: int
    state: str
    why: str
    revision: int
    created_s: float
    created_by: str
    changed_s: float
    specification: str
    form: str
    verbs: tuple[str, ...]
    waves: tuple[WaveStatus, ...]
    sites: tuple[RolloutSiteStatus, ...]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Something moved.

    Attributes:
        number: greater with every entry.
        kind: rollout, wave or site.
        subject: the rollout's, wave's or site's name.
        before: "" of a wave.
    """

    number: int
    at_s: float
    kind: str
    subject: str
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Somebody asked for something.

    Attributes:
        number: greater with every entry.
        actor, address: who, and from where; "" from inside.
        action: such as rollout.start or site.enroll.
        subject: the name of what it was done to.
    """

    number: int
    at_s: float
    actor: str
    address: str
    action: str
    subject: str
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BundleSigned:
    """What was signed for a bundle: agents believe it from there, and never over the network.

    Attributes:
        until: when it expires, RFC 3339, UTC.
        timestamp: timestamp.json, whole.
        desired: the DSSE envelope of the site's desired state; None where no site was named.
    """

    until: str
    timestamp: str
    desired: str | None


@dataclass(frozen=True, slots=True)
class PrunedBlob:
    """A blob that was removed, or would be."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be.

    Attributes:
        blobs: by name.
        upto: the name up to which was looked; "" when it was all.
    """

    blobs: tuple[PrunedBlob, ...]
    upto: str
