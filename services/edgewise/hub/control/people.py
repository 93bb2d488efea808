"""Tokens of people and programs that ask the hub."""

import re
from typing import Final

from edgewise.core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from edgewise.hub.control.actors import Actor, Role
from edgewise.hub.control.books import Books
from edgewise.hub.control.credentials import new_token
from edgewise.hub.control.status import TokenStatus
from edgewise.hub.store.credentials import Token, delete_token, insert_token

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


def create_token(books: Books, name: str, role: Role, actor: Actor, expires_s: float | None) -> str:
    """See `ControlPlane.create_token`."""
    now_s = books.clock()
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"found the name {name[:100]!r} for a token, expected at most 100 letters, digits, '.', '_', '@', '-', "
            "with a letter or digit first"
        )
    if expires_s is not None and not expires_s > 0.0:
        raise InvalidArgumentError(f"a token that expires after {expires_s:g} s opens nothing")
    if name in books.known.tokens:
        raise AlreadyExistsError(f"there is a token {name!r} already; revoke it first, or choose another name")
    secret, digest = new_token("ewt")
    token = Token(name, digest, role.value, now_s, actor.name, None if expires_s is None else now_s + expires_s)
    with books.change(now_s) as change:
        change.also(lambda connection: insert_token(connection, token))
        change.audit(actor, "token.create", name, role=role.value)
        change.then(lambda: _publish(books, {**books.known.tokens, name: token}))
    return secret


def revoke_token(books: Books, name: str, actor: Actor) -> None:
    """See `ControlPlane.revoke_token`."""
    if name not in books.known.tokens:
        raise NotFoundError(f"there is no token {name[:100]!r}")
    with books.change(books.clock()) as change:
        change.also(lambda connection: delete_token(connection, name))
        change.audit(actor, "token.revoke", name)
        left = {other: token for other, token in books.known.tokens.items() if other != name}
        change.then(lambda: _publish(books, left))


def tokens(books: Books) -> list[TokenStatus]:
    """See `ControlPlane.tokens`."""
    return [
        TokenStatus(token.name, Role(token.role), token.created_s, token.created_by, token.expires_s)
        for token in books.known.tokens.values()
    ]


def _publish(books: Books, left: dict[str, Token]) -> None:
    books.known.tokens = left
    books.credentials.replace(left.values(), books.known.sites.values())
