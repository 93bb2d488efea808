"""What the files hold that a site names: the key that it is shown, and whom we believe. Read once for all its endpoints."""

import ssl
from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.gateway.config import SiteConfig
from edgewise.gateway.site_tls import client_context

_MAX_KEY_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """What was read.

    Attributes:
        authorization: the value to send as Authorization, None where the site has no key of its own.
        rest, grpc: for connections to either address; None where it is not there or speaks no TLS.
    """

    authorization: bytes | None
    rest: ssl.SSLContext | None
    grpc: ssl.SSLContext | None


def read_files(config: SiteConfig) -> SiteFiles:
    """Read them.

    Raises: FailedPreconditionError: one cannot be used; says which.
    """
    return SiteFiles(
        _read_key(config),
        client_context(config.tls, ("http/1.1",)) if config.rest is not None and config.rest.tls else None,
        client_context(config.tls, ("h2",)) if config.grpc is not None and config.grpc.tls else None,
    )


def _read_key(config: SiteConfig) -> bytes | None:
    path = config.api_key_file
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FailedPreconditionError(f"the key of site {config.name} in {path} cannot be read: {error}") from error
    key = content.strip()
    if not 0 < len(key) <= _MAX_KEY_BYTES or not key.isascii() or not key.decode().isprintable() or b" " in key:
        raise FailedPreconditionError(f"{path} has to hold the key of site {config.name}, one word, and nothing else")
    return b"Bearer " + key
