"""What one call changes: decided in memory, then written in one transaction."""

from collections.abc import Callable

from sqlalchemy import Connection

from edgewise.core.rollout.events import Event, Instruction, RolloutMoved, SiteJoined, SiteMoved, Tell, Want, WaveMoved
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.control.actors import Actor
from edgewise.hub.control.known import Known
from edgewise.hub.control.running import Running, Unwritten
from edgewise.hub.store.journals import Deed, Kind, Move, insert_deeds, insert_moves
from edgewise.hub.store.rollouts import Head, place_sites, update_rollout, update_rollout_sites, update_waves
from edgewise.hub.store.sites import (
    Site,
    SiteOrder,
    delete_orders,
    insert_orders,
    insert_site,
    update_generations,
    update_orders,
    update_sites,
)


class Change:
    """Collects what follows from one call.

    Args:
        now_s: seconds since the epoch.

    Attributes:
        now_s: as above.
        touched: something in memory is not what the store has; should the store refuse, memory is read anew.
    """

    def __init__(self, known: Known, now_s: float) -> None:
        self.now_s = now_s
        self.touched = False
        self._known = known
        self._sites: dict[str, Site] = {}
        self._told: dict[str, Site] = {}
        self._orders: dict[tuple[str, str], bool] = {}
        self._rollouts: dict[str, Running] = {}
        self._unwritten: dict[str, Unwritten] = {}
        self._fresh: set[str] = set()
        self._moves: list[Move] = []
        self._deeds: list[Deed] = []
        self._writes: list[Callable[[Connection], None]] = []
        self._applies: list[Callable[[], None]] = []
        self._regroup = False

    def handle(self, running: Running, *events: Event) -> None:
        """Have a rollout decide, and take down what follows. `Rollout.handle` says what is raised."""
        instructions = running.handle(*events)
        self.touched = True
        self._rollouts[running.head.name] = running
        for instruction in instructions:
            self._take_down(running.head, instruction)

    def begin(self, running: Running, write: Callable[[Connection], None]) -> None:
        """A rollout that was not there; `write` writes it as it is when this is called."""
        self._known.add(running)
        self._fresh.add(running.head.name)
        self.also(write)
        self.touched = True

    def begin_again(self, running: Running) -> None:
        """A rollout to which no site answered, and to which one is to answer now."""
        self._known.add(running)
        self.touched = True

    def begin_site(self, site: Site) -> None:
        """One that was not there."""
        self._known.sites[site.name] = site
        self.also(lambda connection: insert_site(connection, site))
        self.touched = True

    def keep_site(self, site: Site) -> None:
        """It was changed in memory."""
        self.touched = True
        self._sites[site.name] = site

    def tell_again(self, site: Site) -> None:
        """Its desired state is a new one, though it may say the same."""
        self.touched = True
        if site.name not in self._told:
            site.generation += 1
            self._told[site.name] = site

    def forget_orders(self, site: Site) -> None:
        """It is told nothing any more."""
        self._known.orders.pop(site.name, None)
        self._orders = {key: new for key, new in self._orders.items() if key[0] != site.name}
        self.also(lambda connection: delete_orders(connection, site.name))
        self.tell_again(site)

    def audit(self, actor: Actor, action: str, subject: str, **details: str) -> None:
        """For the audit log."""
        self._deeds.append(Deed(self.now_s, actor.name, actor.address, action, subject, details))

    def also(self, write: Callable[[Connection], None]) -> None:
        """Write this besides, before all else."""
        self._writes.append(write)

    def then(self, apply: Callable[[], None]) -> None:
        """Do this in memory, once it was written."""
        self._applies.append(apply)

    def is_needed(self) -> bool:
        """Whether there is anything to write."""
        self._unwritten = {
            name: unwritten
            for name, running in self._rollouts.items()
            if (unwritten := running.unwritten(self.now_s)) is not None
        }
        return bool(self._unwritten or self._sites or self._told or self._moves or self._deeds or self._writes)

    def write(self, connection: Connection) -> None:
        """All of it; `is_needed` was asked before."""
        for write in self._writes:
            write(connection)
        for name, unwritten in self._unwritten.items():
            update_rollout(connection, name, unwritten.standing)
            update_waves(connection, name, unwritten.waves)
            update_rollout_sites(connection, name, unwritten.sites)
            place_sites(connection, name, unwritten.joined)
        update_sites(connection, self._sites.values())
        update_generations(connection, (site for name, site in self._told.items() if name not in self._sites))
        orders = [((site, self._known.told(site)[model]), new) for (site, model), new in self._orders.items()]
        insert_orders(connection, [order for order, new in orders if new])
        update_orders(connection, [order for order, new in orders if not new])
        insert_moves(connection, self._moves)
        insert_deeds(connection, self._deeds)

    def written(self) -> tuple[frozenset[str], frozenset[str]]:
        """It was committed.

        Returns: sites whose desired state changed, rollouts that changed.
        """
        for name, unwritten in self._unwritten.items():
            self._rollouts[name].written(unwritten)
        for apply in self._applies:
            apply()
        if self._regroup:
            self._known.moved()
        return frozenset(self._told), frozenset(self._unwritten) | self._fresh

    def _take_down(self, head: Head, instruction: Instruction) -> None:
        match instruction:
            case Tell(site, want):
                self._tell(head, site, want)
            case SiteMoved(site, before, after, why):
                self._regroup |= after == SiteState.SUPERSEDED
                self._move(head, Kind.SITE, site, (before.value, after.value), why)
            case SiteJoined(site, state, why):
                self._regroup = True
                self._move(head, Kind.SITE, site, ("", state.value), why)
            case RolloutMoved(before, after, why):
                self._regroup = True
                self._move(head, Kind.ROLLOUT, head.name, (before.value, after.value), why)
            case WaveMoved(wave, phase, why):
                self._move(head, Kind.WAVE, head.specification.waves[wave].name, ("", phase.value), why)

    def _move(self, head: Head, kind: Kind, subject: str, states: tuple[str, str], why: str) -> None:
        self._moves.append(Move(head.name, self.now_s, kind, subject, *states, why))

    def _tell(self, head: Head, name: str, want: Want) -> None:
        orders = self._known.orders.setdefault(name, {})
        self._orders.setdefault((name, head.model), head.model not in orders)
        orders[head.model] = SiteOrder(head.model, head.name, head.version, want)
        self.tell_again(self._known.sites[name])
