"""Where the parts of a study are asked, and how they are told what network to be."""

import contextlib
from typing import Final

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, NotFoundError
from edgewise.study.cells import GATEWAY
from edgewise.study.parts import fetch
from edgewise.study.results import NetworkProfile
from edgewise.study.scenario import Scenario, SiteSpec

HTTP: Final = "http"
GRPC: Final = "grpc"


def site_of(scenario: Scenario, target: str) -> SiteSpec:
    """The site that a target names.

    Raises: NotFoundError: there is none.
    """
    for site in scenario.sites:
        if site.name == target:
            return site
    known = ", ".join([*(site.name for site in scenario.sites), GATEWAY])
    raise NotFoundError(f"there is no target {target!r}; the scenario has {known}")


def conditions(profile: NetworkProfile) -> dict[str, float | None]:
    """A network of the scenario's own, as keys of the links' control API."""
    return {
        "rtt_ms": profile.rtt_ms,
        "jitter_ms": profile.jitter_ms,
        "loss_ratio": profile.loss_ratio,
        "up_kbit_s": profile.up_kbit_s or None,
        "down_kbit_s": profile.down_kbit_s or None,
    }


def transport_of(protocol: str) -> str:
    """What carries a protocol of `cells.PROTOCOLS`."""
    return GRPC if protocol.endswith("grpc") else HTTP


def parsed_address(word: str) -> tuple[str, int]:
    """Host and port of "http://host:port" or "host:port".

    Raises: InvalidArgumentError: it is none.
    """
    host, colon, port = word.removeprefix("http://").removeprefix("grpc://").rstrip("/").rpartition(":")
    if not colon or not host or "/" in host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise InvalidArgumentError(f"{word!r} is no address; expected http://HOST:PORT or HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def in_flight(address: tuple[str, int]) -> int:
    """Requests that a model server has not answered; 0 when it does not say."""
    with contextlib.suppress(EdgewiseError, ValueError):
        _, body = fetch(address, "GET", "/metrics", timeout_s=2.0)
        for line in body.splitlines():
            if line.startswith(b"edgewise_server_in_flight "):
                return round(float(line.split()[1]))
    return 0


def given_address(site: SiteSpec, transport: str) -> tuple[str, int] | None:
    """Where a site that is there is asked; None when the scenario gives no address for the transport."""
    word = site.url if transport == HTTP else site.grpc
    return parsed_address(word) if word else None
