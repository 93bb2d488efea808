"""Tokens of people, and enrolments of sites. Their secrets are not here: a SHA-256 is."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, or_, select, update

from edgewise.hub.store.schema import ENROLLMENTS, TOKENS


@dataclass(frozen=True, slots=True)
class Token:
    """Of a person or a program that asks the hub.

    Attributes:
        expires_s: None for never.
    """

    name: str
    token_sha256: str
    role: str
    created_s: float
    created_by: str
    expires_s: float | None


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One site may join once.

    Attributes:
        used_s: None while it has not.
    """

    token_sha256: str
    site: str
    tier: str
    labels: Mapping[str, str]
    created_s: float
    created_by: str
    expires_s: float
    used_s: float | None = None


def load_tokens(connection: Connection) -> list[Token]:
    """All, by name."""
    return [
        Token(row.name, row.token_sha256, row.role, row.created_s, row.created_by, row.expires_s)
        for row in connection.execute(select(TOKENS).order_by(TOKENS.c.name))
    ]


def insert_token(connection: Connection, token: Token) -> None:
    """A new one."""
    connection.execute(
        insert(TOKENS),
        {
            "name": token.name,
            "token_sha256": token.token_sha256,
            "role": token.role,
            "created_s": token.created_s,
            "created_by": token.created_by,
            "expires_s": token.expires_s,
        },
    )


def delete_token(connection: Connection, name: str) -> None:
    """It opens nothing any more."""
    connection.execute(delete(TOKENS).where(TOKENS.c.name == name))


def find_enrollment(connection: Connection, token_sha256: str) -> Enrollment | None:
    """By the SHA-256 of its secret."""
    row = connection.execute(select(ENROLLMENTS).where(ENROLLMENTS.c.token_sha256 == token_sha256)).one_or_none()
    if row is None:
        return None
    return Enrollment(
        row.token_sha256,
        row.site,
        row.tier,
        row.labels,
        row.created_s,
        row.created_by,
        row.expires_s,
        row.used_s,
    )


def insert_enrollment(connection: Connection, enrollment: Enrollment, *, forget_before_s: float) -> None:
    """A new one, which takes the place of those of the same site that nobody used.

    Args:
        forget_before_s: those that expired before this are forgotten.
    """
    unused = (ENROLLMENTS.c.site == enrollment.site) & ENROLLMENTS.c.used_s.is_(None)
    connection.execute(delete(ENROLLMENTS).where(or_(unused, ENROLLMENTS.c.expires_s < forget_before_s)))
    connection.execute(
        insert(ENROLLMENTS),
        {
            "token_sha256": enrollment.token_sha256,
            "site": enrollment.site,
            "tier": enrollment.tier,
            "labels": dict(enrollment.labels),
            "created_s": enrollment.created_s,
            "created_by": enrollment.created_by,
            "expires_s": enrollment.expires_s,
            "used_s": enrollment.used_s,
        },
    )


def use_enrollment(connection: Connection, token_sha256: str, now_s: float) -> None:
    """It can be used no more."""
    connection.execute(update(ENROLLMENTS).where(ENROLLMENTS.c.token_sha256 == token_sha256).values(used_s=now_s))
