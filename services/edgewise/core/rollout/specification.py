"""What a platform engineer asks for: a release, the waves, the gates, and what happens when something is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.gates import Gates
from edgewise.core.rollout.waves import Wave


class OnFailure(StrEnum):
    """What a rollout does that has failed more than it may."""

    ROLL_BACK = "roll-back"
    PAUSE = "pause"


def _rising(values: Sequence[float]) -> bool:
    """Whether each is greater than the one before it."""
    return all(before < after for before, after in pairwise(values))


@dataclass(frozen=True, slots=True)
class Canary:
    """How the new version takes over at one site.

    Attributes:
        shadow_share, shadow_s: first, this share of the requests is asked of the new version as well for so long, and its answers are
            compared and thrown away; 0 for not at all.
        shares: then it answers these shares of the requests, rising, each less than 1; then all of them.
        stage_s: for how long at least each share is kept.
        bake_s: for how long the previous version stays loaded and warm behind the new one that answers everything.
    """

    shadow_share: float = 0.0
    shadow_s: float = 0.0
    shares: tuple[float, ...] = (0.01, 0.1, 0.5)
    stage_s: float = 60.0
    bake_s: float = 600.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.shadow_share <= 1.0:
            raise InvalidArgumentError(f"a shadow share of {self.shadow_share:g} lies outside 0..1")
        if any(not 0.0 < share < 1.0 for share in self.shares) or not _rising(self.shares):
            raise InvalidArgumentError(
                f"shares {', '.join(f'{share:g}' for share in self.shares)}: expected rising numbers between 0 and 1, "
                "such as 0.01, 0.1, 0.5; everything follows by itself"
            )
        for name in ("shadow_s", "stage_s", "bake_s"):
            if not getattr(self, name) >= 0.0:
                raise InvalidArgumentError(f"{name} of {getattr(self, name):g} is no time")


@dataclass(frozen=True, slots=True)
class Specification:
    """A rollout, as it was asked for.

    Attributes:
        model, version: the release.
        waves: in their order; at least one.
        gates, canary: asked and done at each site.
        silent_s: a site that was not heard of for so long is unreachable.
        patience_s: for how long a wave may wait for data or for a site to be there, before the rollout pauses.
        on_failure: when the error budget is spent or a gate has failed.
        prestage: every site fetches the release when the rollout starts, not only when its wave's turn comes.
    """

    model: str
    version: int
    waves: tuple[Wave, ...]
    gates: Gates = field(default_factory=Gates)
    canary: Canary = Canary()
    silent_s: float = 90.0
    patience_s: float = 3600.0
    on_failure: OnFailure = OnFailure.ROLL_BACK
    prestage: bool = True

    def __post_init__(self) -> None:
        if not self.waves:
            raise InvalidArgumentError("a rollout has no waves: expected at least one")
        names = [wave.name for wave in self.waves]
        if len(set(names)) < len(names):
            raise InvalidArgumentError(f"waves are called {', '.join(names)}: expected a name for each of its own")
        for name in ("silent_s", "patience_s"):
            if not getattr(self, name) > 0.0:
                raise InvalidArgumentError(f"{name} of {getattr(self, name):g}: expected more than 0 seconds")
