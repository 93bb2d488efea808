"""What a rollout hears, and what it tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from edgewise.core.rollout.gates import NO_FINDINGS, Findings, Verdict
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState


class Verb(StrEnum):
    """What a person can ask of a rollout."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    UNDO = "undo"


class Want(StrEnum):
    """What a site is told about the release of a rollout."""

    NOTHING = "nothing"  # not told anything yet
    STAGE = "stage"  # have it on disk; what runs stays
    RUN = "run"  # switch to it, as far as the site's own evidence goes
    GRANTED = "granted"  # switch to it: the evidence of all sites together suffices, or a person says so
    BACK = "back"  # run what ran before, and let go of the release


RUNNING: Final = frozenset({Want.RUN, Want.GRANTED})
"""The release is to answer requests."""


class WavePhase(StrEnum):
    """How far a wave is."""

    WAITING = "waiting"
    OPEN = "open"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Commanded:
    """A person asks for something.

    Attributes:
        why: for the audit log.
    """

    verb: Verb
    now_s: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """A site asked the hub for something, so it is there."""

    site: str
    now_s: float


@dataclass(frozen=True, slots=True)
class Reported:
    """A site says where it is. Reports that come twice, or late, are recognised by their numbers before they come here.

    Attributes:
        want: what it was told last, as far as it knows.
        findings: all that it has counted in this rollout so far.
        waiting: it compares, nothing is wrong, and it waits for more evidence than it has itself.
        why: what failed, in its words.
    """

    site: str
    state: SiteState
    want: Want
    now_s: float
    findings: Findings = NO_FINDINGS
    waiting: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""

    now_s: float


@dataclass(frozen=True, slots=True)
class Retired:
    """A site is gone for good."""

    site: str
    now_s: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A site was enrolled since the rollout was made, and is one of its sites from now on. One that is in it already stays as it is, unless it
    was retired or taken over: then it begins anew.

    Attributes:
        wave: its number, from 0.
    """

    site: str
    wave: int
    now_s: float


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Another rollout of the same model takes sites over.

    Attributes:
        by: its name.
    """

    sites: frozenset[str]
    by: str
    now_s: float


Event: TypeAlias = Commanded | Heard | Reported | Ticked | Retired | Joined | Overtaken


@dataclass(frozen=True, slots=True)
class Tell:
    """The site is to do something else from now on."""

    site: str
    want: Want


@dataclass(frozen=True, slots=True)
class SiteMoved:
    """For the record."""

    site: str
    before: SiteState
    after: SiteState
    why: str = ""


@dataclass(frozen=True, slots=True)
class SiteJoined:
    """For the record: a site is in the rollout, after all others that are, whatever was known of it before."""

    site: str
    state: SiteState
    why: str


@dataclass(frozen=True, slots=True)
class RolloutMoved:
    """For the record."""

    before: RolloutState
    after: RolloutState
    why: str


@dataclass(frozen=True, slots=True)
class WaveMoved:
    """For the record."""

    wave: int
    phase: WavePhase
    why: str


Instruction: TypeAlias = Tell | SiteMoved | SiteJoined | RolloutMoved | WaveMoved


@dataclass(frozen=True, slots=True)
class SiteView:
    """What a rollout knows of a site.

    Attributes:
        wave: its number, from 0.
        want: what it was told last.
        acting: what it says that it was told last.
        heard_s: when it was heard of last; None for never.
        was: the state in which it fell silent; None while it is heard, and of one that joined and was not heard of yet.
        switched: it was told to run the release, and may have.
    """

    wave: int
    state: SiteState = SiteState.PENDING
    want: Want = Want.NOTHING
    acting: Want = Want.NOTHING
    heard_s: float | None = None
    was: SiteState | None = None
    switched: bool = False
    waiting: bool = False
    findings: Findings = NO_FINDINGS
    why: str = ""


@dataclass(frozen=True, slots=True)
class WaveView:
    """What a rollout knows of a wave.

    Attributes:
        since_s: when something last moved: it opened, one of its sites did, or a person told it to go on.
        verdict: of the evidence of all its sites together, when it was looked at last.
        judged: nothing was reported since.
        promoted: a person took its verdict upon himself.
    """

    phase: WavePhase = WavePhase.WAITING
    since_s: float = 0.0
    verdict: Verdict = Verdict.INCONCLUSIVE
    judged: bool = False
    promoted: bool = False


@dataclass(frozen=True, slots=True)
class RolloutView:
    """All that a rollout knows, to be kept and to go on from.

    Attributes:
        why: of its last move.
    """

    state: RolloutState
    why: str
    sites: Mapping[str, SiteView]
    waves: tuple[WaveView, ...]
