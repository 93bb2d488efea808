"""Whose token it is: in memory, for any thread to ask. Of a token only its SHA-256 is known here."""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from edgewise.core.errors import UnauthenticatedError
from edgewise.hub.control.actors import Role
from edgewise.hub.store.credentials import Token
from edgewise.hub.store.sites import Site

_SECRET_BYTES: Final = 32


class Credentials:
    """Tokens of people and of sites.

    Each change puts a new dictionary in the place of the old one, so that whoever looks at the same moment sees the one or the other.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._people: dict[str, Token] = {}
        self._sites: dict[str, str] = {}

    def replace(self, tokens: Iterable[Token], sites: Iterable[Site]) -> None:
        """These, and no others."""
        self._people = {token.token_sha256: token for token in tokens}
        self._sites = {site.token_sha256: site.name for site in sites if site.token_sha256 is not None}

    def role_of(self, token: str) -> tuple[str, Role]:
        """The token's name, and what it opens.

        Raises: UnauthenticatedError: it is none, or its time is over.
        """
        known = self._people.get(digest_of_token(token))
        if known is None:
            raise UnauthenticatedError("the token is not known; ask an administrator of the hub for one")
        if known.expires_s is not None and self._clock() >= known.expires_s:
            raise UnauthenticatedError("the token has expired; ask an administrator of the hub for a new one")
        return known.name, Role(known.role)

    def site_of(self, token: str) -> str:
        """The site whose token it is.

        Raises: UnauthenticatedError: it is none.
        """
        site = self._sites.get(digest_of_token(token))
        if site is None:
            raise UnauthenticatedError(
                "the site's token is not known; it was retired or enrolled again elsewhere, and has to be enrolled anew"
            )
        return site


def new_token(kind: str) -> tuple[str, str]:
    """A secret that nobody guesses.

    Args:
        kind: what it begins with, so that it is known for what it is wherever it is found.
    Returns: the token, and the SHA-256 of it.
    """
    token = f"{kind}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return token, digest_of_token(token)


def digest_of_token(token: str) -> str:
    """What is kept of a token: 64 hexadecimal digits."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
