"""What is rolled out to whom, and what goes wrong meanwhile."""

from dataclasses import dataclass

from edgewise.core.rollout.specification import Specification


@dataclass(frozen=True)
class Release:
    """What is true of the new version, which nobody knows beforehand.

    Attributes:
        error_ratio, slow_ratio: of its answers. The old version's are 0.002 and 0.05.
        golden_wrong: golden answers that it gives wrongly.
        loads: whether a model server can load it.
        bad_share: at this share of the sites the above holds; elsewhere it is as good as the old one.
    """

    error_ratio: float = 0.002
    slow_ratio: float = 0.05
    golden_wrong: int = 0
    loads: bool = True
    bad_share: float = 1.0


@dataclass(frozen=True)
class Scenario:
    """A run.

    Attributes:
        sites: how many.
        offline_share: of the sites, which are away at a random time for a random while, some from the beginning.
        offline_s: for how long at the longest.
        crashing_share: of the sites, whose agent is killed again and again.
        crash_ratio: the chance of each step of such an agent to end in a crash, before it, after it, or between writing and doing.
        hub_crash_ratio: the chance of each event to end in a crash of the hub, before it was written down or after.
        late_share: of the sites, which are enrolled at a random time after the rollout was made; some of them are away then.
        rate_hz: requests a second at a site: uniform between these.
        quick_s: an agent looks around so often.
        duration_s: after this all links are whole and nobody crashes, and everything has `settle_s` to come to rest.
    """

    specification: Specification
    release: Release = Release()
    sites: int = 100
    seed: int = 1
    offline_share: float = 0.3
    offline_s: float = 900.0
    crashing_share: float = 0.05
    crash_ratio: float = 0.05
    hub_crash_ratio: float = 0.002
    late_share: float = 0.0
    rate_hz: tuple[float, float] = (0.5, 20.0)
    fetch_s: tuple[float, float] = (5.0, 120.0)
    load_s: tuple[float, float] = (1.0, 10.0)
    quick_s: float = 2.0
    duration_s: float = 7200.0
    settle_s: float = 7200.0
    abort_s: float | None = None
    undo: bool = False
