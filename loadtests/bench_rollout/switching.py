"""A good version takes over, share by share, while apps ask two hundred times a second."""

import time
from dataclasses import dataclass
from itertools import pairwise

from bench_rollout.agent_log import Move, StuckError
from bench_rollout.load import Answers, Apps, Load, Window
from bench_rollout.networks import ROW
from bench_rollout.world import World

SHARES = ("1%", "10%", "50%")
WARM_UP_S, BEFORE_S, AFTER_S = 2.0, 8.0, 3.0
STAGE_S, BAKE_S = 4.0, 5.0
_LONGEST_S = 150.0
BEFORE, WHOLE = "before", "the whole switch"
NAMES = (
    BEFORE,
    "fetching, checking",
    "loading, golden input",
    *(f"share {share}" for share in SHARES),
    "everything, the old one warm",
    "the default moves, unloading",
    WHOLE,
)
"""Of the windows, in their order."""


class TakenBackError(Exception):
    """A gate has failed, though the version is as good as the one before.

    Attributes:
        failed: requests without an answer or with an error, of `requests`.
    """

    def __init__(self, why: str, failed: int, requests: int) -> None:
        super().__init__(why)
        self.why = why
        self.failed = failed
        self.requests = requests


@dataclass(frozen=True, slots=True)
class Switched:
    """One round.

    Attributes:
        windows: by name.
        itself: p99 of the second half of the time before over that of the first: what the machine does by itself.
        failed: requests without an answer or with an error, from the first to the last of the round.
    """

    windows: dict[str, Window]
    itself: float
    requests: int
    failed: int
    errors: dict[str, int]

    @property
    def ratio(self) -> float:
        """p99 in the whole switch over p99 before."""
        return self.windows[WHOLE].p99_ms / self.windows[BEFORE].p99_ms


def switch(world: World, apps: Apps, model: str, version: int) -> Switched:
    """Roll a version out to the site that runs the one before it.

    Raises:
        TakenBackError: a gate has failed; the site runs what it ran.
        StuckError: it did not come to be active.
    """
    load = Load(apps, world.asking(model, ROW), version)
    with load.going_on():
        time.sleep(WARM_UP_S)
        before_s = time.time()
        time.sleep(BEFORE_S)
        asked_s = time.time()
        rollout = world.roll_out(_specification(model, version))
        end = world.log.wait_for(rollout, "Active", "RolledBack", "Failed", timeout_s=_LONGEST_S)
        gone_s = world.wait_until_loaded(model, {version}) if end.state == "Active" else end.at_s
        time.sleep(AFTER_S)
    state = world.wait_until_ended(rollout, _LONGEST_S)
    answers = Answers(load.recording, version)
    if end.state == "RolledBack":
        raise TakenBackError(end.why, answers.failed, len(answers.ok))
    if state != "Completed":
        raise StuckError(f"the rollout of a good version is {state}; at the site it is {end.state}: {end.why}")
    times_s = (before_s, asked_s, *_marks(world.log.moves(rollout)), gone_s + AFTER_S)
    windows = {name: answers.window(*each) for name, each in zip(NAMES[:-1], pairwise(times_s), strict=True)}
    windows[WHOLE] = answers.window(asked_s, gone_s + AFTER_S)
    middle_s = (before_s + asked_s) / 2
    first, second = answers.window(before_s, middle_s), answers.window(middle_s, asked_s)
    return Switched(windows, second.p99_ms / first.p99_ms, len(answers.ok), answers.failed, answers.errors)


def _marks(moves: list[Move]) -> list[float]:
    """When it began to load, each share began, everything began, and the new version was on its own."""
    at_s = {(move.state, move.stage): move.at_s for move in moves}
    stages = range(1, len(SHARES) + 2)
    return [at_s["Activating", -1], *(at_s["Verifying", stage] for stage in stages), at_s["Active", -1]]


def _specification(model: str, version: int) -> str:
    shares = ", ".join(f'"{share}"' for share in SHARES)
    return f"""
model = "{model}"
version = {version}
waves = [{{name = "all"}}]
canary = {{shares = [{shares}], each_for = "{STAGE_S:g}s", bake = "{BAKE_S:g}s"}}
"""
