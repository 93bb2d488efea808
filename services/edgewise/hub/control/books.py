"""Keeps memory and store equal: a change is written whole, or memory is read anew."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TypeAlias

from sqlalchemy import Connection

from edgewise.hub.control.change import Change
from edgewise.hub.control.credentials import Credentials
from edgewise.hub.control.documents import Documents
from edgewise.hub.control.known import Known
from edgewise.hub.store.store import Store

OnChange: TypeAlias = Callable[[frozenset[str], frozenset[str]], None]
_log = logging.getLogger(__name__)


class Books:
    """What is known, and how it changes.

    Args:
        on_change: is told after a commit which sites' desired states changed, and which rollouts.
        clock: seconds since the epoch.

    Attributes:
        credentials: in memory, for any thread.
        documents: desired states, signed.
    """

    def __init__(self, store: Store, documents: Documents, *, on_change: OnChange, clock: Callable[[], float]) -> None:
        self.credentials = Credentials(clock)
        self.documents = documents
        self.clock = clock
        self._store = store
        self._on_change = on_change
        self._known: Known | None = None
        self._read()

    @property
    def known(self) -> Known:
        """What is in memory, which is what the store has.

        Raises: UnavailableError: a change failed, and the store cannot be read yet.
        """
        if self._known is not None:
            return self._known
        known = self._read()
        _log.warning("read everything anew after a change that failed")
        # Nobody knows whether the change was committed: whoever waits looks for himself.
        self._on_change(frozenset(site.name for site in known.here()), frozenset(known.running))
        return known

    @contextlib.contextmanager
    def change(self, now_s: float) -> Iterator[Change]:
        """Decide inside; when this ends without an error, all of it is committed, in memory, and told to those who wait.

        Raises:
            UnavailableError: the store failed; nothing is changed in memory that is not in the store.
        """
        change = Change(self.known, now_s)
        try:
            yield change
            if not change.is_needed():
                return
            change.touched = True
            with self._store.transaction() as connection:
                change.write(connection)
        except BaseException:
            if change.touched:
                self._known = None
            raise
        sites, rollouts = change.written()
        self.documents.drop(sites)
        if sites or rollouts:
            self._on_change(sites, rollouts)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """For what is not in memory.

        Raises: UnavailableError: the store cannot be asked.
        """
        with self._store.transaction() as connection:
            yield connection

    def close(self) -> None:
        """Let the store go."""
        self._store.close()

    def _read(self) -> Known:
        with self._store.transaction() as connection:
            known = Known(connection, self.clock())
        self._known = known
        self.credentials.replace(known.tokens.values(), known.sites.values())
        self.documents.forget()
        return known
