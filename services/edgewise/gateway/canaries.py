"""Canaries: a share of a site's requests for a model goes to a new version, and what comes of both versions is counted.

Who follows the agent's file says what is in force (`Canaries.take_over`); a call that is sent to a site looks it up and
enters a `Trial` (`canary_trial.py`). Without any, a request costs one look at `Carrier.canaries`.
"""

from collections.abc import Callable, Iterator, Mapping
from random import random
from typing import TYPE_CHECKING, Final

from edgewise.net.distribution import Distribution
from edgewise.protocols.canaries import CanarySetting, CanarySettings
from edgewise.protocols.preferred_version import preferred_line

if TYPE_CHECKING:
    from edgewise.gateway.carrier import Carrier

_SHORTEST_MS: Final = 0.05
_BUCKETS_EACH_DOUBLING: Final = 16
_DOUBLINGS: Final = 24
LATENCY_BOUNDS_MS: Final[tuple[float, ...]] = tuple(
    _SHORTEST_MS * 2.0 ** (bucket / _BUCKETS_EACH_DOUBLING) for bucket in range(_DOUBLINGS * _BUCKETS_EACH_DOUBLING + 1)
)
"""From 0.05 ms to 14 minutes, each 4.4 % above the last: the middle of a bucket is within 2.2 % of all that lies in it."""


class Arm:
    """One of the two versions, and what became of the requests that were sent to it.

    Attributes:
        version: which.
        line: the header field that asks for it, with its end.
        count, errors: answers, and those that were the version's fault.
        timed, slow: answers while there was a bound on how long one may take, and those that took longer.
        latency_ms: of answers that an app could use.
    """

    __slots__ = ("count", "errors", "latency_ms", "line", "slow", "timed", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.line = preferred_line(b"%d" % version)
        self.count = self.errors = self.timed = self.slow = 0
        self.latency_ms = Distribution(LATENCY_BOUNDS_MS)


class Canary:
    """One model at one site.

    Attributes:
        setting: what is in force.
        old, new: the two versions.
        slow_s: an answer that took longer is slow; None while that is not asked.
        shadowed: questions asked of the new version as well whose answers could be judged.
        disagreed, shadow_errors: of these: both answered, and differently; the new version answered with an error, or not in time.
    """

    __slots__ = ("_draws", "disagreed", "new", "old", "setting", "shadow_errors", "shadowed", "slow_s")

    def __init__(self, setting: CanarySetting, draws: Callable[[], float]) -> None:
        self._draws = draws
        self.old = Arm(setting.old)
        self.new = Arm(setting.new)
        self.shadowed = self.disagreed = self.shadow_errors = 0
        self.respecify(setting)

    def respecify(self, setting: CanarySetting) -> None:
        """Divide otherwise from now on; counts go on."""
        self.setting: CanarySetting = setting
        self.slow_s: float | None = None if setting.slow_ms is None else setting.slow_ms / 1e3

    def draw(self) -> Arm:
        """Where the next request goes."""
        return self.new if self._draws() < self.setting.share else self.old

    def draw_shadow(self) -> bool:
        """Whether a request that the old version has answered is asked of the new one as well."""
        shadow = self.setting.shadow
        return shadow > 0.0 and self._draws() < shadow


InForce = Mapping[tuple[str, str], Canary]
"""By site and model."""


class Canaries:
    """Those that are in force in this process.

    Args:
        carrier: its calls find them at `Carrier.canaries`.
        draws: numbers from 0 to below 1.

    Attributes:
        settings: as taken over last.
    """

    def __init__(self, carrier: "Carrier", draws: Callable[[], float] = random) -> None:
        self.settings = CanarySettings()
        self._carrier = carrier
        self._draws = draws
        self._in_force: dict[tuple[str, str], Canary] = {}

    def __iter__(self) -> Iterator[Canary]:
        return iter(self._in_force.values())

    def __contains__(self, canary: Canary) -> bool:
        return self._in_force.get((canary.setting.site, canary.setting.model)) is canary

    def take_over(self, settings: CanarySettings) -> None:
        """From now on these and no others; counts of those that keep their key and their versions go on."""
        known = {_identity(canary.setting): canary for canary in self}
        in_force: dict[tuple[str, str], Canary] = {}
        for setting in settings.canaries:
            canary = known.get(_identity(setting))
            if canary is None:
                canary = Canary(setting, self._draws)
            else:
                canary.respecify(setting)
            in_force[setting.site, setting.model] = canary
        self.settings = settings
        self._in_force = in_force
        self._carrier.canaries = in_force or None


def _identity(setting: CanarySetting) -> tuple[str, str, int, int, str]:
    return setting.site, setting.model, setting.old, setting.new, setting.key
