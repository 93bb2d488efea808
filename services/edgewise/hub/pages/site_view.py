"""A site as the pages show it: whether it is heard of, what somebody should look at, how cloud and edge compare there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.reports import Served
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.control.status import OrderStatus, SiteStatus
from edgewise.hub.pages.signs import WANT_WORDS, LinkState
from edgewise.hub.pages.words import length, size
from edgewise.protocols.documents import time_s

_CLOCK_OFF_S: Final = 300.0
_CERTIFICATE_LEFT_S: Final = 14 * 86400.0
_DISK_LEFT_BYTES: Final = 200_000_000


@dataclass(frozen=True, slots=True)
class Bar:
    """Latencies of one tier, as parts of a bar that is 100 wide."""

    tier: str
    served: Served
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Compared:
    """Latencies of one model at a site, in the cloud and at the edge."""

    model: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model at a site.

    Attributes:
        serving: the version that answers; 0 for none.
        loaded: others that are loaded as well.
        rollout, wanted: by which rollout the site is told something, and what: the version and what to do with it; "" for nothing.
    """

    model: str
    serving: int
    loaded: tuple[int, ...]
    rollout: str
    wanted: str


def link(site: SiteStatus) -> LinkState:
    """Whether a site is heard of."""
    if site.retired_s is not None:
        return LinkState.RETIRED
    if site.online:
        return LinkState.ONLINE
    return LinkState.NEVER if site.heard_s is None else LinkState.OFFLINE


def concerns(site: SiteStatus, now_s: float) -> tuple[str, ...]:
    """What somebody should look at, in words; nothing at a site that was retired."""
    if site.retired_s is not None:
        return ()
    return tuple(_concerns(site, now_s))


def _concerns(site: SiteStatus, now_s: float) -> Iterable[str]:
    if not site.online and site.heard_s is not None:
        yield f"not heard of for {length(max(now_s - site.heard_s, 0.0))}"
    for rollout, state in sorted(site.states.items()):
        if state == SiteState.FAILED:
            yield f"Failed in rollout {rollout}"
    if site.clock_ahead_s is not None and abs(site.clock_ahead_s) > _CLOCK_OFF_S:
        yield f"its clock is {length(abs(site.clock_ahead_s))} {'ahead' if site.clock_ahead_s > 0.0 else 'behind'}"
    free = site.inventory.disk_free_bytes
    if free is not None and free < _DISK_LEFT_BYTES:
        yield f"its disk has {size(free)} left"
    left_s = _left_s(site.inventory.certificate_expires, now_s)
    if left_s is not None and left_s < _CERTIFICATE_LEFT_S:
        yield "its certificate has expired" if left_s <= 0.0 else f"its certificate expires in {length(left_s)}"


def models(site: SiteStatus) -> tuple[ModelRow, ...]:
    """What runs at a site, and what is to run."""
    orders = {order.model: order for order in site.orders}
    rows = []
    for model in sorted({*site.inventory.models, *site.inventory.serving, *orders}):
        serving = site.inventory.serving.get(model, 0)
        order = orders.get(model)
        others = tuple(version for version in site.inventory.models.get(model, ()) if version != serving)
        rows.append(
            ModelRow(
                model,
                serving,
                others,
                order.rollout if order else "",
                _wanted(order) if order else "",
            )
        )
    return tuple(rows)


def latencies(site: SiteStatus) -> tuple[Compared, ...]:
    """Of each model that was asked lately, in the cloud and at the edge; the bars of a model share their scale."""
    found = []
    for model in sorted({*site.inventory.cloud, *site.inventory.edge}):
        by_tier = {"cloud": site.inventory.cloud.get(model), "edge": site.inventory.edge.get(model)}
        known = [(tier, served) for tier, served in by_tier.items() if served is not None]
        longest = max(max(served.p99_ms, served.p50_ms) for _, served in known) or 1.0
        found.append(
            Compared(
                model,
                tuple(
                    Bar(
                        tier,
                        served,
                        served.p50_ms * 100.0 / longest,
                        max(served.p99_ms, served.p50_ms) * 100.0 / longest,
                    )
                    for tier, served in known
                ),
            )
        )
    return tuple(found)


def _wanted(order: OrderStatus) -> str:
    words = WANT_WORDS[Want(order.want)]
    return f"version {order.version}: {words}" if words else ""


def _left_s(expires: str, now_s: float) -> float | None:
    if not expires:
        return None
    try:
        return time_s(expires) - now_s
    except InvalidArgumentError:
        return None
