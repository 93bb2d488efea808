"""What agents ask of the hub, and what they tell it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, PermissionDeniedError
from edgewise.core.rollout.events import Event, Heard, Reported, Want
from edgewise.core.rollout.reports import Progress, SiteReport
from edgewise.core.rollout.site_state import AGENT_STATES, SiteState
from edgewise.core.rollout.views import carried_want
from edgewise.core.versions import MAX_VERSION
from edgewise.hub.control.actors import HUB
from edgewise.hub.control.books import Books
from edgewise.hub.control.change import Change
from edgewise.hub.store.rollouts import SiteProgress
from edgewise.hub.store.sites import Site, SiteOrder, update_heard
from edgewise.protocols.documents import time_s
from edgewise.protocols.site_report import MAX_REPORT_BYTES, PAYLOAD_TYPE, decode_report
from edgewise.trust.envelopes import opened
from edgewise.trust.keys import VerifyingKey

HEARD_EACH_S: Final = 10.0
_MOST_GENERATIONS: Final = 1 << 53
_MOST_TRUSTED: Final = (1 << 31) - 1
_log = logging.getLogger(__name__)


class Following:
    """The agents' side of the control plane."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._keys: dict[str, VerifyingKey] = {}
        self._heard: dict[str, Site] = {}
        # When each asked last; written by any thread.
        self._asked: dict[str, float] = {}
        self._heard_written_s = 0.0

    def desired(self, name: str, now_s: float, *, asking: bool) -> tuple[str, bytes]:
        """See `ControlPlane.desired`."""
        known = self._books.known
        site = known.site(name)
        if asking:
            self._hear(site, now_s)
        return self._books.documents.of(site, known.told(name), known.heads.__getitem__, now_s)

    def carried(self, name: str, until_s: float) -> bytes:
        """See `ControlPlane.carried`."""
        known = self._books.known
        site, orders = known.site(name), dict(known.told(name))
        for running in known.answering(name):
            want = carried_want(running.machine.glance(), name)
            if want != Want.NOTHING:
                head = running.head
                orders[head.model] = SiteOrder(head.model, head.name, head.version, want)
        return self._books.documents.carried(site, orders, known.heads.__getitem__, until_s)

    def kept(self, name: str, now_s: float, *, asking: bool) -> tuple[str, bytes] | None:
        """See `ControlPlane.kept`."""
        found = self._books.documents.kept(name, now_s)
        if found is not None and asking:
            self._asked[name] = now_s
        return found

    def reports(self, said: Sequence[tuple[str, bytes]], now_s: float) -> list[int | EdgewiseError]:
        """See `ControlPlane.reports`."""
        with self._books.change(now_s) as change:
            return [self._report(change, name, envelope) for name, envelope in said]

    def take_asked(self) -> None:
        """Note who asked for what was signed already."""
        while self._asked:
            name, asked_s = self._asked.popitem()
            site = self._books.known.sites.get(name)
            if site is not None and site.retired_s is None:
                self._hear(site, asked_s)

    def _report(self, change: Change, name: str, envelope: bytes) -> int | EdgewiseError:
        """The site's greatest number, or why the report is refused."""
        try:
            site = self._books.known.site(name)
            keys = [self._key_of(site)]
            payload = opened(envelope, PAYLOAD_TYPE, keys, what="the report", max_bytes=MAX_REPORT_BYTES)
            report = decode_report(payload)
            _check(report, site)
        except EdgewiseError as error:
            return error
        if report.sequence > site.sequence:
            self._take(change, site, report)
        else:
            self._asked[name] = change.now_s
        return site.sequence

    def trusted_versions(self) -> Mapping[str, int]:
        """See `ControlPlane.trusted_versions`."""
        greatest: dict[str, int] = {}
        for site in self._books.known.here():
            for role, version in site.trusted.items():
                greatest[role] = max(version, greatest.get(role, 0))
        return greatest

    def write_heard(self, change: Change) -> None:
        """Now and then, since sites ask far more often than anybody wants to know."""
        if self._heard and abs(change.now_s - self._heard_written_s) >= HEARD_EACH_S:
            self._heard_written_s = change.now_s
            sites, self._heard = list(self._heard.values()), {}
            change.also(lambda connection: update_heard(connection, sites))

    def _hear(self, site: Site, now_s: float) -> None:
        site.heard_s = now_s
        self._heard[site.name] = site
        heard = Heard(site.name, now_s)
        answering = self._books.known.answering(site.name)
        back = [one for one in answering if one.machine.glance().sites[site.name].state == SiteState.UNREACHABLE]
        if back:
            with self._books.change(now_s) as change:
                for running in back:
                    change.handle(running, heard)
        for running in answering:
            running.machine.handle(heard)

    def _take(self, change: Change, site: Site, report: SiteReport) -> None:
        now_s = change.now_s
        said = {progress.rollout: progress for progress in report.rollouts}
        for running in list(self._books.known.answering(site.name)):
            progress = said.get(running.head.name)
            if progress is not None:
                running.note_progress(
                    site.name, SiteProgress(progress.stage, progress.bytes_done, progress.bytes_total)
                )
            change.handle(running, _event(site.name, progress, now_s))
        site.sequence, site.following, site.trusted = report.sequence, report.generation, report.trusted
        site.heard_s = site.reported_s = now_s
        site.inventory = report.inventory
        site.clock_ahead_s = _ahead_s(report.inventory.clock, now_s)
        self._heard.pop(site.name, None)
        change.keep_site(site)
        if report.generation > site.generation:
            _log.warning(
                "site %s follows generation %d, and %d is the last one here: the database is an older one",
                site.name,
                report.generation,
                site.generation,
            )
            change.audit(
                HUB, "site.generation", site.name, before=str(site.generation), reported=str(report.generation)
            )
            site.generation = report.generation
            change.tell_again(site)

    def _key_of(self, site: Site) -> VerifyingKey:
        key = self._keys.get(site.name)
        if key is None or key.public_hex != site.public_key:
            key = self._keys[site.name] = VerifyingKey(site.public_key)
        return key


def _check(report: SiteReport, site: Site) -> None:
    """Before anything changes."""
    if report.site != site.name:
        raise PermissionDeniedError(f"the report is of the site {report.site[:100]!r}, and came as one of {site.name}")
    if report.generation >= _MOST_GENERATIONS or report.sequence >= MAX_VERSION:
        raise InvalidArgumentError("the report has numbers that no hub gives: the agent's state is spoiled")
    if any(version > _MOST_TRUSTED for version in report.trusted.values()):
        raise InvalidArgumentError(f"the report has seen metadata of versions over {_MOST_TRUSTED}, which nobody made")
    for progress in report.rollouts:
        if progress.state not in AGENT_STATES:
            raise InvalidArgumentError(
                f"the report says that the site is {progress.state.value} in {progress.rollout[:100]}; "
                f"expected one of {', '.join(sorted(AGENT_STATES))}"
            )


def _event(site: str, progress: Progress | None, now_s: float) -> Event:
    if progress is None:
        return Heard(site, now_s)
    return Reported(site, progress.state, progress.want, now_s, progress.findings, progress.waiting, progress.why)


def _ahead_s(clock: str, now_s: float) -> float | None:
    try:
        return time_s(clock) - now_s
    except InvalidArgumentError:
        return None
