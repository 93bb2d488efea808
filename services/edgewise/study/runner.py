"""Runs a study from its scenario to its report; can be stopped, killed, and gone on with."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from edgewise.core.errors import CancelledError, EdgewiseError, FailedPreconditionError
from edgewise.study import environment, journal, planning, study_directory, summary
from edgewise.study.concluding import conclude
from edgewise.study.engine.process import Engine
from edgewise.study.journal import Heading, Journal
from edgewise.study.measuring import Measuring, StorageError
from edgewise.study.progress import Progress
from edgewise.study.results import NetworkProfile, StudyResult
from edgewise.study.scenario import Scenario
from edgewise.study.study_directory import Taking
from edgewise.study.world import World

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a study went.

    Attributes:
        result: what it found so far; None when that could not be computed.
        report: of its report; None when there is none.
        stopped_by: number of the signal that ended it; 0 when none did.
        problem: what kept it from its end, for people; "" when nothing did.
    """

    result: StudyResult | None
    report: Path | None
    stopped_by: int = 0
    problem: str = ""


class StopRequest:
    """Ctrl-C and SIGTERM as an event; a second one ends the program at once.

    Attributes:
        event: set by the first signal.
        signal: its number; 0 before.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.signal = 0

    @contextmanager
    def heard(self, say: Callable[[str], None]) -> Iterator[None]:
        """Listen within the block; only the main thread can.

        Args:
            say: told that it takes a moment.
        """

        def ask(number: int, _frame: FrameType | None) -> None:
            if self.event.is_set():
                raise KeyboardInterrupt
            self.signal = number
            self.event.set()
            say("stopping; what was measured is kept (once more ends it at once)")

        before = {number: signal.signal(number, ask) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    scenario: Scenario,
    directory: Path,
    *,
    profiles: Mapping[str, NetworkProfile],
    resume: bool = False,
    force: bool = False,
    stream: TextIO = sys.stderr,
    cache: Path | None = None,
) -> Outcome:
    """Measure a scenario and write its report.

    Args:
        directory: of the study, made when it is not there.
        profiles: of the link emulator, by name.
        resume: go on with the study that is there.
        force: take what another study left away.
        stream: for progress.
        cache: for built models; the user's by default.
    Returns: what came out, also when it was stopped or the disk was full.
    Raises:
        EdgewiseError: it could not begin; the directory is as it was.
    """
    progress = Progress(stream)
    stop = StopRequest()
    heading = heading_of(scenario, profiles)
    with study_directory.take(directory, scenario, heading, Taking(resume, force)) as opened:
        with stop.heard(progress.say):
            problem = _measured(measuring(scenario, directory, opened, stop=stop, progress=progress, cache=cache), stop)
            progress.step("analysing")
            outcome = _concluded(directory, opened, stop.signal, problem)
        progress.close()
    return outcome


def rebuilt(directory: Path) -> Outcome:
    """Write summary and report of a study once more, from its journal and records.

    Raises: EdgewiseError: it holds no study, or the report cannot be written.
    """
    contents = journal.read(study_directory.found(directory) / study_directory.JOURNAL)
    result = conclude(directory, contents)
    try:
        try:
            return Outcome(result, _written(directory, result))
        except (OSError, FailedPreconditionError):
            # A study that was killed on a full disk left room for this.
            study_directory.release(directory)
            return Outcome(result, _written(directory, result))
    except OSError as error:
        raise FailedPreconditionError(f"{directory} cannot be written: {error.strerror or error}") from None


def heading_of(scenario: Scenario, profiles: Mapping[str, NetworkProfile]) -> Heading:
    """What a journal begins with."""
    known = {**profiles, **scenario.profiles}
    cells = planning.cells(scenario)
    named = dict.fromkeys(cell.profile for cell in cells if cell.profile)
    settings = scenario.run
    return Heading(
        title=scenario.title,
        seed=scenario.seed,
        scenario_sha256=journal.digest(scenario.text),
        cells=cells,
        duration_s=settings.duration_s,
        repeats=settings.repeats,
        arrival_scv=0.0 if settings.arrivals == "constant" else 1.0,
        route=scenario.gateway.route,
        settings=_settings_text(scenario),
        profiles={name: known[name] for name in named if name in known},
        prices=planning.prices(scenario),
        outages={outage.name: outage.steps for outage in scenario.sweep.outages},
        environment=environment.described(),
    )


def engine_cpus(scenario: Scenario, usable: Sequence[int]) -> tuple[int, ...]:
    """One core for the engine: the last that no site was given; all of them where there is only one."""
    if len(usable) < 2:
        return ()
    taken = {core for site in scenario.sites for core in site.cpus}
    free = [core for core in sorted(usable) if core not in taken] or sorted(usable)
    return (free[-1],)


@contextmanager
def measuring(
    scenario: Scenario,
    directory: Path,
    opened: Journal,
    *,
    stop: StopRequest,
    progress: Progress,
    cache: Path | None,
) -> Iterator[Measuring]:
    """The runs of a study, with what they ask and the engine that asks; both end with the block.

    Raises: EdgewiseError: the scenario's parts cannot be started.
    """
    with (
        World(scenario, directory, stop=stop.event, cache=cache, report=progress.step) as world,
        Engine() as engine,
    ):
        yield Measuring(
            scenario,
            directory,
            opened,
            world=world,
            engine=engine,
            profiles=opened.contents.heading.profiles,
            progress=progress,
            stop=stop.event,
            cpus=engine_cpus(scenario, sorted(os.sched_getaffinity(0))),
        )


def _measured(started: AbstractContextManager[Measuring], stop: StopRequest) -> str:
    """Measure; returns what kept it from its end, "" when nothing did."""
    try:
        with started as runs:
            runs.all()
    except CancelledError:
        if not stop.signal:
            raise
        return "it was stopped"
    except StorageError as error:
        return error.message
    return ""


def _concluded(directory: Path, opened: Journal, stopped_by: int, problem: str) -> Outcome:
    """Write summary and report of what there is, and say in the journal that it is finished when it is."""
    study_directory.release(directory)
    contents = opened.contents
    if problem:
        _noted(opened, problem)
    result: StudyResult | None = None
    try:
        result = conclude(directory, contents)
        if not problem and not result.mlperf and all(cell.name in result.missing for cell in contents.heading.cells):
            problem = f"nothing could be measured: {next(iter(result.missing.values()), 'nothing was planned')}"
        written = _written(directory, result)
        if not problem:
            opened.finished()
    except EdgewiseError as error:
        return Outcome(result, None, stopped_by, "; ".join(filter(None, (problem, error.message))))
    except OSError as error:
        reason = f"{directory} cannot be written: {error.strerror or error}"
        return Outcome(result, None, stopped_by, "; ".join(filter(None, (problem, reason))))
    return Outcome(result, written, stopped_by, problem)


def _written(directory: Path, result: StudyResult) -> Path:
    # Plots take long to import, and who only calibrates needs none.
    from edgewise.study import report  # noqa: PLC0415

    summary.write(directory, result)
    return report.write(directory, result)


def _noted(opened: Journal, problem: str) -> None:
    try:
        opened.note("ended early", problem)
    except OSError:
        # The disk is full: the report still says so.
        opened.contents.notes["ended early"] = problem


def _settings_text(scenario: Scenario) -> dict[str, str]:
    settings = scenario.run
    shape = "" if settings.shape == "constant" else f", shape {settings.shape}"
    deadline = f", deadline {settings.deadline_ms:g} ms" if settings.deadline_ms else ""
    return {
        "seed": str(scenario.seed),
        "arrivals": f"{settings.arrivals}{shape}, open loop; latency counts from the time a request is due",
        "each run": f"{settings.duration_s:g} s behind at least {settings.warmup_s:g} s of warm-up, {settings.repeats} repeats, "
        f"timeout {settings.timeout_s:g} s{deadline}",
        "void": f"when the generator lags over {settings.max_lag_p99_ms:g} ms at p99 or takes over "
        f"{settings.max_engine_share:.0%} of a core; tried again {settings.void_retries} times",
    }
