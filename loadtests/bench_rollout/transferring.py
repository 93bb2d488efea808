"""A large release over a link that is cut every few seconds, and the next one, most of which the site has."""

import time
from dataclasses import dataclass

from bench_rollout.agent_log import StuckError
from bench_rollout.relay import Badness
from bench_rollout.world import World

_LONGEST_S = 180.0


@dataclass(frozen=True, slots=True)
class Transferred:
    """One release on its way to the site.

    Attributes:
        size_bytes: of its files.
        down_bytes, up_bytes: payload of TCP on the link meanwhile, delivered or not: files, metadata, polls, reports, headers.
        took_s: from the start of the rollout until everything was there and checked.
        cuts: of the link meanwhile.
        broken: connections that these cut.
    """

    size_bytes: int
    down_bytes: int
    up_bytes: int
    took_s: float
    cuts: int
    broken: int

    @property
    def ratio(self) -> float:
        """Bytes on the wire, both ways, over the size."""
        return (self.down_bytes + self.up_bytes) / self.size_bytes


def transfer(world: World, badness: Badness, model: str, version: int, size_bytes: int) -> Transferred:
    """Roll a release out over a bad link.

    Raises: StuckError: it did not arrive.
    """
    relay = world.relay
    before = (relay.down_bytes, relay.up_bytes, relay.cuts, relay.broken)
    with relay.bad(badness):
        began_s = time.time()
        rollout = world.roll_out(_specification(model, version))
        staged = world.log.wait_for(rollout, "Staged", "Failed", "RolledBack", timeout_s=_LONGEST_S)
        after = (relay.down_bytes, relay.up_bytes, relay.cuts, relay.broken)
    if staged.state != "Staged":
        raise StuckError(f"{model}/{version} is {staged.state}: {staged.why}")
    world.log.wait_for(rollout, "Active", timeout_s=_LONGEST_S)
    down_bytes, up_bytes, cuts, broken = (now - then for now, then in zip(after, before, strict=True))
    return Transferred(size_bytes, down_bytes, up_bytes, staged.at_s - began_s, cuts, broken)


def _specification(model: str, version: int) -> str:
    return f"""
model = "{model}"
version = {version}
waves = [{{name = "all"}}]
gates = {{errors = "off", latency = "off"}}
canary = {{shares = [], bake = "0s"}}
"""
