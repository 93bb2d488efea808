"""`edgewise agent` as processes: enrolling, running until a signal comes, telling how the site is."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgewise.agent.fetching.stops import Stopped, stoppable
from edgewise.agent.site.agent import AgentOptions, edge_agent, trusted_releases
from edgewise.agent.site.desired import DesiredStore
from edgewise.agent.site.hub_client import HubClient
from edgewise.agent.site.identity import enroll, parse_enrollment, read_identity
from edgewise.agent.site.journal import Entry, read_entries
from edgewise.agent.site.models_config import ModelsConfig, read_models
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.net.sd_notify import notifier

NICENESS: Final = 10
"""Of the agent. It shares an edge node's few cores with what answers requests, and fetching, checking and counting can wait."""


def run_enroll(
    word: str, directory: Path, *, tier: str, labels: Mapping[str, str], ca: Path | None, hub: str | None = None
) -> int:
    """Make a directory that of a site.

    Args:
        hub: its URL as it is seen from here; None for the one in the word.
    Returns: 0.
    Raises: EdgewiseError: the enrolment cannot be used, the hub is away, or the disk refuses.
    """
    enrollment = parse_enrollment(word, hub=hub)
    state = StateDirectory(directory)
    client = HubClient(enrollment.hub, ca=ca)
    with state.locked(), contextlib.closing(client):
        identity = enroll(state, enrollment, client, tier=tier, labels=labels)
        # So that a model server which is started before the agent finds its file.
        ModelsConfig(state, {})
    print(f"edgewise: {directory} is the site {identity.site} of {identity.hub}")  # noqa: T201  (the command's result)
    return 0


def run_agent(options: AgentOptions) -> int:
    """Run the agent of an edge node until SIGTERM or SIGINT.

    Returns: 0, when it was asked to end.
    Raises: EdgewiseError: the directory is no site's, another agent runs, or the disk refuses.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It would tell each question of each second.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not options.state.is_dir():
        raise FailedPreconditionError(
            f"there is no directory {options.state}; enrol the site first: edgewise agent enroll"
        )
    state = StateDirectory(options.state)
    # Before there are threads: each inherits it.
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    agent = None
    try:
        with stoppable(), state.locked():
            identity = read_identity(state)
            agent = edge_agent(options, identity, state)
            agent.start()
            notifier().ready(f"site {identity.site} of {identity.hub}")
            print(f"edgewise: ready agent={identity.site} hub={identity.hub}", flush=True)  # noqa: T201
            threading.Event().wait()
    except Stopped as stopped:
        logging.getLogger(__name__).info("%s: ending; what runs at this site goes on", stopped.signal.name)
        notifier().stopping()
        if agent is not None:
            agent.stop()
        sys.stdout.flush()
        sys.stderr.flush()
        # At once: threads that wait for the hub would be waited for.
        os._exit(0)
    return 0


def run_status(directory: Path) -> int:
    """Print how a site is, from its directory alone.

    Returns: 0.
    Raises: EdgewiseError: it is no site's, or cannot be read.
    """
    if not directory.is_dir():
        raise FailedPreconditionError(f"there is no directory {directory}")
    # Nothing is changed: an agent may be at work.
    state = StateDirectory(directory, make=False)
    identity = read_identity(state)
    trust = trusted_releases(state, identity, None)
    store = DesiredStore(state, trust)
    versions = ", ".join(f"{role} {version}" for role, version in sorted(trust.versions().items()))
    lines = [
        f"site      {identity.site} ({identity.tier}) of {identity.hub}",
        f"trust     {versions or 'nothing yet'}",
        f"desired   generation {store.generation}",
    ]
    hold = trust.may_install() or (trust.stale(store.desired) if store.desired is not None else "")
    if hold:
        lines.append(f"held      {hold}")
    for model, wanted in sorted((read_models(state) or {}).items()):
        # What the model server was told, since it is not asked: a version may still be loading, or may not load.
        versions = ", ".join(map(str, sorted(wanted.versions)))
        default = wanted.default or max(wanted.versions)
        lines.append(f"model     {model}: version {default} is to answer; to be loaded: {versions}")
    lines += [_line(entry) for _, entry in read_entries(state)]
    print("\n".join(lines))  # noqa: T201  (the command's result)
    return 0


def _line(entry: Entry | InvalidArgumentError) -> str:
    if isinstance(entry, InvalidArgumentError):
        return f"damaged   {entry.message}"
    order, record = entry.order, entry.record
    why = f" ({record.why})" if record.why else ""
    return f"rollout   {order.rollout}: {order.model}/{order.version} is {record.state.value}, told {order.want.value}{why}"
