"""Compares networks from a scenario to a report; can be stopped, killed, and gone on with."""

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from edgewise.core.errors import CancelledError, EdgewiseError, FailedPreconditionError
from edgewise.protocols.dataset_manifest import read_dataset
from edgewise.study import environment, journal, planning, runner, summary
from edgewise.study.progress import Progress, duration_text
from edgewise.study.report.wording import plural
from edgewise.study.results import NetworkProfile, StudyResult
from edgewise.study.runner import StopRequest
from edgewise.study.scenario import Scenario
from edgewise.study.study_directory import JOURNAL, Taking
from edgewise.train.networks_study import directory as places
from edgewise.train.networks_study.directory import Directory
from edgewise.train.networks_study.findings import NetworksResult, training_of, version_of
from edgewise.train.networks_study.scenario import TIERS, NetworksScenario, check_dataset, load, model_name
from edgewise.train.networks_study.steps import Command, DrawDataset, Step, Steps, busy, shown_error

DEPLOYMENT: Final = "deployment"
_PACKAGES: Final = ("tensorflow", "keras", "tf2onnx", "onnx")
_MODEL_S: Final = 8.0
_USUAL_PX: Final = 224
_FEW_PICTURES: Final = 1000
_FEW_EPOCHS: Final = 10
"""To serve a version of TensorFlow's beside what `planning` reckons with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a comparison went; attributes as those of `study.runner.Outcome`."""

    result: NetworksResult | None
    report: Path | None
    stopped_by: int = 0
    problem: str = ""


def expected_s(scenario: NetworksScenario, profiles: Mapping[str, NetworkProfile]) -> float:
    """How long it takes on two cores that do nothing else."""
    empty = Directory(Path(), places.State(scenario.title, ""))
    steps = Steps(scenario, empty, _draws_nothing, StopRequest().event).all()
    return sum(one.expected_s for one in steps) + _asking_s(scenario, profiles)


def run(
    scenario: NetworksScenario,
    root: Path,
    *,
    profiles: Mapping[str, NetworkProfile],
    draw: DrawDataset,
    how: Taking | None = None,
    stream: TextIO = sys.stderr,
    command: Command | None = None,
) -> Outcome:
    """Train, export and ask what a scenario names, and write the report.

    Args:
        root: of the comparison, made when it is not there.
        profiles: of the link emulator, by name.
        draw: makes a dataset of drawn pictures, where the scenario names none.
        stream: for progress.
        command: trains and exports; `steps.run_command` by default.
    Raises: EdgewiseError: it could not begin; the directory is as it was.
    """
    check_dataset(scenario)
    progress = Progress(stream)
    stop = StopRequest()
    said = environment.described()
    said["packages"] += "".join(f", {name} {environment.package_version(name)}" for name in _PACKAGES)
    with places.taken(root, scenario, how or Taking(), said) as made:
        steps = Steps(scenario, made, draw, stop.event, command).all()
        running = _Running(scenario, made, steps, profiles=profiles, progress=progress, stop=stop)
        problem = ""
        try:
            with stop.heard(progress.say):
                running.steps()
            # Asking listens for signals itself, and resumes by its own journal.
            if not stop.signal:
                stop.signal, problem = running.ask(stream)
        except CancelledError:
            pass
        except FailedPreconditionError as error:
            problem = error.message
        problem = "it was stopped" if stop.signal else problem
        progress.step("writing the report")
        outcome = _concluded(scenario, made, stop.signal, problem)
        progress.close()
    return outcome


def rebuilt(root: Path, profiles: Mapping[str, NetworkProfile]) -> Outcome:
    """Write summary and report once more, from what is in the directory.

    Raises: EdgewiseError: it holds none, or cannot be written.
    """
    made = places.opened(root)
    scenario = load(root / places.SCENARIO, profiles, directory=Path(made.state.place))
    return Outcome(result := collected(scenario, made), _written(root, result))


