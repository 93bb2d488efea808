"""The cells of a study, found by what they have in common."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgewise.study.cells import CLOUD, EDGE, GATEWAY
from edgewise.study.checking import Check, check
from edgewise.study.results import CellResult, NetworkProfile, Prediction, StudyResult


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """What stays the same while target, network and load change: one picture each."""

    model: str
    protocol: str
    batching: str = ""
    outage: str = ""

    @property
    def kind(self) -> tuple[str, str, str]:
        """Without the outage."""
        return self.model, self.protocol, self.batching

    @classmethod
    def of(cls, found: CellResult) -> "Setting":
        """The setting of a cell."""
        cell = found.cell
        return cls(cell.model, cell.protocol, cell.batching, cell.outage)


@dataclass(slots=True)
class Index:
    """A study's cells by setting, target, profile and load.

    Attributes:
        settings, targets, profiles: those of cells that were measured. Settings without those that are there only because a target
            does not cross the network and was measured once for all outages. Profiles by rising RTT, then by falling bandwidth.
    """

    result: StudyResult
    settings: list[Setting] = field(init=False)
    targets: list[str] = field(init=False)
    profiles: list[str] = field(init=False)
    _cells: dict[tuple[Setting, str, str, float], CellResult] = field(init=False)
    _predictions: dict[str, Prediction] = field(init=False)
    _checked: Check | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        cells = self.result.cells
        found_settings = dict.fromkeys(Setting.of(found) for found in cells)
        self.settings = [one for one in found_settings if not self._stands_in(one, found_settings)]
        self.targets = sorted({found.cell.target for found in cells}, key=_target_order)
        crossed = {found.cell.profile for found in cells} - {""}
        self.profiles = sorted(crossed, key=self._profile_order)
        self._cells = {
            (Setting.of(found), found.cell.target, found.cell.profile, found.cell.load): found for found in cells
        }
        self._predictions = {predicted.cell.name: predicted for predicted in self.result.predictions}

    def cell(self, setting: Setting, target: str, profile: str, load: float) -> CellResult | None:
        """The cell asked for; of a target that does not cross the network, the one that stands for every profile.

        Returns: None where it was not measured, or nothing of it counts.
        """
        plain = Setting(setting.model, setting.protocol, setting.batching)
        for at, of in ((setting, profile), (setting, ""), (plain, "")):
            found = self._cells.get((at, target, of, load))
            if found is not None and measured(found):
                return found
        return None

    def prediction(self, found: CellResult | None) -> Prediction | None:
        """Of a cell, where there is one."""
        return self._predictions.get(found.cell.name) if found is not None else None

    def cells_of(self, setting: Setting) -> list[CellResult]:
        """The measured cells of a setting, and those that stand in for targets that do not cross the network."""
        own = [found for found in self.result.cells if Setting.of(found) == setting and measured(found)]
        asked = {found.cell.target for found in own}
        plain = Setting(*setting.kind)
        others = [found for found in self.result.cells if Setting.of(found) == plain and measured(found)]
        return own + [found for found in others if found.cell.target not in asked and not found.cell.profile]

    @property
    def checked(self) -> Check:
        """Predictions beside what was measured."""
        if self._checked is None:
            self._checked = check(self.result)
        return self._checked

    def calm(self, setting: Setting) -> bool:
        """Whether nothing happens to the link."""
        return not setting.outage or self.result.outages.get(setting.outage, setting.outage).strip() == ""

    def planned(self) -> int:
        """Cells of the sweep, measured or not."""
        return len({found.cell.name for found in self.result.cells} | set(self.result.missing))

    def loads(self, setting: Setting) -> list[float]:
        """Rising."""
        return sorted({found.cell.load for found in self.result.cells if Setting.of(found) == setting})

    def profiles_of(self, setting: Setting) -> list[str]:
        """In the order of `profiles`; [""] for a setting of which nothing crosses the network."""
        crossed = {found.cell.profile for found in self.result.cells if Setting.of(found) == setting}
        return [profile for profile in self.profiles if profile in crossed] or [""]

    def targets_of(self, setting: Setting) -> list[str]:
        """In the order of `targets`, with those measured once for all outages."""
        alike = (setting, Setting(*setting.kind))
        asked = {found.cell.target for found in self.result.cells if Setting.of(found) in alike}
        return [target for target in self.targets if target in asked]

    def rtt_ms(self, profile: str) -> float:
        """Of a profile; nan when nobody knows."""
        known = self.result.profiles.get(profile)
        if known is not None:
            return known.rtt_ms
        return 0.0 if profile == "none" else math.nan

    def only_rtt(self, profiles: Iterable[str]) -> bool:
        """Whether these networks differ in nothing but their RTT, so that a figure between two of them means something."""
        known = [self.result.profiles.get(profile) for profile in profiles]
        others = {_without_rtt(profile) for profile in known if profile is not None}
        return None not in known and len(others) == 1

    def label(self, setting: Setting) -> str:
        """What tells a setting from the others of this study; the model's name always."""
        several = len({other.protocol for other in self.settings}) > 1
        words = [f"{setting.model} over {setting.protocol}" if several else setting.model]
        if setting.batching:
            words.append(f"batching {setting.batching}")
        if setting.outage:
            words.append(f"outage {setting.outage}")
        return ", ".join(words)

    def rivals(self) -> tuple[tuple[str, str], ...]:
        """Pairs of targets worth comparing: what is near against what is far; the first is the nearer one."""
        sites = [target for target in self.targets if target != GATEWAY]
        if CLOUD in sites:
            return tuple((site, CLOUD) for site in sites if site != CLOUD) or _alone(self.targets)
        return tuple((site, sites[0]) for site in sites[1:]) or _alone(self.targets)

    def _stands_in(self, setting: Setting, others: Iterable[Setting]) -> bool:
        """Whether its cells stand for those of settings with an outage, and are shown there."""
        alike = [one for one in others if one != setting and (one.model, one.protocol, one.batching) == setting.kind]
        crosses = any(found.cell.profile for found in self.result.cells if Setting.of(found) == setting)
        return not setting.outage and bool(alike) and not crosses

    def _profile_order(self, profile: str) -> tuple[float, float, str]:
        rtt_ms = self.rtt_ms(profile)
        known = self.result.profiles.get(profile)
        bandwidth = (known.up_kbit_s or math.inf) if known is not None else math.inf
        return (math.inf if math.isnan(rtt_ms) else rtt_ms, -bandwidth, profile)


def measured(found: CellResult) -> bool:
    """Whether anything of the cell counts."""
    return found.requests > 0 and any(not run.void for run in found.runs)


def spread(items: list[str], most: int) -> list[str]:
    """At most so many of them, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return items
    if most == 1:
        return [items[len(items) // 2]]
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def spread_loads(loads: list[float], most: int) -> list[float]:
    """As `spread`."""
    kept = {f"{load}": load for load in loads}
    return [kept[name] for name in spread(list(kept), most)]


def _alone(targets: list[str]) -> tuple[tuple[str, str], ...]:
    """Two targets of which one is the gateway."""
    return ((targets[0], targets[1]),) if len(targets) == 2 else ()


def _target_order(target: str) -> tuple[int, str]:
    fixed = {CLOUD: 0, EDGE: 1, GATEWAY: 3}
    return fixed.get(target, 2), target


def _without_rtt(profile: NetworkProfile) -> tuple[float, ...]:
    return (profile.up_kbit_s, profile.down_kbit_s, profile.jitter_ms, profile.loss_ratio, profile.path_spread_ms)
