"""A version that answers with errors takes over, the hub dies, and the site goes back by itself."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench_rollout.agent_log import StuckError
from bench_rollout.load import Answers, Apps, Load
from bench_rollout.networks import ROW
from bench_rollout.world import World
from edgewise.agent.site.port import Counts, Reading
from edgewise.agent.site.tally import Tally
from edgewise.core.rollout.gates import Gates, Verdict

SHARES = (0.01, 0.1, 0.5, 1.0)
"""Of the requests, that the bad version is given at first; one round each."""
_GATES = Gates(latency=None)
_LONGEST_S = 60.0
_BEFORE_S, _AFTER_S = 2.0, 2.0


@dataclass(frozen=True, slots=True)
class Reverted:
    """One round.

    Attributes:
        share: of the requests, that the bad version was given at first.
        failures: answers that were not the old version's: all of them errors.
        failures_at_verdict: of these, those that had been given when the gate failed.
        verdict_s: from the first answer of the bad version to the one with which its gate failed.
        revert_s: from there to the last answer that was not the old version's.
        rolled_back_s: from there to the move to RolledBack: the gateway follows, and the bad version has left the memory.
        alone_s: for how long the hub had been dead when the bad version gave its first answer.
    """

    share: float
    failures: int
    failures_at_verdict: int
    verdict_s: float
    revert_s: float
    rolled_back_s: float
    alone_s: float


def revert(world: World, apps: Apps, model: str, versions: tuple[int, int], share: float) -> Reverted:
    """Roll a bad version out, and have the hub back afterwards.

    Args:
        versions: the one that runs, the bad one.
    Raises: StuckError: it did not go back, or not for what is wrong.
    """
    old, bad = versions
    load = Load(apps, world.asking(model, ROW), bad)
    with load.going_on():
        time.sleep(_BEFORE_S)
        rollout = world.roll_out(_specification(model, bad, share))
        world.log.wait_for(rollout, "Activating", timeout_s=_LONGEST_S)
        died_s = world.kill_hub()
        end = world.log.wait_for(rollout, "RolledBack", "Active", "Failed", timeout_s=_LONGEST_S)
        time.sleep(_AFTER_S)
    world.start_hub()
    if end.state != "RolledBack" or "errors" not in end.why:
        raise StuckError(f"a bad version is {end.state}: {end.why}")
    state = world.wait_until_ended(rollout, _LONGEST_S)
    if state != "RolledBack":
        raise StuckError(f"the rollout of a bad version is {state}")
    stage_s = next(move.at_s for move in world.log.moves(rollout) if move.state == "Verifying" and move.stage == 1)
    answers = Answers(load.recording, bad)
    not_old = ~answers.ok | (answers.version != old)
    first_s, last_s = float(answers.ended_s[not_old].min()), float(answers.ended_s[not_old].max())
    verdict_s, count = _verdict(answers, not_old, stage_s, share)
    return Reverted(
        share,
        int(not_old.sum()),
        count,
        verdict_s - first_s,
        # Where no such answer came after the verdict there was nothing left to go back from.
        max(0.0, last_s - verdict_s),
        end.at_s - verdict_s,
        first_s - died_s,
    )


def _verdict(answers: Answers, not_old: NDArray[np.bool_], stage_s: float, share: float) -> tuple[float, int]:
    """When the gate fails on what had been answered so far since the share began, and by how many errors: the agent's own
    judgement, asked after every answer.
    """
    new = errors = old = 0
    for row in np.argsort(answers.ended_s):
        if answers.ended_s[row] < stage_s:
            continue
        if not not_old[row]:
            old += 1
            continue
        new += 1
        errors += int(not answers.ok[row])
        reading = Reading("", Counts(new_count=new, new_errors=errors, old_count=old))
        findings = Tally().read(reading, share, _GATES).findings(share, _GATES)
        if Verdict.FAIL in _GATES.verdicts(findings).values():
            return float(answers.ended_s[row]), errors
    raise StuckError("the site went back without reason")


def _specification(model: str, version: int, share: float) -> str:
    shares = f"{share:g}" if share < 1.0 else ""
    return f"""
model = "{model}"
version = {version}
waves = [{{name = "all"}}]
gates = {{latency = "off"}}
canary = {{shares = [{shares}], each_for = "30s", bake = "5s"}}
"""
