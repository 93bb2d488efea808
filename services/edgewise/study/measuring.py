"""Measures what is planned, one run after the other, and notes each in the journal before it begins the next."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgewise.core.errors import CancelledError, EdgewiseError, UnavailableError
from edgewise.study import (
    analysis,
    answers,
    arrivals,
    mlperf,
    mlperf_runs,
    outage_steps,
    questions,
    records,
)
from edgewise.study.calibration_attempts import CalibrationAttempts, NotFound
from edgewise.study.cells import GATEWAY, Cell, Run
from edgewise.study.engine.job import Asking, Job, Recording
from edgewise.study.journal import Journal, RunLine
from edgewise.study.measured_port import Asks, Measured
from edgewise.study.outage_clock import OutageClock
from edgewise.study.planning import Calibrated
from edgewise.study.progress import Progress, run_text
from edgewise.study.results import NetworkProfile, RunResult
from edgewise.study.run_job import ended_text, engine_text, question_order, run_metadata, schedule, tells, why
from edgewise.study.runs_left import STOPPED, RunsLeft
from edgewise.study.scenario import Scenario
from edgewise.study.study_directory import RECORDS
from edgewise.study.world_addresses import transport_of

_FAILURES_IN_A_ROW: Final = 2
NOT_CALIBRATED: Final = "not calibrated:"
"""How the note in the journal begins of what could not be calibrated and is measured all the same."""

_KNOWN_BY_KIND: Final = ("pets", "zoo")
"""Kinds of models whose questions need no word of the server."""


class StorageError(EdgewiseError):
    """Records or journal could not be written."""


@dataclass(frozen=True, slots=True)
class _Served:
    """How the cells of one target, model, protocol and batching are asked."""

    asking: Asking
    right: Callable[[int, bytes], bool | None] | None


class Measuring:
    """The runs of a study.

    Args:
        scenario: what is measured.
        directory: of the study.
        journal: says what was done before, and takes what is done.
        world: what is asked.
        engine: asks.
        profiles: the networks of the scenario, by name.
        progress: is told.
        stop: ends the present run, and the study, when set.
        cpus: the engine's cores; empty for all.
    """

    def __init__(
        self,
        scenario: Scenario,
        directory: Path,
        journal: Journal,
        *,
        world: Measured,
        engine: Asks,
        profiles: Mapping[str, NetworkProfile],
        progress: Progress,
        stop: threading.Event,
        cpus: tuple[int, ...] = (),
    ) -> None:
        self._scenario = scenario
        self._directory = directory
        self._journal = journal
        self._world = world
        self._engine = engine
        self._progress = progress
        self._stop = stop
        self._cpus = cpus
        self._left = RunsLeft(scenario, journal.contents, profiles)
        self._attempts = CalibrationAttempts(scenario, self._left, world, progress, self._ask)
        self._served: dict[Calibrated, _Served] = {}
        self._fruitless: Counter[str] = Counter()
        self._rounds: set[tuple[str, str, int]] = set()
        self._disturbed = False
        self._trace = arrivals.read_trace(scenario.run.trace) if scenario.run.trace is not None else None

    def all(self) -> None:
        """Measure what the journal does not have.

        Raises:
            CancelledError: `stop` was set; what was measured is in the journal.
            StorageError: what was measured could not be written.
        """
        self._progress.say(f"{self._scenario.title}: {self._left.text()}")
        for place, run in enumerate(self._left.plan, start=1):
            while not (self._left.is_done(run) or self._left.is_missing(run.cell)):
                self._check_stop()
                self._try(place, run)
        self._mlperf()

    def calibrations(self) -> None:
        """Calibrate all that the scenario asks for, and measure nothing else.

        Raises: as `all`.
        """
        for cell in dict.fromkeys(run.cell for run in self._left.plan):
            self._check_stop()
            if not self._left.is_missing(cell):
                try:
                    self._ready_for(cell)
                except (CancelledError, StorageError):
                    raise
                except EdgewiseError as error:
                    self._give_up([cell], error.message)

    def _try(self, place: int, run: Run) -> None:
        """One attempt at a run; a cell that cannot be measured is given up."""
        try:
            self._ready_for(run.cell)
            self._calibrate_round(run)
            begun_s = time.monotonic()
            result = self._once(place, run)
            self._left.time.learn(time.monotonic() - begun_s, self._left.scheduled_s(run.cell))
        except (CancelledError, StorageError):
            raise
        except EdgewiseError as error:
            # A part may have died of something else; the next attempt starts it anew.
            self._fail(run, error.message)
            return
        self._check_stop()
        if tells(result) or run.cell.outage:
            self._fruitless[run.cell.name] = 0
        else:
            self._fail(run, f"no request was answered with a prediction: {why(result)}")
        if result.void and not self._left.is_done(run):
            self._progress.say(f"{run.name} is void: {result.void}; once more")

    def _fail(self, run: Run, reason: str) -> None:
        self._fruitless[run.cell.name] += 1
        if self._fruitless[run.cell.name] >= _FAILURES_IN_A_ROW:
            self._give_up([run.cell], f"it failed {_FAILURES_IN_A_ROW} times in a row: {reason}")
        elif not self._left.is_missing(run.cell):
            self._progress.say(f"{run.name} failed: {reason}")

    # ---- what is served

    def _ready_for(self, cell: Cell) -> None:
        """Serve the cell's model, and calibrate what is not.

        Raises: EdgewiseError: that could not be; cells that share the reason are given up already.
        """
        served = (cell.model, cell.batching)
        if self._world.serving != served:
            self._serve(served)
        if Calibrated.of(cell) not in self._served:
            raise UnavailableError(self._journal.contents.missing.get(cell.name, "it cannot be asked"))

    def _serve(self, served: tuple[str, str]) -> None:
        alike = self._left.cells(lambda cell: (cell.model, cell.batching) == served)
        self._served.clear()
        self._progress.step(f"serving {' '.join(filter(None, served))}")
        try:
            self._world.prepare(served[0])
            self._world.serve(*served)
        except CancelledError:
            raise
        except EdgewiseError as error:
            self._give_up(alike, error.message)
            raise
        for kind in dict.fromkeys(map(Calibrated.of, alike)):
            self._introduce(kind)

    def _introduce(self, kind: Calibrated) -> None:
        """Learn how a target is asked for the model that is served, and calibrate it unless that was done before."""
        alike = self._left.cells(lambda cell: Calibrated.of(cell) == kind)
        try:
            self._world.set_profile("")
            if kind.target == GATEWAY:
                self._world.fresh_gateway()
            self._world.check_reachable(kind.target, transport_of(kind.protocol))
            asking = self._asking(alike[0])
            right = (
                answers.judge(kind.protocol, asking.questions) if any(one.label for one in asking.questions) else None
            )
            self._served[kind] = _Served(asking, right)
            self._stored(lambda: self._journal.questions(kind.model, kind.protocol, asking.questions))
            if self._left.wants_calibration(kind.target) and not self._left.calibrations(kind):
                self._calibrate(kind, asking)
        except (CancelledError, StorageError):
            raise
        except EdgewiseError as error:
            self._served.pop(kind, None)
            self._give_up(alike, error.message)

    def _calibrate_round(self, run: Run) -> None:
        """Calibrate what is served once more before its next round of runs, since the machine's speed drifts."""
        served = (run.cell.model, run.cell.batching, run.repeat)
        if served in self._rounds:
            return
        self._rounds.add(served)
        for kind, known in list(self._served.items()):
            # What could not be calibrated at first is not tried again.
            if 0 < self._left.calibrations(kind) <= run.repeat:
                self._world.settle()
                self._world.set_profile("")
                if kind.target == GATEWAY:
                    self._world.fresh_gateway()
                self._calibrate(kind, self._placed(known.asking, kind.target))

    def _asking(self, cell: Cell) -> Asking:
        """How a cell is asked, of a target that is where it is now."""
        model = next(spec for spec in self._scenario.models if spec.name == cell.model)
        described = None if model.kind in _KNOWN_BY_KIND else self._world.describe(cell.target)
        return self._placed(questions.make(self._scenario, cell, described), cell.target)

    def _placed(self, asking: Asking, target: str) -> Asking:
        host, port = self._world.address(target, asking.transport)
        return replace(asking, host=host, port=port)

    def _calibrate(self, kind: Calibrated, asking: Asking) -> None:
        """Calibrate what is served now, and note what is found, or why nothing is."""
        words = " ".join(filter(None, (kind.target, *self._world.serving, kind.protocol)))
        found = self._attempts.calibrated(kind, asking, words)
        if isinstance(found, NotFound):
            self._stored(lambda: self._journal.note(f"{NOT_CALIBRATED} {words}", found.reason))
        elif found is not None:
            self._check_stop()
            self._stored(lambda: self._journal.calibration(found))

    def _ask(self, job: Job) -> Recording:
        recording = self._engine.run(replace(job, cpus=self._cpus), None, self._stop)
        self._check_stop()
        self._world.check()
        return recording

    # ---- one run

    def _once(self, place: int, run: Run) -> RunResult:
        cell = run.cell
        served = self._served[Calibrated.of(cell)]
        warmup_s = self._left.warmup_s(cell)
        self._world.settle()
        self._world.set_profile(cell.profile)
        if cell.target == GATEWAY:
            self._world.fresh_gateway(always=self._disturbed)
            self._disturbed = False
        job = self._job(run, self._placed(served.asking, cell.target), warmup_s)
        clock = OutageClock(self._outage_steps(cell), self._world.tell_links, warmup_s)
        recording = self._watched(place, run, job, clock)
        if cell.outage:
            # Whoever learned from the cut must not take what it learned along.
            self._disturbed = True
            self._world.set_profile(cell.profile)
        self._world.check()
        result = analysis.run_result(run, recording, warmup_s=warmup_s, settings=self._scenario.run, right=served.right)
        if recording.stopped:
            # Whatever else is wrong with a piece of a run comes from that.
            result = replace(result, void=STOPPED)
        elif clock.problem and not result.void:
            result = replace(result, void=f"the outage could not be made: {clock.problem}")
        self._write(recording, result, warmup_s, clock.told_text(recording.started_wall_s))
        self._left.note(result)
        self._progress.ended(ended_text(place, len(self._left.plan), result, self._left.left_s()))
        return result

    def _watched(self, place: int, run: Run, job: Job, clock: OutageClock) -> Recording:
        left_s = self._left.left_s()
        begun_s = time.monotonic()

        def on_progress(due: int, ended: int, failed: int) -> None:
            still_s = max(left_s - (time.monotonic() - begun_s), 0.0)
            text = run_text(place, len(self._left.plan), run.name, counts=(due, ended, failed), left_s=still_s)
            self._progress.update(text)

        try:
            return self._engine.run(job, on_progress, self._stop, clock.begin)
        finally:
            clock.end()

    def _job(self, run: Run, asking: Asking, warmup_s: float) -> Job:
        settings = self._scenario.run
        due_ns = schedule(self._scenario, run, warmup_s, self._trace)
        return Job(
            asking=asking,
            due_ns=due_ns,
            question_index=question_order(len(asking.questions), due_ns.size, run.seed),
            timeout_s=settings.timeout_s,
            deadline_ms=settings.deadline_ms,
            cpus=self._cpus,
        )

    def _write(self, recording: Recording, result: RunResult, warmup_s: float, outage: str) -> None:
        run = result.run
        attempt = self._left.attempts(run)
        name = run.name if attempt == 0 else f"{run.name}_try{attempt + 1}"
        file = f"{RECORDS}/{name}.parquet"
        metadata = {
            "study": self._scenario.title,
            **run_metadata(run),
            "warmup_s": f"{warmup_s:g}",
            "void": result.void,
            "outage_told": outage,
        }
        self._stored(lambda: records.write(self._directory / file, recording, metadata))
        self._stored(lambda: self._journal.run(RunLine(result, file, attempt, warmup_s)))
        self._stored(lambda: self._journal.note("engine", engine_text(recording)))

    def _outage_steps(self, cell: Cell) -> tuple[outage_steps.Step, ...]:
        for outage in self._scenario.sweep.outages:
            if outage.name == cell.outage:
                return outage_steps.read_steps(outage.steps)
        return ()

    def _mlperf(self) -> None:
        """What the scenario asks of MLPerf's load generator."""
        found = mlperf_runs.measured(
            self._scenario,
            self._directory,
            self._world,
            done={(one.scenario, one.model, one.target) for one in self._journal.contents.mlperf},
            asking_of=self._asking,
            stop=self._stop,
            step=self._progress.step,
        )
        for what, verdict in found:
            if isinstance(verdict, str):
                self._journal_missing(what, verdict)
                self._progress.say(f"{what}: {verdict}")
            else:
                self._stored(lambda one=verdict: self._journal.mlperf(one))  # type: ignore[misc]
                self._progress.say(f"{what}: {mlperf.in_a_line(verdict)}")

    # ---- how it ends

    def _give_up(self, cells: Sequence[Cell], reason: str) -> None:
        """Note that these cells are not measured, and go on with the others."""
        fresh = [cell for cell in cells if not self._left.is_missing(cell)]
        for cell in fresh:
            self._journal_missing(cell.name, reason)
        if fresh:
            which = fresh[0].name if len(fresh) == 1 else f"{fresh[0].name} and {len(fresh) - 1} more"
            self._progress.say(f"cannot measure {which}: {reason}")

    def _journal_missing(self, name: str, reason: str) -> None:
        self._stored(lambda: self._journal.missing(name, reason))

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise CancelledError("the study was stopped")

    @staticmethod
    def _stored(write: Callable[[], None]) -> None:
        try:
            write()
        except EdgewiseError as error:
            raise StorageError(error.message) from error
        except OSError as error:
            raise StorageError(f"the journal cannot be written: {error.strerror or error}") from error
