"""A process that is killed at one of its calls that change the disk: the first, then the second, and so on until it gets through.

A child is forked for each point, so this happens in a program without threads: `printed` runs it. Importing once keeps it quick.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

CALLS = (
    "chmod",
    "fchmod",
    "fsync",
    "ftruncate",
    "link",
    "mkdir",
    "open",
    "pwrite",
    "remove",
    "rename",
    "replace",
    "rmdir",
    "symlink",
    "unlink",
)
MOST_POINTS = 1000


def printed(program: Sequence[str], *words: str, timeout_s: float = 110.0) -> str:
    """What a program of Python prints that imports from here; without threads, unlike a process that runs tests.

    Args:
        program: what Python is told: a file, or `-c` and the program.
    """
    done = subprocess.run(
        [sys.executable, *program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


def killed_at(point: int, moment: str, act: Callable[[], object]) -> bool:
    """Whether `act`, in a child of this process, was killed with SIGKILL at its call of that number.

    Args:
        point: counts the calls from 1; 0 lets it live.
        moment: "before" or "after" the call.
        act: what the child does.

    Raises: AssertionError: it failed without being killed; its traceback is on stderr.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _arm(point, moment)
            act()
            code = 0
        except BaseException:  # noqa: BLE001 - nothing of the parent's is to run in the child
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0, f"it failed at {point} without being killed"
    return os.WIFSIGNALED(status)


def print_seen(
    moment: str,
    act: Callable[[], object],
    *,
    look: Callable[[], Any],
    again: Callable[[], object],
    put_back: Callable[[], object],
) -> None:
    """Kill `act` at each point, and print, as JSON, a list of [whether it was killed, what was left, what came after].

    Args:
        look: what is there, as JSON has it.
        again: is done after each look, and is what brings what came after.
        put_back: makes everything as it was at first.
    """
    seen = []
    for point in range(1, MOST_POINTS):
        killed = killed_at(point, moment, act)
        left = look()
        again()
        seen.append([killed, left, look()])
        if not killed:
            break
        put_back()
    print(json.dumps(seen))


def _arm(point: int, moment: str) -> None:
    """Have this process die at its call of that number."""
    left = point

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*words: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            last = left == 0
            if last and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*words, **options)
            finally:
                # Also where there was nothing to remove.
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)

        return called

    for name in CALLS if point else ():
        setattr(os, name, deadly(getattr(os, name)))
