"""Who a site is, and how it came to be: one word of an enrolment, which a person carries from the hub to the site."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.agent.site.hub_client import HubClient
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from edgewise.core.releases import TIERS
from edgewise.protocols.documents import check_format, document_bytes, read_document
from edgewise.trust.keys import SigningKey

FORMAT: Final = "edgewise-site/1"
_PREFIX: Final = "ew1."
_MAX_BYTES: Final = 65536
_URL: Final = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What the word of an enrolment says.

    Attributes:
        hub: its URL.
        token: for one enrolment.
        root_sha256: of the hub's 1.root.json: what is trusted begins with it.
    """

    hub: str
    site: str
    token: str
    root_sha256: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a site is.

    Attributes:
        hub: the hub's URL.
        token: opens the site's own paths there.
        key: signs its reports.
    """

    hub: str
    site: str
    tier: str
    root_sha256: str
    token: str
    key: SigningKey


def parse_enrollment(word: str, *, hub: str | None = None) -> Enrollment:
    """Read the word of an enrolment.

    Args:
        hub: its URL as it is seen from here; None for the one in the word.
    Raises: InvalidArgumentError: it is none, or not all of it.
    """
    text = word.strip()
    if not text.startswith(_PREFIX):
        raise InvalidArgumentError('found no enrolment; expected the word that begins with "ew1.", as the hub gave it')
    encoded = text.removeprefix(_PREFIX)
    try:
        content = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        top = read_document(content, "the enrolment", max_bytes=_MAX_BYTES)
    except (binascii.Error, ValueError, InvalidArgumentError):
        raise InvalidArgumentError("the enrolment is damaged; copy all of it, from ew1. to its end") from None
    url = top.text("hub") if hub is None else hub
    if not _URL.fullmatch(url):
        raise top.wrong("hub", url, "a URL such as https://hub.example.com")
    return Enrollment(url.rstrip("/"), top.text("site"), top.text("token"), top.sha256("root_sha256"))


def enroll(
    state: StateDirectory, enrollment: Enrollment, hub: HubClient, *, tier: str, labels: Mapping[str, str]
) -> Identity:
    """Become a site: the hub is told the public half of a key that is made here, and gives a token.

    Raises:
        AlreadyExistsError: this directory is a site's already.
        PermissionDeniedError: the enrolment was used or has expired, or the hub is not the one that it is of.
        EdgewiseError: the hub is away, or the disk refuses.
    """
    if state.site.exists():
        raise AlreadyExistsError(f"{state.root} is a site's already; enrol in another directory, or remove this one")
    if tier not in TIERS:
        raise InvalidArgumentError(f"found the tier {tier!r}, expected {' or '.join(TIERS)}")
    # Before the token is used up: the key that the hub is told lasts.
    key = SigningKey.read(state.key) if state.key.exists() else SigningKey.generated()
    if not state.key.exists():
        key.write(state.key)
    site, token = hub.enroll(enrollment.token, key.public_hex, tier, labels)
    state.write(state.token, token.encode(), mode=0o600)
    value = {
        "format": FORMAT,
        "hub": enrollment.hub,
        "site": site,
        "tier": tier,
        "root_sha256": enrollment.root_sha256,
    }
    site_hub = hub.with_token(token)
    try:
        root = site_hub.root()
    finally:
        site_hub.close()
    if hashlib.sha256(root).hexdigest() != enrollment.root_sha256:
        raise PermissionDeniedError(
            "the hub's first root of trust is not the one that the enrolment names: this is another hub, or someone "
            "stands between; nothing of it is believed"
        )
    # Last: with it the directory is a site's.
    state.write(state.site, document_bytes(value))
    return read_identity(state)


def read_identity(state: StateDirectory) -> Identity:
    """Who the site of a directory is.

    Raises: FailedPreconditionError: it was not enrolled, or what says so is damaged.
    """
    content = state.read(state.site, _MAX_BYTES)
    token = state.read(state.token, _MAX_BYTES)
    if content is None or token is None:
        raise FailedPreconditionError(
            f"{state.root} is no site's; enrol it first: edgewise agent enroll ew1.... --state {state.root}"
        )
    try:
        top = read_document(content, state.site.name, max_bytes=_MAX_BYTES)
        check_format(top, FORMAT)
        return Identity(
            hub=top.text("hub"),
            site=top.text("site"),
            tier=top.text("tier"),
            root_sha256=top.sha256("root_sha256"),
            token=token.decode("ascii"),
            key=SigningKey.read(state.key),
        )
    except (InvalidArgumentError, UnicodeDecodeError) as error:
        raise FailedPreconditionError(f"{state.site} is damaged: {error}; enrol the site anew") from None