def collected(scenario: NetworksScenario, made: Directory) -> NetworksResult:
    """What is there so far."""
    trainings = [training_of(made.training(name)) for name in scenario.names]
    versions = [
        version_of(made.weighed(name, form), made.versions(name) / "lineage.json") for name, form in scenario.versions
    ]
    asked: StudyResult | None = None
    with contextlib.suppress(EdgewiseError):
        asked = summary.read(made.deployment)
    synthetic, pictures = _about_pictures(scenario, made)
    missing = dict(made.state.missing)
    if asked is not None:
        missing |= asked.missing
    return NetworksResult(
        title=scenario.title,
        networks=scenario.names,
        formats=scenario.formats,
        trainings=tuple(one for one in trainings if one is not None),
        versions=tuple(one for one in versions if one is not None),
        asked=asked,
        synthetic=synthetic,
        reduced=_reduced(scenario, pictures),
        environment=_environment(made, asked),
        missing=missing,
    )


class _Running:
    """One session of a comparison."""

    def __init__(
        self,
        scenario: NetworksScenario,
        made: Directory,
        steps: Sequence[Step],
        *,
        profiles: Mapping[str, NetworkProfile],
        progress: Progress,
        stop: StopRequest,
    ) -> None:
        self._scenario = scenario
        self._made = made
        self._profiles = profiles
        self._progress = progress
        self._stop = stop
        self._all = steps
        self._slower = 1.0

    def steps(self) -> None:
        """Do what is not done; what cannot be done is noted, with what needs it.

        Raises:
            CancelledError: it was stopped.
            FailedPreconditionError: the state cannot be written.
        """
        left = [one for one in self._all if not one.done()]
        asking_s = _asking_s(self._scenario, self._profiles)
        there = len(self._all) - len(left)
        self._progress.say(
            f"{self._scenario.title}: {len(left)} steps and the asking, about {duration_text(sum(one.expected_s for one in left) + asking_s)}"
            + (f"; {there} steps are there" if there else "")
        )
        for place, step in enumerate(left):
            if self._stop.event.is_set():
                raise CancelledError("the study was stopped")
            rest_s = sum(one.expected_s for one in left[place + 1 :]) + asking_s
            self._step(step, rest_s)

    def _step(self, step: Step, rest_s: float) -> None:
        missing = self._made.state.missing
        lacking = next((one for one in step.needs if one in missing), None)
        if lacking is not None:
            missing[step.name] = f"it needs {lacking}, which could not be done"
            return
        self._made.state.busy[step.name] = round(busy(), 2)
        self._progress.step(f"{self._left(step.expected_s + rest_s)} left: {step.text}")
        begun_s = time.monotonic()

        def tell(text: str) -> None:
            still_s = max(step.expected_s - (time.monotonic() - begun_s) / self._slower, 0.0) + rest_s
            self._progress.update(f"{self._left(still_s)} left: {step.text}" + (f": {text}" if text else ""))

        try:
            step.run(tell)
        except CancelledError:
            raise
        except EdgewiseError as error:
            missing[step.name] = shown_error(error)
            self._progress.say(f"{step.text}: {shown_error(error)}")
        except OSError as error:
            raise FailedPreconditionError(
                f"{error.filename or self._made.root} cannot be written: {error.strerror or error}; what is done is kept"
            ) from error
        else:
            # What this machine takes longer than the one that the expectation is of.
            self._slower = 0.5 * self._slower + 0.5 * (time.monotonic() - begun_s) / step.expected_s
        self._made.keep()

    def _left(self, seconds: float) -> str:
        return duration_text(seconds * max(self._slower, 0.2))

    def ask(self, stream: TextIO) -> tuple[int, str]:
        """Ask the versions, as any study does.

        Returns: the signal that stopped it, and what kept it from its end.
        """
        models = self._models()
        if not models:
            return 0, f"nothing could be asked: {next(iter(self._made.state.missing.values()), 'no version was made')}"
        self._made.state.busy[DEPLOYMENT] = round(busy(), 2)
        self._made.keep()
        scenario = self._scenario.deployment(self._profiles, models, self._made.pictures)
        there = (self._made.deployment / JOURNAL).is_file()
        try:
            done = runner.run(
                scenario,
                self._made.deployment,
                profiles=self._profiles,
                resume=there and self._resumes(scenario),
                force=there and not self._resumes(scenario),
                stream=stream,
            )
        except EdgewiseError as error:
            return 0, error.message
        return done.stopped_by, done.problem

    def _resumes(self, scenario: Scenario) -> bool:
        """Whether what was asked before is the same: a network that could be trained at last makes it another."""
        return journal.read(self._made.deployment / JOURNAL).heading.cells == planning.cells(scenario)

    def _models(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name, form in self._scenario.versions:
            repository = self._made.versions(name) / TIERS[form]
            if self._made.weighed(name, form).is_file():
                found[model_name(name, form)] = {
                    "kind": "repository",
                    "directory": str(repository.resolve()),
                    "served_as": name,
                    "batching": {"max_batch_size": 1},
                }
        return found


def _asking_s(scenario: NetworksScenario, profiles: Mapping[str, NetworkProfile]) -> float:
    stand_ins = {model_name(*one): {"kind": "pets"} for one in scenario.versions}
    slow = sum(form == "tensorflow" for _, form in scenario.versions) * _MODEL_S
    return planning.expected_s(scenario.deployment(profiles, stand_ins, None)) + slow


def _concluded(scenario: NetworksScenario, made: Directory, stopped_by: int, problem: str) -> Outcome:
    try:
        result = collected(scenario, made)
        report = _written(made.root, result)
        made.state.finished = not problem and not stopped_by
        made.keep()
    except EdgewiseError as error:
        return Outcome(None, None, stopped_by, "; ".join(filter(None, (problem, error.message))))
    return Outcome(result, report, stopped_by, problem)


def _written(root: Path, result: NetworksResult) -> Path:
    # Plots take long to import.
    from edgewise.train.networks_study import report  # noqa: PLC0415

    try:
        return report.write(root, result)
    except OSError as error:
        raise FailedPreconditionError(f"{root} cannot be written: {error.strerror or error}") from error


def _about_pictures(scenario: NetworksScenario, made: Directory) -> tuple[bool, int]:
    """Whether they are drawn, and how many there are in all."""
    try:
        dataset = read_dataset(scenario.dataset or made.dataset)
    except EdgewiseError:
        return scenario.dataset is None, 0
    return dataset.synthetic, len(dataset.images)


def _reduced(scenario: NetworksScenario, pictures: int) -> tuple[str, ...]:
    found = []
    if 0 < scenario.size_px < _USUAL_PX:
        found.append(f"pictures of {scenario.size_px} px, where networks are made for {_USUAL_PX} to 299")
    if 0 < pictures < _FEW_PICTURES:
        found.append(f"{pictures} pictures in all")
    if scenario.epochs < _FEW_EPOCHS:
        found.append(f"{plural(scenario.epochs, 'epoch')} of each network")
    return tuple(found)


def _environment(made: Directory, asked: StudyResult | None) -> dict[str, str]:
    state = made.state
    found = dict(state.environment)
    trained = [value for name, value in state.busy.items() if name.startswith("training")]
    if trained:
        found["load while training"] = f"{min(trained):g} to {max(trained):g} processes on {environment.cores()} cores"
    if DEPLOYMENT in state.busy:
        found["load before asking"] = f"{state.busy[DEPLOYMENT]:g} processes"
    for name in ("each run", "arrivals", "engine", "generator lag", "runs", "void runs"):
        if asked is not None and name in asked.environment:
            found[name] = asked.environment[name]
    if state.sessions > 1:
        found["sessions"] = f"{state.sessions}: it was stopped and gone on with"
    return found


def _draws_nothing(_drawn: Path, _dataset: Path, _scenario: NetworksScenario) -> None:
    """For reckoning."""
