"""Counts wrong credentials by address, so that nobody tries many."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from edgewise.core.errors import ResourceExhaustedError

AT_ONCE: Final = 10
EACH_S: Final = 6.0
_MOST_ADDRESSES: Final = 10_000


class FailedAttempts:
    """A bucket for each address: ten wrong ones at once, and one more each six seconds.

    Right credentials are not held up by wrong ones from the same address, behind which there may be many sites.

    Args:
        clock: monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_s: OrderedDict[str, float] = OrderedDict()

    def check(self, address: str) -> None:
        """Refuse to look at credentials from where too many wrong ones came.

        Raises: ResourceExhaustedError: too many were wrong.
        """
        wait_s = self._full_s.get(_network(address), 0.0) - self._clock() - (AT_ONCE - 1) * EACH_S
        if wait_s > 0.0:
            raise ResourceExhaustedError("too many wrong credentials came from this address", retry_after_s=wait_s)

    def failed(self, address: str) -> None:
        """Count one."""
        now_s = self._clock()
        network = _network(address)
        # When the bucket would be full again: each wrong one pushes that moment away.
        self._full_s[network] = max(self._full_s.pop(network, now_s), now_s) + EACH_S
        if len(self._full_s) > _MOST_ADDRESSES:
            self._full_s.popitem(last=False)

    def __len__(self) -> int:
        return len(self._full_s)


def _network(address: str) -> str:
    """Who has one IPv6 address has a whole network of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
