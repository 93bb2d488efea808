"""What the hub has in memory: all of the store that decides something, and nothing that the store has not."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from edgewise.core.errors import NotFoundError
from edgewise.hub.control.running import Running, answers_to
from edgewise.hub.store.credentials import Token, load_tokens
from edgewise.hub.store.releases import KnownRelease, load_releases
from edgewise.hub.store.rollouts import Head, live_rollouts, load_head, load_rollout
from edgewise.hub.store.sites import Site, SiteOrder, load_orders, load_sites
from edgewise.protocols.documents import time_text

NOTHING: Final[Mapping[str, SiteOrder]] = {}


class Known:
    """What was written down, read once.

    Args:
        now_s: from when on sites are listened to.

    Attributes:
        sites: by name, also those that were retired.
        orders: what each site is told, by model.
        releases: by model and version.
        tokens: of people, by name.
        running: rollouts to which some site still answers, by name, the oldest first.
        heads: of those, and of rollouts whose orders stand.
    """

    def __init__(self, connection: Connection, now_s: float) -> None:
        self.sites = load_sites(connection)
        self.orders = load_orders(connection)
        self.releases: dict[tuple[str, int], KnownRelease] = load_releases(connection)
        self.tokens: dict[str, Token] = {token.name: token for token in load_tokens(connection)}
        self.running: dict[str, Running] = {}
        self.heads: dict[str, Head] = {}
        self._listening: dict[str, list[Running]] | None = None
        for name in live_rollouts(connection):
            kept = load_rollout(connection, name)
            if kept is not None:
                self.add(Running.resumed(kept, now_s))
        for name in {order.rollout for orders in self.orders.values() for order in orders.values()} - self.heads.keys():
            head = load_head(connection, name)
            if head is not None:
                self.heads[name] = head

    def site(self, name: str) -> Site:
        """One that is not retired.

        Raises: NotFoundError: there is none of that name, or no more.
        """
        site = self.sites.get(name)
        if site is None:
            raise NotFoundError(f"there is no site {name[:100]!r}")
        if site.retired_s is not None:
            raise NotFoundError(
                f"the site {name!r} was retired {time_text(site.retired_s)}; enrol it again to have it back"
            )
        return site

    def here(self) -> list[Site]:
        """Those that are not retired."""
        return [site for site in self.sites.values() if site.retired_s is None]

    def told(self, site: str) -> Mapping[str, SiteOrder]:
        """What a site is told, by model."""
        return self.orders.get(site, NOTHING)

    def add(self, running: Running) -> None:
        """One rollout more, in its place by age."""
        self.running[running.head.name] = running
        self.running = dict(sorted(self.running.items(), key=lambda one: (one[1].head.created_s, one[0])))
        self.heads[running.head.name] = running.head
        self._listening = None

    def moved(self) -> None:
        """Some site may answer to another rollout than it did; those that nobody answers to any more are let go."""
        self._listening = None
        for name, running in list(self.running.items()):
            if not running.standing.live:
                del self.running[name]

    def answering(self, site: str) -> list[Running]:
        """The rollouts to which a site answers."""
        if self._listening is None:
            self._listening = {}
            for running in self.running.values():
                view = running.machine.glance()
                for name, known in view.sites.items():
                    if answers_to(view.state, known):
                        self._listening.setdefault(name, []).append(running)
        return self._listening.get(site, [])
