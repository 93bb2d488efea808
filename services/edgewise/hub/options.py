"""What `edgewise hub serve` is told."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.samples.shown import DEFAULT_RETENTION, Retention
from edgewise.hub.state_directory import checked_url


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Options of a hub that serves.

    Attributes:
        state: its directory.
        port: 0 picks a free one.
        database: a URL; "" for SQLite in the directory.
        blobs: a URL or a directory; "" for the one in the directory.
        url: under which sites reach the hub; "" for what `hub init` was told.
        tls_cert, tls_key: PEM files; None for plain HTTP.
        retention: how long samples are kept.
        trusted_proxies: addresses of proxies whose word counts for where a request came from.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 8600
    database: str = ""
    blobs: str = ""
    url: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    retention: Retention = DEFAULT_RETENTION

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidArgumentError("--tls-cert and --tls-key go together: a certificate and its private key")
        checked_url(self.url)

    @property
    def is_exposed(self) -> bool:
        """Whether tokens travel unencrypted over a network."""
        if self.tls_cert is not None or self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True
