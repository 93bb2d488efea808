"""How many connections a link is given back before its requests come, and how large a request they have to be fit for.

TCP sends ten segments on a new connection and then waits for a round trip; what was not used for a while falls back to
that. So the first large request on each connection takes a round trip more, and after a cut all connections are new.
Just before a step of the ramp needs them, as many are warmed as it will use: what this sends is about what the
requests of that step send themselves until the first are answered.
"""

from math import ceil, sqrt
from typing import TYPE_CHECKING, Final

from edgewise.core.routing.calls import Warm

if TYPE_CHECKING:
    from edgewise.core.routing.link import Link
    from edgewise.core.routing.settings import RouterSettings

COLD_BYTES: Final = 12_000
"""What a new connection can send at once (ten segments, RFC 6928), less what goes beside it."""
# What it sends at once; with each round trip twice as much. And what a request has besides its body.
_FLIGHT_BYTES: Final = 14_480
_HEAD_BYTES: Final = 1024
# Few are used unevenly.
_FEWEST: Final = 2
# Warming sends no more than this many times what was in flight.
_MOST_RATIO: Final = 2.0


def payload_bytes(link: "Link", settings: "RouterSettings") -> int:
    """How large a request is that shows what this link carries; 0 where there are none of real size."""
    return min(link.payload_bytes, settings.max_probe_bytes) if link.spec.probe_payload else 0


def step_s(link: "Link", settings: "RouterSettings") -> float:
    """How long a step of the ramp takes at least: until its first requests are likely to have been answered."""
    return max(settings.ramp_step_s, link.usual_s())


def warming_s(link: "Link", settings: "RouterSettings") -> float:
    """How long it takes to warm an open connection; 0 where none needs to be."""
    size_bytes = payload_bytes(link, settings)
    if size_bytes < COLD_BYTES:
        return 0.0
    flights = max(1, ((size_bytes + _HEAD_BYTES - 1) // _FLIGHT_BYTES).bit_length())
    # A probe takes a round trip, or two with a handshake; an answer one and what the model takes.
    probes_s, answers_s = link.probe_latency.q50, link.usual_s()
    return flights * (min(probes_s, answers_s) if probes_s else answers_s)


def open_again(link: "Link") -> Warm:
    """Have as many connections as before, and a few for those that are being warmed when a request comes."""
    used = min(link.peak_in_flight, link.limit)
    return Warm(link, max(_FEWEST, min(ceil(used + sqrt(used)), link.limit)))


def _at_most(link: "Link", share: float) -> int:
    """How many connections a share of the link's requests uses, when they come together by chance."""
    most = min(link.peak_in_flight, link.limit)
    used = share * most
    return max(_FEWEST, ceil(min(used + sqrt(used), most)))


def _at_least(link: "Link", share: float) -> int:
    """How many of them are in use most of the time; the first request of a step goes at once."""
    used = share * min(link.peak_in_flight, link.limit)
    return max(1, int(used - sqrt(used)))


def warm_step(link: "Link", step: int, settings: "RouterSettings") -> Warm | None:
    """Have connections fit for the requests of a step of the ramp, and those of the next one when it begins.

    Args:
        step: its number; -1 before the first.
    Returns: None where any connection is fit.
    """
    size_bytes = payload_bytes(link, settings)
    if size_bytes < COLD_BYTES:
        return None
    shares = settings.ramp_shares
    # Where warming takes longer than a step, it has to begin several ahead.
    ahead = max(1, ceil(warming_s(link, settings) / step_s(link, settings)))
    wanted = _at_most(link, shares[min(step + ahead, len(shares) - 1)])
    at_once = _at_least(link, shares[step]) if step >= 0 else 0
    # Where most requests are small, few connections meet a large one.
    most = max(1, ceil(_MOST_RATIO * link.mean_payload_bytes / size_bytes * wanted))
    # A step uses its last one when the first of its requests is about to be answered.
    lasts_s = ahead * step_s(link, settings) + link.usual_s()
    return Warm(link, min(wanted, most), payload_bytes=size_bytes, at_once=min(at_once, most), lasts_s=lasts_s)
