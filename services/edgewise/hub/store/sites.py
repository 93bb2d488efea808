"""Sites, and what each is told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, update

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.reports import Inventory
from edgewise.hub.store.schema import ORDERS, SITES
from edgewise.protocols.documents import Document
from edgewise.protocols.site_report import inventory_value, read_inventory


@dataclass(slots=True)
class Site:
    """One site.

    Attributes:
        labels: as they were set, without tier and site.
        public_key: its own, 64 hexadecimal digits.
        token_sha256: of the token that opens its paths; None once it is retired.
        sequence: of its last report.
        generation: of its desired state, from 1.
        following: the generation that it said it follows.
        heard_s: when it asked or reported last.
        clock_ahead_s: its clock less ours, at its last report.
        trusted: versions of the metadata that it has seen, by role.
    """

    name: str
    tier: str
    labels: Mapping[str, str]
    public_key: str
    token_sha256: str | None
    enrolled_s: float
    retired_s: float | None = None
    sequence: int = 0
    generation: int = 1
    following: int = 0
    heard_s: float | None = None
    reported_s: float | None = None
    clock_ahead_s: float | None = None
    trusted: Mapping[str, int] = field(default_factory=dict)
    inventory: Inventory = field(default_factory=Inventory)

    def selectable(self) -> dict[str, str]:
        """The labels that selectors see."""
        return {**self.labels, "tier": self.tier, "site": self.name}


@dataclass(frozen=True, slots=True)
class SiteOrder:
    """What a site is told about one model."""

    model: str
    rollout: str
    version: int
    want: Want


_INSERT: Final = insert(SITES)
_UPDATE: Final = (
    update(SITES)
    .where(SITES.c.name == bindparam("which"))
    .values({column.name: bindparam(column.name) for column in SITES.c if not column.primary_key})
)
_HEARD: Final = update(SITES).where(SITES.c.name == bindparam("which")).values(heard_s=bindparam("at_s"))
_GENERATION: Final = update(SITES).where(SITES.c.name == bindparam("which")).values(generation=bindparam("number"))
_INSERT_ORDER: Final = insert(ORDERS)
_UPDATE_ORDER: Final = (
    update(ORDERS)
    .where(and_(ORDERS.c.site == bindparam("of_site"), ORDERS.c.model == bindparam("of_model")))
    .values(rollout=bindparam("rollout"), version=bindparam("version"), want=bindparam("want"))
)


def load_sites(connection: Connection) -> dict[str, Site]:
    """All of them, also those that were retired, by name."""
    return {row.name: _site(row) for row in connection.execute(select(SITES).order_by(SITES.c.name))}


def insert_site(connection: Connection, site: Site) -> None:
    """A new one."""
    connection.execute(_INSERT, {"name": site.name, **_values(site)})


def update_sites(connection: Connection, sites: Iterable[Site]) -> None:
    """What they are now."""
    rows = [{"which": site.name, **_values(site)} for site in sites]
    if rows:
        connection.execute(_UPDATE, rows)


def update_heard(connection: Connection, sites: Iterable[Site]) -> None:
    """When they were heard of, and nothing else."""
    rows = [{"which": site.name, "at_s": site.heard_s} for site in sites]
    if rows:
        connection.execute(_HEARD, rows)


def update_generations(connection: Connection, sites: Iterable[Site]) -> None:
    """Of their desired states, and nothing else."""
    rows = [{"which": site.name, "number": site.generation} for site in sites]
    if rows:
        connection.execute(_GENERATION, rows)


def load_orders(connection: Connection) -> dict[str, dict[str, SiteOrder]]:
    """By site and model."""
    found: dict[str, dict[str, SiteOrder]] = {}
    for row in connection.execute(select(ORDERS).order_by(ORDERS.c.site, ORDERS.c.model)):
        found.setdefault(row.site, {})[row.model] = SiteOrder(row.model, row.rollout, row.version, Want(row.want))
    return found


def insert_orders(connection: Connection, orders: Iterable[tuple[str, SiteOrder]]) -> None:
    """To sites that were told nothing about these models."""
    rows = [
        {"site": site, "model": one.model, "rollout": one.rollout, "version": one.version, "want": one.want.value}
        for site, one in orders
    ]
    if rows:
        connection.execute(_INSERT_ORDER, rows)


def update_orders(connection: Connection, orders: Iterable[tuple[str, SiteOrder]]) -> None:
    """To sites that were told something else about these models."""
    rows = [
        {
            "of_site": site,
            "of_model": one.model,
            "rollout": one.rollout,
            "version": one.version,
            "want": one.want.value,
        }
        for site, one in orders
    ]
    if rows:
        connection.execute(_UPDATE_ORDER, rows)


def delete_orders(connection: Connection, site: str) -> None:
    """All of one site."""
    connection.execute(delete(ORDERS).where(ORDERS.c.site == site))


def _values(site: Site) -> dict[str, Any]:
    return {
        "tier": site.tier,
        "labels": dict(site.labels),
        "public_key": site.public_key,
        "token_sha256": site.token_sha256,
        "enrolled_s": site.enrolled_s,
        "retired_s": site.retired_s,
        "sequence": site.sequence,
        "generation": site.generation,
        "following": site.following,
        "heard_s": site.heard_s,
        "reported_s": site.reported_s,
        "clock_ahead_s": site.clock_ahead_s,
        "trusted": dict(site.trusted),
        "inventory": inventory_value(site.inventory),
    }


def _site(row: Row[Any]) -> Site:
    inventory = read_inventory(Document(f"site {row.name} in the database", "inventory", row.inventory))
    return Site(**{**row._mapping, "inventory": inventory})  # noqa: SLF001  (public; the underscore avoids names of columns)
