"""Sites as people read them."""

from collections.abc import Iterable, Iterator, Mapping

from edgewise.core.rollout.reports import SampleBacklog, Served
from edgewise.hub.console.text_tables import columns, printable
from edgewise.hub.control.status import SiteStatus
from edgewise.hub.pages.words import ago, length, milliseconds, moment, rate, size


def sites_text(sites: Iterable[SiteStatus], now_s: float) -> str:
    """A table of sites."""
    rows = [
        ("SITE", "TIER", "LINK", "HEARD", "ANSWERS", "LABELS"),
        *(
            (site.site, site.tier, _link(site), ago(site.heard_s, now_s), _versions(site), _pairs(site.labels) or "-")
            for site in sites
        ),
    ]
    if len(rows) == 1:
        return "no sites; make one known with: edgewise sites enroll NAME"
    return "\n".join(columns(rows))


def site_text(site: SiteStatus, now_s: float) -> str:
    """All that is known of one site."""
    return "\n".join(f"{name + ':':16}{printable(value)}" for name, value in _facts(site, now_s) if value)


def _facts(site: SiteStatus, now_s: float) -> Iterator[tuple[str, str]]:
    inventory = site.inventory
    yield "site", site.site
    yield "tier", site.tier
    yield "labels", _pairs(site.labels) or "none"
    yield "link", f"{_link(site)}, heard {ago(site.heard_s, now_s)}, reported {ago(site.reported_s, now_s)}"
    yield "enrolled", moment(site.enrolled_s)
    yield "retired", "" if site.retired_s is None else moment(site.retired_s)
    yield "desired state", f"generation {site.generation}{_behind(site)}"
    yield "answers", _versions(site)
    yield "loaded", _loaded(inventory.models)
    for order in site.orders:
        state = site.states.get(order.rollout, "not heard of")
        yield "rollout", f"{order.rollout}: {order.model} {order.version}, told {order.want}, is {state}"
    yield "disk free", "" if inventory.disk_free_bytes is None else size(inventory.disk_free_bytes)
    yield "memory free", "" if inventory.memory_free_bytes is None else size(inventory.memory_free_bytes)
    yield "bandwidth", "" if inventory.bandwidth_bytes_per_s is None else rate(inventory.bandwidth_bytes_per_s)
    yield "quota left", "" if inventory.quota_left_bytes is None else f"{size(inventory.quota_left_bytes)} today"
    yield "samples wait", "" if inventory.samples is None else _waiting(inventory.samples)
    yield "clock", "" if site.clock_ahead_s is None else _clock(site.clock_ahead_s)
    yield "runtimes", _pairs(inventory.runtimes)
    yield "certificate", inventory.certificate_expires and f"until {inventory.certificate_expires}"
    yield "agent", inventory.agent
    for tier, measured in (("cloud", inventory.cloud), ("edge", inventory.edge)):
        for model, served in measured.items():
            yield f"{model} at {tier}", _served(served)


def _waiting(backlog: SampleBacklog) -> str:
    if not backlog.segments:
        return "none"
    held_up = f"; {backlog.held_up} of them held up: the hub does not take them in" if backlog.held_up else ""
    return f"{backlog.segments:,} segments, {size(backlog.size_bytes)}{held_up}"


def _link(site: SiteStatus) -> str:
    if site.retired_s is not None:
        return "retired"
    return "online" if site.online else "offline" if site.heard_s is not None else "never seen"


def _versions(site: SiteStatus) -> str:
    return ", ".join(f"{model} {version}" for model, version in sorted(site.inventory.serving.items())) or "-"


def _loaded(models: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(
        f"{model} {' and '.join(map(str, versions))}" for model, versions in sorted(models.items()) if versions
    )


def _behind(site: SiteStatus) -> str:
    return "" if site.following == site.generation else f", follows {site.following or 'none'} so far"


def _clock(ahead_s: float) -> str:
    if abs(ahead_s) < 1.0:
        return "right"
    return f"{length(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}"


def _served(served: Served) -> str:
    errors = f", {served.errors} of them errors" if served.errors else ""
    return (
        f"{served.requests} requests in the last minute{errors}, "
        f"p50 {milliseconds(served.p50_ms)}, p99 {milliseconds(served.p99_ms)}"
    )


def _pairs(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" if value else name for name, value in sorted(pairs.items()))
