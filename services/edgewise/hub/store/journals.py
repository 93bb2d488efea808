"""What moved in rollouts, and what people asked for: rows that are added and never changed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from edgewise.hub.store.schema import AUDIT, HISTORY, NAME_LENGTH
from edgewise.hub.store.texts import storable

_INSERT_MOVES: Final = insert(HISTORY)


class Kind(StrEnum):
    """What moved."""

    ROLLOUT = "rollout"
    WAVE = "wave"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Move:
    """Something moved.

    Attributes:
        subject: the rollout's, wave's or site's name.
        number: 0 before it is written.
    """

    rollout: str
    at_s: float
    kind: Kind
    subject: str
    before: str
    after: str
    why: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Deed:
    """Somebody asked for something.

    Attributes:
        number: 0 before it is written.
    """

    at_s: float
    actor: str
    address: str
    action: str
    subject: str
    details: Mapping[str, str]
    number: int = 0


def insert_moves(connection: Connection, moves: Sequence[Move]) -> None:
    """Add moves, in their order."""
    rows = [
        {
            "rollout": move.rollout,
            "at_s": move.at_s,
            "kind": move.kind.value,
            "subject": move.subject,
            "before": move.before,
            "after": move.after,
            "why": storable(move.why),
        }
        for move in moves
    ]
    if rows:
        connection.execute(_INSERT_MOVES, rows)


def select_moves(connection: Connection, rollout: str, *, after: int, limit: int) -> list[Move]:
    """Of one rollout, those with greater numbers than `after`, in their order."""
    asked = (
        select(HISTORY)
        .where(HISTORY.c.rollout == rollout, HISTORY.c.number > after)
        .order_by(HISTORY.c.number)
        .limit(limit)
    )
    return [
        Move(row.rollout, row.at_s, Kind(row.kind), row.subject, row.before, row.after, row.why, row.number)
        for row in connection.execute(asked)
    ]


def insert_deeds(connection: Connection, deeds: Sequence[Deed]) -> None:
    """Add deeds, in their order."""
    for deed in deeds:
        connection.execute(insert(AUDIT), _deed_values(deed))


def select_deeds(
    connection: Connection, *, before: int | None, limit: int, without: Collection[str] = ()
) -> list[Deed]:
    """Those with smaller numbers than `before`, and none of the actions `without`, the newest first."""
    asked = select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit)
    if before is not None:
        asked = asked.where(AUDIT.c.number < before)
    if without:
        asked = asked.where(AUDIT.c.action.not_in(without))
    return [
        Deed(row.at_s, row.actor, row.address, row.action, row.subject, row.details, row.number)
        for row in connection.execute(asked)
    ]


def _deed_values(deed: Deed) -> dict[str, Any]:
    return {
        "at_s": deed.at_s,
        "actor": storable(deed.actor, longest=NAME_LENGTH),
        "address": storable(deed.address, longest=NAME_LENGTH),
        "action": storable(deed.action, longest=NAME_LENGTH),
        "subject": storable(deed.subject, longest=NAME_LENGTH),
        "details": dict(deed.details),
    }
