"""The line of a container's log that says why it does not work."""

import re
from collections.abc import Sequence
from typing import Final

from edgewise.agent.kubernetes.api_answers import one_line

_COMMAND: Final = re.compile(r"edgewise(?: [a-z0-9-]+)?: (?!ready )(?P<message>.+)")
"""What a command of Edgewise writes last when it gives up."""
_VERSION_LOST: Final = re.compile(
    r"model (?P<model>\S+) version (?P<version>\d+) is (?P<state>\w+) at monotonic [\d.]+: (?P<message>.+)"
)
_LEVEL: Final = re.compile(r"\b(?:WARNING|ERROR|CRITICAL) [\w.]+: (?P<message>.+)")
_EXCEPTION: Final = re.compile(r"(?:[A-Za-z_][\w.]*)?(?:Error|Exception)(?:: .+)?")
_NO_LOG: Final = "unable to retrieve container logs for "
"""What a kubelet answers, as if it were the log, while a container that ended makes way for the next."""
_MAX: Final = 400


def reason_in(log: str) -> str:
    """Why a process does not work, in its own words.

    In this order: the last message of a command, a version that could not be loaded, the last warning, the last exception, the last line.

    Args:
        log: the end of a container's log.
    Returns: one line; empty for an empty log.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(_NO_LOG)]
    lost = model_reason(log)
    for line in reversed(lines):
        if found := _COMMAND.fullmatch(line):
            return one_line(found["message"], _MAX)
    if lost:
        return lost
    for line in reversed(lines):
        if found := _LEVEL.search(line):
            return one_line(found["message"], _MAX)
    for line in reversed(lines):
        if _EXCEPTION.fullmatch(line):
            return one_line(line, _MAX)
    return one_line(lines[-1], _MAX) if lines else ""


def model_reason(log: str) -> str:
    """Which version a model server could not load, and why; empty when its log tells of none.

    A version that was loaded after it failed does not count.
    """
    lost: dict[tuple[str, str], str] = {}
    for line in log.splitlines():
        if found := _VERSION_LOST.search(line):
            key = (found["model"], found["version"])
            lost[key] = f"model {key[0]} version {key[1]} FAILED to load: {one_line(found['message'], _MAX)}"
        elif " is AVAILABLE at monotonic" in line:
            words: Sequence[str] = line.partition("model ")[2].split()
            if len(words) > 2:
                lost.pop((words[0], words[2]), None)
    return "; ".join(lost.values())
