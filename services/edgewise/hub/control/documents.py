"""Desired states as sites get them: signed once for each generation, and again before they expire."""

import hashlib
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.hub.store.rollouts import Head
from edgewise.hub.store.sites import Site, SiteOrder
from edgewise.protocols.desired_state import PAYLOAD_TYPE, encode_desired
from edgewise.protocols.documents import time_text
from edgewise.trust.envelopes import seal
from edgewise.trust.keys import SigningKey

_CRC_VALUES: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class _Signed:
    generation: int
    from_s: float
    until_s: float
    etag: str
    envelope: bytes


class Documents:
    """The desired state of each site, kept as it is sent.

    A document expires between half of `life_s` and all of it after it is asked for. When exactly depends on the site and the hour alone, so
    a hub that was started anew sends the same bytes, and not all documents are signed again at the same moment.

    Args:
        key: that sites believe.
        life_s: after which they do not.
    """

    def __init__(self, key: SigningKey, *, life_s: float) -> None:
        self._key = key
        self._half_s = life_s / 2.0
        self._signed: dict[str, _Signed] = {}

    def of(
        self,
        site: Site,
        orders: Mapping[str, SiteOrder],
        head_of: Callable[[str], Head],
        now_s: float,
    ) -> tuple[str, bytes]:
        """The digest of a site's desired state, and its envelope.

        Args:
            head_of: a rollout, by its name.
        """
        signed = self._signed.get(site.name)
        if signed is None or signed.generation != site.generation or not signed.from_s <= now_s < signed.until_s:
            signed = self._sign(site, orders, head_of, now_s)
            self._signed[site.name] = signed
        return signed.etag, signed.envelope

    def kept(self, site: str, now_s: float) -> tuple[str, bytes] | None:
        """The same, where it is signed already; None where it has to be signed. Any thread may ask."""
        signed = self._signed.get(site)
        if signed is None or not signed.from_s <= now_s < signed.until_s:
            return None
        return signed.etag, signed.envelope

    def carried(
        self, site: Site, orders: Mapping[str, SiteOrder], head_of: Callable[[str], Head], until_s: float
    ) -> bytes:
        """The envelope of a site's desired state for a bundle.

        Args:
            head_of: as for `of`.
            until_s: when it expires, seconds since the epoch.
        """
        return seal(_payload(site, orders, head_of, until_s, carried=True), PAYLOAD_TYPE, self._key)

    def drop(self, sites: Iterable[str]) -> None:
        """These are told something else from now on."""
        for site in sites:
            self._signed.pop(site, None)

    def forget(self) -> None:
        """What was signed may not be what is to be said."""
        self._signed.clear()

    def _sign(
        self, site: Site, orders: Mapping[str, SiteOrder], head_of: Callable[[str], Head], now_s: float
    ) -> _Signed:
        offset_s = zlib.crc32(site.name.encode()) / _CRC_VALUES * self._half_s
        from_s = math.floor((now_s - offset_s) / self._half_s) * self._half_s + offset_s
        payload = _payload(site, orders, head_of, from_s + 2.0 * self._half_s)
        envelope = seal(payload, PAYLOAD_TYPE, self._key)
        # Signed with another key it is another document: who has the old one asks for it, before the old key is believed no more.
        etag = hashlib.sha256(self._key.key_id.encode() + payload).hexdigest()
        return _Signed(site.generation, from_s, from_s + self._half_s, etag, envelope)


def _payload(
    site: Site,
    orders: Mapping[str, SiteOrder],
    head_of: Callable[[str], Head],
    until_s: float,
    *,
    carried: bool = False,
) -> bytes:
    desired = DesiredState(
        site=site.name,
        generation=site.generation,
        expires=time_text(until_s),
        orders=tuple(_order(order, head_of(order.rollout)) for _, order in sorted(orders.items())),
        carried=carried,
    )
    return encode_desired(desired)


def _order(order: SiteOrder, head: Head) -> Order:
    return Order(
        rollout=order.rollout,
        model=order.model,
        version=order.version,
        manifest_sha256=head.manifest_sha256,
        want=order.want,
        gates=head.specification.gates,
        canary=head.specification.canary,
    )
