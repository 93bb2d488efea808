"""How sites join, what they are called, and how they leave."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from edgewise.core.errors import InvalidArgumentError, PermissionDeniedError
from edgewise.core.releases import TIERS
from edgewise.core.rollout.events import Retired
from edgewise.core.rollout.selectors import check_label
from edgewise.hub.control.actors import Actor
from edgewise.hub.control.books import Books
from edgewise.hub.control.credentials import digest_of_token, new_token
from edgewise.hub.control.joining import join, rollouts_to_join
from edgewise.hub.store.credentials import (
    Enrollment,
    find_enrollment,
    insert_enrollment,
    use_enrollment,
)
from edgewise.hub.store.sites import Site
from edgewise.trust.keys import VerifyingKey

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_RESERVED: Final = ("site", "tier")
_MOST_LABELS: Final = 64
_LONGEST_LIFE_S: Final = 366 * 86400.0
_REMEMBERED_S: Final = 30 * 86400.0


def create_enrollment(
    books: Books, site: str, tier: str, labels: Mapping[str, str], *, actor: Actor, expires_s: float
) -> str:
    """See `ControlPlane.create_enrollment`."""
    if not _NAME.fullmatch(site):
        raise InvalidArgumentError(
            f"found the site's name {site[:100]!r}, expected at most 63 letters, digits, '.', '_', '-', "
            "with a letter or digit at both ends"
        )
    _check_tier(tier)
    _check_labels(labels)
    if not 0.0 < expires_s <= _LONGEST_LIFE_S:
        raise InvalidArgumentError(f"found {expires_s:g} s for an enrolment, expected up to {_LONGEST_LIFE_S:g}")
    now_s = books.clock()
    secret, digest = new_token("ewe")
    enrollment = Enrollment(digest, site, tier, dict(labels), now_s, actor.name, now_s + expires_s)
    with books.change(now_s) as change:
        change.also(lambda connection: insert_enrollment(connection, enrollment, forget_before_s=now_s - _REMEMBERED_S))
        change.audit(actor, "site.invite", site, tier=tier)
    return secret


def enroll(
    books: Books, token: str, public_key: str, tier: str, labels: Mapping[str, str], *, address: str
) -> tuple[str, str]:
    """See `ControlPlane.enroll`."""
    now_s = books.clock()
    key = VerifyingKey(public_key)
    _check_labels(labels)
    digest = digest_of_token(token)
    with books.reading() as connection:
        enrollment = find_enrollment(connection, digest)
    if enrollment is None:
        raise PermissionDeniedError("the enrolment is not known; ask an administrator of the hub for a new one")
    if enrollment.used_s is not None:
        raise PermissionDeniedError("the enrolment was used already; each is for one time, ask for a new one")
    if now_s >= enrollment.expires_s:
        raise PermissionDeniedError("the enrolment has expired; ask an administrator of the hub for a new one")
    if tier and tier != enrollment.tier:
        raise InvalidArgumentError(
            f"the site says that its tier is {tier}, and the enrolment is for the tier {enrollment.tier}; "
            f"say --tier {enrollment.tier} where it is enrolled, or ask for an enrolment for the tier {tier}"
        )
    secret, token_sha256 = new_token("ews")
    merged = {**labels, **enrollment.labels}
    _check_labels(merged)
    known = books.known.sites.get(enrollment.site)
    site = Site(enrollment.site, enrollment.tier, merged, key.public_hex, token_sha256, now_s)
    # One that gives its place to another is in its rollouts already.
    rollouts = rollouts_to_join(books, site) if known is None or known.retired_s is not None else []
    with books.change(now_s) as change:
        change.also(lambda connection: use_enrollment(connection, digest, now_s))
        if known is None:
            change.begin_site(site)
        else:
            site = _begun_anew(known, site)
            change.keep_site(site)
            change.tell_again(site)
        join(books, change, site, rollouts)
        change.audit(Actor(site.name, address), "site.enroll", site.name, tier=site.tier, key=key.key_id)
        change.then(lambda: _publish(books))
    return site.name, secret


def label_site(books: Books, name: str, labels: Mapping[str, str], remove: Sequence[str], actor: Actor) -> None:
    """See `ControlPlane.label_site`."""
    site = books.known.site(name)
    left = {key: value for key, value in site.labels.items() if key not in remove}
    after = {**left, **labels}
    _check_labels(after)
    with books.change(books.clock()) as change:
        site.labels = after
        change.keep_site(site)
        change.audit(actor, "site.label", name, set=", ".join(f"{key}={value}" for key, value in labels.items()))
        if remove:
            change.audit(actor, "site.unlabel", name, removed=", ".join(remove))


def retire_site(books: Books, name: str, actor: Actor) -> None:
    """See `ControlPlane.retire_site`."""
    site = books.known.site(name)
    now_s = books.clock()
    with books.change(now_s) as change:
        for running in books.known.answering(name):
            change.handle(running, Retired(name, now_s))
        site.retired_s, site.token_sha256 = now_s, None
        change.keep_site(site)
        change.forget_orders(site)
        change.audit(actor, "site.retire", name)
        change.then(lambda: _publish(books))


def _begun_anew(known: Site, site: Site) -> Site:
    """A site that joins again: another disk, another key. What it was told stands, so it catches up."""
    known.tier, known.labels, known.public_key = site.tier, site.labels, site.public_key
    known.token_sha256, known.enrolled_s, known.retired_s = site.token_sha256, site.enrolled_s, None
    known.sequence, known.following, known.trusted = 0, 0, {}
    return known


def _publish(books: Books) -> None:
    books.credentials.replace(books.known.tokens.values(), books.known.sites.values())


def _check_tier(tier: str) -> None:
    if tier not in TIERS:
        raise InvalidArgumentError(f"found the tier {tier[:100]!r}, expected {' or '.join(TIERS)}")


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > _MOST_LABELS:
        raise InvalidArgumentError(f"found {len(labels)} labels; {_MOST_LABELS} is the most")
    for key, value in labels.items():
        if key in _RESERVED:
            raise InvalidArgumentError(f"the label {key!r} is the hub's own; choose another name")
        check_label(key, value)
