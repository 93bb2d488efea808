"""Addresses of sites, as people write and read them."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from edgewise.core.errors import InvalidArgumentError
from edgewise.gateway.config import Address

_REST_EXAMPLE: Final = "http://HOST:PORT or https://HOST:PORT"
_GRPC_EXAMPLE: Final = "HOST:PORT, grpc://HOST:PORT or grpcs://HOST:PORT"
_Schemes = Mapping[str, tuple[bool, int | None]]
_REST_SCHEMES: Final[_Schemes] = {"http": (False, 80), "https": (True, 443)}
_GRPC_SCHEMES: Final[_Schemes] = {
    "grpc": (False, None),
    "grpcs": (True, 443),
    "http": (False, 80),
    "https": (True, 443),
}
_HOST: Final = re.compile(r"[A-Za-z0-9._:%-]{1,253}\Z")
_BASE_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*\Z")


def rest_address(text: str) -> Address:
    """The address of a site's HTTP port.

    Args:
        text: "http://HOST[:PORT][/BASE]", or the same with https.
    Raises: InvalidArgumentError: it is something else; the message begins with what was found.
    """
    return _parsed(text, _REST_SCHEMES, _REST_EXAMPLE)


def grpc_address(text: str) -> Address:
    """The address of a site's gRPC port.

    Args:
        text: "HOST:PORT", or with grpc, grpcs, http or https before it.
    Raises: InvalidArgumentError: it is something else; the message begins with what was found.
    """
    address = _parsed(text if "://" in text else f"grpc://{text}", _GRPC_SCHEMES, _GRPC_EXAMPLE)
    if address.base_path:
        raise InvalidArgumentError(f"{text!r} has a path, which gRPC does not take; expected {_GRPC_EXAMPLE}")
    return address


def address_text(address: Address, *, plain: str = "http", secure: str = "https") -> str:
    """The address for people to read."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{secure if address.tls else plain}://{host}:{address.port}{address.base_path}"


def _parsed(text: str, schemes: _Schemes, example: str) -> Address:
    wrong = InvalidArgumentError(f"{text!r} is no address; expected {example}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in schemes or not host or not _HOST.match(host):
        raise wrong
    if parts.username is not None or parts.password is not None:
        raise InvalidArgumentError("an address carries no user or password; put the key into a file: api_key_file")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise InvalidArgumentError(f"{text!r} has a query or fragment; expected {example}")
    tls, default_port = schemes[parts.scheme]
    port = default_port if port is None else port
    if not port:
        raise wrong
    base_path = parts.path.rstrip("/")
    if not _BASE_PATH.match(base_path):
        raise InvalidArgumentError(f"{text!r} has a path that cannot be put before others; expected such as /models")
    return Address(host, port, tls, base_path)
