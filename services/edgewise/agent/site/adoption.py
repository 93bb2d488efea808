"""Takes over what a site served before it had an agent."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from edgewise.agent.fetching.disk import disk_errors
from edgewise.agent.site.journal import Entry
from edgewise.agent.site.models_config import Wanted
from edgewise.agent.site.version_files import VersionFiles
from edgewise.core.errors import FailedPreconditionError
from edgewise.core.rollout.site_state import RUNS_NEW, SiteState
from edgewise.core.versions import is_model_name

_log = logging.getLogger(__name__)


def adopt(source: Path, files: VersionFiles, load: Callable[[str, int], None]) -> None:
    """Copy the highest version of each model of a directory, and have it served; models that the agent has already stay as they are.

    Args:
        source: a directory of MODEL/VERSION, such as `edgewise serve --repository` serves.
        load: has a version loaded.
    Raises: EdgewiseError: there is no such directory, or the disk refuses.
    """
    if not source.is_dir():
        raise FailedPreconditionError(f"--adopt {source}: there is no such directory; expected one of MODEL/VERSION")
    for directory in sorted(source.iterdir()):
        model = directory.name
        if not directory.is_dir() or not is_model_name(model) or files.versions(model):
            continue
        numbers = [int(path.name) for path in directory.iterdir() if path.name.isdecimal() and path.is_dir()]
        if not numbers or max(numbers) == 0:
            continue
        version = max(numbers)
        with disk_errors(source):
            files.adopt(model, version, directory / str(version))
        load(model, version)
        _log.info("%s/%d is adopted from %s", model, version, source)


def recovered(files: VersionFiles, entries: Iterable[Entry]) -> dict[str, Wanted]:
    """What a site should serve whose own word for it is lost: what was written down, and else the highest version on its disk.

    Args:
        entries: of the journal.
    """
    found = {}
    for model in files.models():
        if versions := files.versions(model):
            # Alone it answers without being named; a server would not take a name for what it has not loaded yet.
            found[model] = Wanted(frozenset({max(versions)}))
    for entry in entries:
        order = entry.order
        there = {order.version, entry.previous}.intersection(files.versions(order.model))
        runs = order.version if entry.record.state == SiteState.ACTIVE else entry.previous
        if runs in there:
            both = entry.record.state in RUNS_NEW and entry.record.state != SiteState.ACTIVE
            found[order.model] = Wanted(frozenset(there), runs) if both else Wanted(frozenset({runs}))
    return found
