"""`edgewise study` of a scenario with `[networks]`: networks trained, exported and asked."""

import argparse
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.core.errors import FailedPreconditionError

if TYPE_CHECKING:
    from edgewise.study.results import NetworkProfile
    from edgewise.train.networks_study.runner import Outcome
    from edgewise.train.networks_study.scenario import NetworksScenario

_PACKAGES = ("tensorflow", "keras", "tf2onnx", "onnx")
_DRAWN_PX = 160


def compares_networks(path: Path) -> bool:
    """Whether a scenario has `[networks]`."""
    from edgewise.train.networks_study.scenario import compares_networks as found

    return found(path)


def is_one(directory: Path) -> bool:
    """Whether a directory holds such a study."""
    from edgewise.train.networks_study.directory import is_networks_study

    return is_networks_study(directory)


def expected(path: Path, profiles: "Mapping[str, NetworkProfile]") -> tuple[str, float]:
    """Title, and seconds that it takes."""
    from edgewise.train.networks_study import runner, scenario

    found = scenario.load(path, profiles)
    return found.title, runner.expected_s(found, profiles)


def run(arguments: argparse.Namespace, path: Path, directory: Path, profiles: "Mapping[str, NetworkProfile]") -> int:
    """`edgewise study run`."""
    from edgewise.study.study_directory import Taking
    from edgewise.train.networks_study import runner, scenario

    found = scenario.load(path, profiles)
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise FailedPreconditionError(
            f"comparing networks needs {' and '.join(missing)}; install them with: pip install 'edgewise[study,train]'"
        )
    how = Taking(arguments.resume, arguments.force)
    outcome = runner.run(found, directory, profiles=profiles, draw=_draw, how=how)
    _tell(outcome, directory)
    if outcome.stopped_by:
        print(f"stopped; go on with: edgewise study run {arguments.scenario} --out {directory} --resume")
        return 128 + outcome.stopped_by
    return 1 if outcome.problem or (outcome.result is not None and outcome.result.missing) else 0


def report(directory: Path, profiles: "Mapping[str, NetworkProfile]") -> int:
    """`edgewise study report`."""
    from edgewise.train.networks_study.runner import rebuilt

    _tell(rebuilt(directory, profiles), directory)
    return 0


def _tell(outcome: "Outcome", directory: Path) -> None:
    from edgewise.train.networks_study.report import text

    if outcome.result is not None:
        print(text(outcome.result), end="")
    if outcome.problem:
        print(f"not finished: {outcome.problem}")
    print(f"report: {outcome.report}" if outcome.report else f"no report could be written; what was made: {directory}")


def _draw(drawn: Path, dataset: Path, scenario: "NetworksScenario") -> None:
    """Drawn pictures, as `edgewise data synthetic` and `build` make them. Training and datasets do not know each other."""
    from edgewise.dataset.building import build
    from edgewise.dataset.settings import BuildSettings
    from edgewise.dataset.synthetic import make

    def tell(_what: str, _done: int, _of: int) -> None:
        """Seconds, not worth a word."""

    side = scenario.size_px or _DRAWN_PX
    make(drawn, list(scenario.classes), scenario.images, (side, side), scenario.seed, tell=tell)
    # Pictures that resemble each other are meant to: there are few shapes.
    build([drawn], dataset, BuildSettings("drawn", seed=scenario.seed, near_bits=0), tell=tell, created_s=time.time())
