"""The hub on virtual time: what it decides it writes down in one go, and it may be killed before or after that."""

from random import Random
from typing import Final

from edgewise.core.rollout.events import (
    Event,
    Joined,
    Reported,
    RolloutMoved,
    SiteJoined,
    SiteMoved,
    Tell,
    Want,
    WaveMoved,
)
from edgewise.core.rollout.rollout import Rollout
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.waves import late_wave, plan_waves
from rollout_simulator.scenario import Scenario

_OPEN: Final = frozenset({RolloutState.PLANNED, RolloutState.PROGRESSING, RolloutState.PAUSED, RolloutState.COMPLETED})


class HubDownError(Exception):
    """Whoever asked gets no answer."""


class Hub:
    """One rollout, kept."""

    def __init__(self, scenario: Scenario, sites: dict[str, dict[str, str]], late: set[str], random: Random) -> None:
        specification = scenario.specification
        early = {site: labels for site, labels in sites.items() if site not in late}
        waves = plan_waves(specification.waves, early, key=str(scenario.seed))
        self._labels = sites
        self._specification = specification
        self._crash_ratio = scenario.hub_crash_ratio
        self._random = random
        self.healed = False
        self.rollout = Rollout.planned(specification, waves)
        # What is on the disk:
        self._view = self.rollout.view()
        self.wants: dict[str, tuple[Want, int]] = dict.fromkeys(sites, (Want.NOTHING, 0))
        self._numbers: dict[str, int] = dict.fromkeys(sites, 0)
        self.moves: list[SiteMoved | SiteJoined | RolloutMoved | WaveMoved] = []
        self.crashes = 0

    def enroll(self, site: str, now_s: float) -> bool:
        """A site is there from now on, and joins the rollout unless that goes back.

        Returns: whether it is in it.
        Raises: HubDownError: as `handle` does.
        """
        wave = late_wave(self._specification.waves, self._labels[site])
        if site not in self.rollout.glance().sites and wave is not None and self.rollout.state in _OPEN:
            self.handle(Joined(site, wave, now_s))
        return site in self.rollout.glance().sites

    def handle(self, event: Event, number: int = 0) -> None:
        """Decide, write down, answer.

        Args:
            number: of the report, by which one that comes twice or late is recognised.
        Raises: HubDownError: it was killed, before or after it wrote down what it decided.
        """
        if isinstance(event, Reported) and number <= self._numbers[event.site]:
            return
        instructions = self.rollout.handle(event)
        self._may_crash(event)
        if instructions or isinstance(event, Reported):
            self._view = self.rollout.view()
            if isinstance(event, Reported):
                self._numbers[event.site] = number
            for instruction in instructions:
                match instruction:
                    case Tell(site, want):
                        self.wants[site] = (want, self.wants[site][1] + 1)
                    case _:
                        self.moves.append(instruction)
        self._may_crash(event)

    def _may_crash(self, event: Event) -> None:
        if not self.healed and self._random.random() < self._crash_ratio:
            self.crashes += 1
            self.rollout = Rollout.resumed(self._specification, self._view, event.now_s)
            raise HubDownError
