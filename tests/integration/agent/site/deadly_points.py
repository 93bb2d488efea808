"""An agent that dies: it carries a site through a rollout again and again, killed a call later each time, and goes on after that.

Everything that writes is real; who follows the files (model server, gateway) and the hub are played, without a socket, so that a process
can be forked at each point. What they have seen is checked at every question that the agent asks them.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.site_state import SiteState
from support.played_site import Life, Scene

CALLS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "link", "open", "ftruncate", "pwrite", "fchmod")


def deadly(name, left, moment):
    call = getattr(os, name)

    def called(*words, **options):
        left[0] -= 1
        if left[0] == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*words, **options)
        finally:
            # Also where there was nothing to remove.
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return called


def lived(scene, done, point=0, moment=""):
    """Whether an agent that was to be killed at a point was."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            left = [point]
            for name in CALLS if point else ():
                setattr(os, name, deadly(name, left, moment))
            Life(scene).until(done)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0, f"it failed at {point} without being killed"
    return os.WIFSIGNALED(status)


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

    points = 0
    while lived(scene, done, points + 1, moment):
        points += 1
        # Another life, from whatever is left.
        lived(scene, done)
        scene.put_back()
    print(points)


if __name__ == "__main__":
    main(*sys.argv[1:])
