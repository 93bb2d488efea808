"""The MLPerf runs of a study: each scenario of the load generator for each target and model, in the world as the cell says."""

import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from edgewise.core.errors import CancelledError, EdgewiseError
from edgewise.study import answers, mlperf
from edgewise.study.cells import GATEWAY, Cell
from edgewise.study.engine.job import Asking
from edgewise.study.measured_port import Measured
from edgewise.study.results import MlperfVerdict
from edgewise.study.scenario import Scenario


def measured(
    scenario: Scenario,
    directory: Path,
    world: Measured,
    *,
    done: Collection[tuple[str, str, str]],
    asking_of: Callable[[Cell], Asking],
    stop: threading.Event,
    step: Callable[[str], None],
) -> Iterator[tuple[str, MlperfVerdict | str]]:
    """Run what is not done yet, one after the other.

    Args:
        directory: of the study, for the load generator's logs.
        done: scenario, model and target of what there is already.
        asking_of: how a cell is asked, of a target that is where it is now.
        step: told what begins.
    Yields: what was run, for people, and its verdict or why there is none.
    Raises: CancelledError: `stop` was set.
    """
    spec = scenario.mlperf
    if spec is None:
        return
    for cell in mlperf.cells(scenario):
        for name in spec.scenarios:
            if (name, cell.model, cell.target) in done:
                continue
            if stop.is_set():
                raise CancelledError("the study was stopped")
            what = f"MLPerf {name}, {cell.model} at {cell.target}"
            step(what)
            try:
                _prepare(world, cell)
                asking = asking_of(cell)
                right = answers.judge(cell.protocol, asking.questions)
                timeout_s = scenario.run.timeout_s
                verdict = mlperf.run(name, cell, asking, spec, directory, timeout_s=timeout_s, right=right, stop=stop)
            except CancelledError:
                raise
            except EdgewiseError as error:
                yield what, error.message
                continue
            yield what, verdict


def _prepare(world: Measured, cell: Cell) -> None:
    if world.serving != (cell.model, cell.batching):
        world.prepare(cell.model)
        world.serve(cell.model, cell.batching)
    world.settle()
    world.set_profile(cell.profile)
    if cell.target == GATEWAY:
        world.fresh_gateway()
