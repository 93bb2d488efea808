"""Which rollouts a site joins that is enrolled after they were made: late sites catch up with the current release."""

from sqlalchemy import Connection

from edgewise.core.rollout.events import Joined
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.waves import late_wave
from edgewise.hub.control.books import Books
from edgewise.hub.control.change import Change
from edgewise.hub.control.running import Running
from edgewise.hub.store.rollouts import joinable_rollouts, load_head, load_rollout
from edgewise.hub.store.sites import Site


def rollouts_to_join(books: Books, site: Site) -> list[tuple[Running, int]]:
    """Of each model the rollout that was started last, has not gone back, and has a wave that takes the site; and each one that is only planned.

    Args:
        site: as it is going to be; it need not be known yet.
    Returns: each with the number of that wave.
    """
    labels = site.selectable()
    found = []
    served: set[str] = set()
    with books.reading() as connection:
        for name, model, state in joinable_rollouts(connection):
            if model in served and state != RolloutState.PLANNED:
                continue
            head = books.known.heads.get(name) or load_head(connection, name)
            wave = None if head is None else late_wave(head.specification.waves, labels)
            running = None if wave is None else _running(books, connection, name)
            if wave is None or running is None:
                continue
            found.append((running, wave))
            if state != RolloutState.PLANNED:
                served.add(model)
    return found


def join(books: Books, change: Change, site: Site, rollouts: list[tuple[Running, int]]) -> None:
    """Have a site join these; it is one of the hub's sites already."""
    for running, wave in rollouts:
        if running.head.name not in books.known.running:
            change.begin_again(running)
        change.handle(running, Joined(site.name, wave, change.now_s))


def _running(books: Books, connection: Connection, name: str) -> Running | None:
    running = books.known.running.get(name)
    if running is not None:
        return running
    kept = load_rollout(connection, name)
    return None if kept is None else Running.resumed(kept, books.clock())
