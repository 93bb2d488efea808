"""Which runs of a study are still to be measured, and how long they will take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.study import calibration, planning
from edgewise.study.cells import GATEWAY, Cell, Run
from edgewise.study.journal import Contents
from edgewise.study.planning import Calibrated
from edgewise.study.progress import TimeLeft, duration_text
from edgewise.study.results import NetworkProfile, RunResult
from edgewise.study.scenario import Scenario

STOPPED: Final = "it was stopped before its schedule was over"
"""How a run ends that its user stopped: it is void, and no fault of the generator."""

PREDICTED_ROUTES: Final = ("prefer-cloud", "prefer-edge", "cloud-only", "edge-only")
"""Those of a gateway of which one knows beforehand which site answers; the others are not predicted, and need no calibration."""

_ROUND_TRIPS: Final = 3
_CALIBRATION_S: Final = (3.0, 7.0)
# Of a calibration, for pauses, whatever the runs deserve.
_PAUSING_S: Final = 3.0
_BLOCKS_OF_A_ROUND: Final = 2
_CALIBRATION_START_S: Final = 0.5


@dataclass(slots=True)
class _Attempts:
    """Of one run."""

    made: int = 0
    void: int = 0
    valid: bool = False


class RunsLeft:
    """What is left to do of a plan.

    Args:
        contents: of the journal.
        profiles: the networks, by name.

    Attributes:
        plan: every run, in the order measured.
        time: what is learned about how long runs take.
    """

    def __init__(self, scenario: Scenario, contents: Contents, profiles: Mapping[str, NetworkProfile]) -> None:
        self.plan = planning.runs(scenario)
        self.time = TimeLeft()
        self._scenario = scenario
        self._contents = contents
        self._profiles = profiles
        self._attempts: dict[str, _Attempts] = {}
        for line in contents.runs:
            self.note(line.result)

    def note(self, result: RunResult) -> None:
        """A run has ended."""
        mine = self._attempts.setdefault(result.run.name, _Attempts())
        mine.made += 1
        mine.valid = mine.valid or not result.void
        # What the user stopped is no failed attempt.
        mine.void += bool(result.void) and result.void != STOPPED

    def attempts(self, run: Run) -> int:
        """How often it was measured, stopped ones included."""
        return self._attempts.get(run.name, _Attempts()).made

    def is_done(self, run: Run) -> bool:
        """Whether it is measured, or was void as often as the scenario bears."""
        mine = self._attempts.get(run.name, _Attempts())
        return mine.valid or mine.void > self._scenario.run.void_retries

    def is_missing(self, cell: Cell) -> bool:
        """Whether it was given up."""
        return cell.name in self._contents.missing

    def ahead(self) -> list[Run]:
        """What is still to be measured, in its order."""
        return [run for run in self.plan if not self.is_done(run) and not self.is_missing(run.cell)]

    def cells(self, wanted: Callable[[Cell], bool]) -> list[Cell]:
        """Those cells that still have something to be measured, in their order."""
        return [cell for cell in dict.fromkeys(run.cell for run in self.ahead()) if wanted(cell)]

    def calibrations(self, kind: Calibrated) -> int:
        """How often it was calibrated."""
        return sum(Calibrated.of(found) == kind for found in self._contents.calibrations)

    def wants_calibration(self, target: str) -> bool:
        """Whether predictions of a target are wanted and can be made."""
        routed = target != GATEWAY or self._scenario.gateway.route in PREDICTED_ROUTES
        return self._scenario.calibrate and routed

    def warmup_s(self, cell: Cell) -> float:
        """Of a cell's runs: over a long way, connections and queues take some round trips to become what they stay."""
        return warmup_s(self._scenario, self._profiles.get(cell.profile))

    def scheduled_s(self, cell: Cell) -> float:
        """Of one run, with its warm-up."""
        return self.warmup_s(cell) + self._scenario.run.duration_s

    def left_s(self) -> float:
        """How long all that is ahead will take."""
        ahead = self.ahead()
        overheads = overheads_of(self._scenario)
        left_s = self.time.left_s(len(ahead), sum(self.scheduled_s(run.cell) for run in ahead))
        changes = len({(run.cell.model, run.cell.batching) for run in ahead} - {self._serving(ahead)})
        left_s += changes * overheads.model_s
        if self._scenario.calibrate:
            # One before each round of runs that is still ahead.
            rounds = {(Calibrated.of(run.cell), run.repeat) for run in ahead if self.wants_calibration(run.cell.target)}
            wanted = sum(repeat >= self.calibrations(kind) for kind, repeat in rounds)
            left_s += wanted * overheads.calibration_s / self._scenario.run.repeats
        return left_s

    def text(self) -> str:
        """What is to be done, for people."""
        ahead, of = len(self.ahead()), len(self.plan)
        if ahead == of:
            cells = len({run.cell for run in self.plan})
            return f"{of} runs of {cells} cells, about {duration_text(expected_s(self._scenario))}"
        return f"{of - ahead} of {of} runs are there; for the others about {duration_text(self.left_s())}"

    @staticmethod
    def _serving(ahead: list[Run]) -> tuple[str, str]:
        """What is served next, which most often is what is served now."""
        return (ahead[0].cell.model, ahead[0].cell.batching) if ahead else ("", "")


def warmup_s(scenario: Scenario, network: NetworkProfile | None) -> float:
    """Of a run over a network."""
    return max(scenario.run.warmup_s, _ROUND_TRIPS * network.rtt_ms / 1e3 if network is not None else 0.0)


def calibration_s(scenario: Scenario, blocks: int = calibration.BLOCKS) -> float:
    """What a calibration of so many blocks may take: it need not be surer than the runs that it is compared with."""
    least_s, most_s = _CALIBRATION_S
    whole_s = min(max(2 * scenario.run.duration_s, least_s), most_s) + _PAUSING_S
    return whole_s * blocks / calibration.BLOCKS


def calibration_blocks(scenario: Scenario) -> int:
    """Of each calibration: with several rounds of runs there is one before each, since the machine's speed drifts."""
    return calibration.BLOCKS if scenario.run.repeats == 1 else _BLOCKS_OF_A_ROUND


def overheads_of(scenario: Scenario) -> planning.Overheads:
    """What a study of the scenario takes beside its runs."""
    once_s = calibration_s(scenario, calibration_blocks(scenario)) + _CALIBRATION_START_S
    return planning.Overheads(calibration_s=scenario.run.repeats * once_s)


def expected_s(scenario: Scenario) -> float:
    """How long a study of the scenario takes, with models that are built already."""
    return planning.expected_s(scenario, overheads_of(scenario))
