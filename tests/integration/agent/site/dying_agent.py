"""An agent that dies: it carries a site through a rollout again and again, killed a call later each time, and goes on after that.

Everything that writes is real; who follows the files (model server, gateway) and the hub are played, without a socket, so that a process
can be forked at each point. What they have seen is checked at every question that the agent asks them.
"""

import sys
from dataclasses import replace
from pathlib import Path

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.site_state import SiteState
from support.deadly_calls import killed_at
from support.played_site import Life, Scene


def main(directory, what, moment):
    scene = Scene(Path(directory), errors=0.9 if what == "gate" else 0.0)
    if what == "undo":
        scene.is_updated()
    scene.hub.want(replace(scene.order, want=Want.BACK) if what == "undo" else scene.order)
    scene.keep()
    state, version = {
        "update": (SiteState.ACTIVE, 2),
        "gate": (SiteState.ROLLED_BACK, 1),
        "undo": (SiteState.ROLLED_BACK, 1),
    }[what]

    def done(life):
        assert not life.problems, life.problems
        return life.state() == state and life.serves(version)

    def live():
        Life(scene).until(done)

    points = 0
    while killed_at(points + 1, moment, live):
        points += 1
        # Another life, from whatever is left.
        killed_at(0, moment, live)
        scene.put_back()
    print(points)


if __name__ == "__main__":
    main(*sys.argv[1:])
