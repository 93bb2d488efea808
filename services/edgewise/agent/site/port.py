"""What an agent needs of its surroundings; kinds of sites differ in what stands behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgewise.core.releases import Release
from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.core.rollout.paired import Paired
from edgewise.core.rollout.reports import Served


@dataclass(frozen=True, slots=True)
class Division:
    """How the requests of a model are divided between two versions.

    Attributes:
        share: of the requests that the new version answers, 0..1.
        shadow: share of the requests that the new version is asked as well.
        key: under which the answers are counted; another key begins at zero.
        slow_ms: an answer that takes longer is counted as slow; None counts none.
    """

    old: int
    new: int
    share: float
    shadow: float
    key: str
    slow_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Answers under one key of a division.

    Attributes:
        new_timed, old_timed: answers while it was said what is slow; *_slow of them took longer.
        shadowed: requests of the old version that the new one was asked as well, as far as could be told what came of it.
        disagreed, shadow_errors: of these, those that it answered differently, and those that it did not answer.
    """

    new_count: int = 0
    new_errors: int = 0
    old_count: int = 0
    old_errors: int = 0
    new_timed: int = 0
    new_slow: int = 0
    old_timed: int = 0
    old_slow: int = 0
    shadowed: int = 0
    disagreed: int = 0
    shadow_errors: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted so far under a key.

    Attributes:
        old_timed: how many latencies of the old version are behind `old_quantiles_ms`.
        old_quantiles_ms: latencies of the old version by quantile.
    """

    key: str
    counts: Counts
    old_timed: int = 0
    old_quantiles_ms: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """A model as the site shows it.

    Attributes:
        loaded: versions that are loaded and warm.
        coming: versions that are wanted and not there yet.
        failed: why versions could not be loaded.
        serving: the version that answers everything outside of a division; 0 for none.
        meant: the one that is to, as soon as it is loaded; 0 for none.
        division: the one in force; None for none.
        settled: what was last asked for is in force.
    """

    loaded: frozenset[int] = frozenset()
    coming: frozenset[int] = frozenset()
    failed: Mapping[int, str] = field(default_factory=dict)
    serving: int = 0
    meant: int = 0
    division: Division | None = None
    settled: bool = True


class SiteActuator(Protocol):
    """Changes what a site serves. Every method may be called again without harm, and returns at once: `look` shows what came of it."""

    divides: bool
    """Whether requests can be divided between two versions."""

    def look(self, model: str) -> View:
        """A model as it is now.

        Raises: UnavailableError: the site cannot be seen at the moment.
        """
        ...

    def load(self, model: str, version: int) -> None:
        """Have a version loaded beside what answers."""
        ...

    def unload(self, model: str, version: int) -> None:
        """Let a version go that answers nothing."""
        ...

    def serve(self, model: str, version: int) -> None:
        """Have a version that is loaded answer everything outside of a division."""
        ...

    def divide(self, model: str, division: Division | None) -> None:
        """Divide the requests; None ends it."""
        ...

    def reading(self, model: str) -> Reading | None:
        """What was counted since the division in force began; None when nothing is known at the moment."""
        ...

    def served(self) -> tuple[Mapping[str, Served], Mapping[str, Served]]:
        """How models were answered lately: (cloud, edge), by name."""
        ...

    def runtimes(self) -> Mapping[str, str]:
        """Versions of what runs the models, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two versions answered the held-out examples.

    Attributes:
        paired: what came of it; None until all were asked.
        problem: why they cannot be asked; "" otherwise.
    """

    paired: Paired | None = None
    problem: str = ""


class Examiner(Protocol):
    """Compares two versions that are both loaded. Returns at once: `look` shows what came of it."""

    def look(self, rollout: str, model: str) -> Comparison:
        """What is known so far."""
        ...

    def compare(self, rollout: str, model: str, old: int, new: int) -> None:
        """Begin. Asked again in the same rollout it does no harm."""
        ...

    def end(self, rollout: str, model: str) -> None:
        """Nobody wants to know any more: what is under way ends, and nothing is known of it. It does no harm where nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class StageView:
    """What is on the disk of a release.

    Attributes:
        present: all of it.
        checked: all of it, and what it should be, as far as was looked since.
        busy: someone is at it.
        problem: why it cannot be had, "" otherwise.
        bytes_done, bytes_total: of what had to be fetched.
    """

    present: bool = False
    checked: bool = False
    busy: bool = False
    problem: str = ""
    bytes_done: int = 0
    bytes_total: int = 0


class Staging(Protocol):
    """Has the files of releases on the disk. Returns at once: `look` shows what came of it."""

    def look(self, order: Order) -> StageView:
        """What there is."""
        ...

    def fetch(self, order: Order) -> None:
        """Bring it."""
        ...

    def check(self, order: Order) -> None:
        """Compare what is there with what it should be; what is not is thrown away."""
        ...

    def keep_only(self, model: str, versions: frozenset[int]) -> None:
        """Remove other versions of a model."""
        ...


class Trust(Protocol):
    """What may be believed; see `agent.trust`."""

    def refresh(self) -> None:
        """Learn what was signed since.

        Raises: EdgewiseError: it cannot be had, or is not to be believed.
        """
        ...

    def manifest(self, model: str, version: int, sha256: str) -> Release:
        """A release.

        Raises: EdgewiseError: there is none of that digest, or it cannot be had.
        """
        ...

    def floor(self, model: str) -> int:
        """The lowest version that may run; 0 for any."""
        ...

    def open_desired(self, envelope: bytes, *, seen_generation: int = 0) -> DesiredState:
        """A desired state that was signed by who may.

        Args:
            seen_generation: the greatest that this site has followed.
        Raises: EdgewiseError: it is none, of another site, or older than that.
        """
        ...

    def stale(self, desired: DesiredState) -> str:
        """Why nothing new may be begun by a desired state; "" when it may."""
        ...

    def versions(self) -> Mapping[str, int]:
        """Of the metadata, by role."""
        ...

    def may_install(self) -> str:
        """Why nothing new may be begun at the moment; an empty text when it may."""
        ...
