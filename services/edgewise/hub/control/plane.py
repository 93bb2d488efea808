"""The control plane: what the hub can be asked.

One thread calls it, except `role_of`, `site_of` and `kept`, which any thread may call. Each call that changes something is one transaction of the
store, all or nothing; who waits for a change is told after the commit. Should a transaction fail, everything is read anew before the next call.

Times are seconds since the epoch. The clock may be set: when it jumps, or when nobody called `tick` for a while, sites are listened to anew,
and the while counts as no silence of theirs.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from edgewise.core.errors import EdgewiseError, InvalidArgumentError
from edgewise.core.releases import Release
from edgewise.core.rollout.selectors import parse_selector
from edgewise.hub.control import enrolling, people
from edgewise.hub.control.actors import Actor, Role
from edgewise.hub.control.books import Books, OnChange
from edgewise.hub.control.documents import Documents
from edgewise.hub.control.following import Following
from edgewise.hub.control.manifests import Manifests
from edgewise.hub.control.planning import Plan
from edgewise.hub.control.shown import Showing, site_status
from edgewise.hub.control.status import (
    AuditEntry,
    HistoryEntry,
    ReleaseStatus,
    RolloutStatus,
    RolloutSummary,
    SiteStatus,
    TokenStatus,
)
from edgewise.hub.control.steering import Steering
from edgewise.hub.samples.books import SampleBooks
from edgewise.hub.store.journals import select_deeds, select_moves
from edgewise.hub.store.rollouts import count_sites, list_rollouts
from edgewise.hub.store.store import Store
from edgewise.trust.keys import SigningKey

DESIRED_LIFE_S: Final = 7 * 86400.0
ENROLLMENT_LIFE_S: Final = 86400.0
DEAF_S: Final = 30.0
MOST_LISTED: Final = 1000


def _tell_nobody(_sites: frozenset[str], _rollouts: frozenset[str]) -> None:
    """Nobody waits."""


class ControlPlane:
    """Sites, tokens, releases and rollouts.

    Args:
        store: an open one, which is closed with this.
        key: signs what sites are told.
        on_change: is told after each commit the sites whose desired states changed, and the rollouts that changed.
        clock: seconds since the epoch.
        desired_life_s: a desired state is believed for so long at most, and half as long at least.

    Attributes:
        samples: what is known of samples; called as this is.
    """

    def __init__(
        self,
        store: Store,
        key: SigningKey,
        *,
        on_change: OnChange = _tell_nobody,
        clock: Callable[[], float] = time.time,
        desired_life_s: float = DESIRED_LIFE_S,
    ) -> None:
        self._books = Books(store, Documents(key, life_s=desired_life_s), on_change=on_change, clock=clock)
        self._following = Following(self._books)
        self._manifests = Manifests(self._books)
        self._steering = Steering(self._books, self._manifests)
        self._showing = Showing(clock)
        self.samples = SampleBooks(self._books)
        self._floors: Mapping[str, int] = {}
        self._ticked_s = clock()

    # Tokens

    def create_token(self, name: str, role: Role, *, actor: Actor, expires_s: float | None = None) -> str:
        """Make a token for a person or a program.

        Args:
            expires_s: after which it opens nothing; None for never.
        Returns: the token, which is nowhere else.
        Raises: AlreadyExistsError: there is one of that name.
        """
        return people.create_token(self._books, name, role, actor, expires_s)

    def tokens(self) -> list[TokenStatus]:
        """Tokens of people, without their secrets."""
        return people.tokens(self._books)

    def revoke_token(self, name: str, actor: Actor) -> None:
        """Have a token open nothing any more.

        Raises: NotFoundError: there is none of that name.
        """
        people.revoke_token(self._books, name, actor)

    def role_of(self, token: str) -> tuple[str, Role]:
        """Whose token it is, and what it opens. Any thread may ask.

        Raises: UnauthenticatedError: it is none, or its time is over.
        """
        return self._books.credentials.role_of(token)

    def site_of(self, token: str) -> str:
        """The site whose token it is. Any thread may ask.

        Raises: UnauthenticatedError: it is none.
        """
        return self._books.credentials.site_of(token)

    # How sites come and go

    def create_enrollment(
        self, site: str, tier: str, labels: Mapping[str, str], *, actor: Actor, expires_s: float = ENROLLMENT_LIFE_S
    ) -> str:
        """Let a site join once. A site of that name that is there already gives its place to the one that joins.

        Returns: a token for `enroll`, which is nowhere else. Those that were made for the site before and not used are void.
        """
        return enrolling.create_enrollment(self._books, site, tier, labels, actor=actor, expires_s=expires_s)

    def enroll(
        self, token: str, public_key: str, tier: str, labels: Mapping[str, str], *, address: str = ""
    ) -> tuple[str, str]:
        """A site joins, and with it the rollouts that mean it, if its name is a new one or was retired.

        Args:
            public_key: its own, 64 hexadecimal digits.
            tier: as the site sees it; "" for whatever the enrolment says.
            labels: as the site sees them; those of the enrolment come before them.
        Returns: its name, and the token that opens its paths.
        Raises:
            PermissionDeniedError: the token is not known, was used, or has expired.
            InvalidArgumentError: the key is none, or the tier is another one; the token can still be used.
        """
        return enrolling.enroll(self._books, token, public_key, tier, labels, address=address)

    def label_site(self, name: str, labels: Mapping[str, str], remove: Sequence[str], actor: Actor) -> None:
        """Set labels and take labels away. Rollouts that there are already keep their sites.

        Raises: NotFoundError: there is no such site.
        """
        enrolling.label_site(self._books, name, labels, remove, actor)

    def retire_site(self, name: str, actor: Actor) -> None:
        """A site is gone for good: its token opens nothing, and no rollout waits for it.

        Raises: NotFoundError: there is no such site.
        """
        enrolling.retire_site(self._books, name, actor)

    def sites(self, selector: str = "") -> list[SiteStatus]:
        """Those that are not retired and that a selector means, by name.

        Raises: InvalidArgumentError: it is no selector.
        """
        meant, now_s, known = parse_selector(selector), self._books.clock(), self._books.known
        found = [site_status(site, known, now_s) for site in known.here() if meant.matches(site.selectable())]
        return sorted(found, key=lambda status: status.site)

    def site(self, name: str) -> SiteStatus:
        """One that is not retired.

        Raises: NotFoundError: there is none of that name.
        """
        known = self._books.known
        return site_status(known.site(name), known, self._books.clock())

    # What agents ask

    def desired(self, site: str, now_s: float, *, asking: bool = True) -> tuple[str, bytes]:
        """What a site is told, signed.

        Args:
            asking: it is the site that asks, which is noted; False when a person does.
        Returns: what changes with the document and with the key that signs it, and its envelope.
        Raises: NotFoundError: there is no such site.
        """
        return self._following.desired(site, now_s, asking=asking)

    def kept(self, site: str, now_s: float, *, asking: bool = True) -> tuple[str, bytes] | None:
        """The same as `desired` where it is signed already, which it nearly always is; None where `desired` has to be asked. Any thread may
        ask, so that sites need not wait while others report. That the site asked is noted by the next `tick`.
        """
        return self._following.kept(site, now_s, asking=asking)

    def carried(self, site: str, until_s: float) -> bytes:
        """What a site is told, signed for a bundle: the envelope.

        Args:
            until_s: when it expires.
        Raises: NotFoundError: there is no such site.
        """
        return self._following.carried(site, until_s)

    def report(self, site: str, envelope: bytes, now_s: float) -> int:
        """A site says where it is. A report that came before, or is older than one that came, changes nothing.

        Returns: the greatest number that any report of the site had. An agent that has lost count goes on from there.
        Raises:
            PermissionDeniedError: it is not signed with the site's key, or tells of another site.
            InvalidArgumentError: it is no report.
            NotFoundError: there is no such site.
        """
        (found,) = self.reports([(site, envelope)], now_s)
        if isinstance(found, EdgewiseError):
            raise found
        return found

    def reports(self, said: Sequence[tuple[str, bytes]], now_s: float) -> list[int | EdgewiseError]:
        """Several reports in one transaction: what costs time is to have each of them on the disk.

        Args:
            said: the site that says it, and the envelope.
        Returns: for each, in order, what `report` would have returned or raised.
        """
        return self._following.reports(said, now_s)

    def trusted_versions(self) -> Mapping[str, int]:
        """The greatest version of the metadata of each role that any site says it has seen."""
        return self._following.trusted_versions()

    # Releases

    def add_release(self, release: Release, manifest_sha256: str, actor: Actor) -> None:
        """Take a release; one that is there already is not taken twice.

        Args:
            manifest_sha256: of its manifest as it was signed.
        Raises: AlreadyExistsError: there is another one of that name and version.
        """
        self._manifests.add(release, manifest_sha256, actor)

    def releases(self) -> list[ReleaseStatus]:
        """All, by model and version."""
        return self._manifests.all()

    def release(self, model: str, version: int) -> ReleaseStatus:
        """One.

        Raises: NotFoundError: there is no such release.
        """
        return self._manifests.status(model, version)

    def manifest(self, model: str, version: int) -> Release:
        """What is in one of them that is there."""
        return self._manifests.of(model, version)

    def set_floors(self, floors: Mapping[str, int]) -> None:
        """What the signed policy says: the least version of each model that a site may run. Plans look at it."""
        self._floors = dict(floors)

    # Rollouts

    def plan(self, text: str, form: str, now_s: float) -> Plan:
        """What a rollout would do if it were started now; nothing is changed.

        Args:
            text, form: the specification, in "toml" or "yaml".
        Raises:
            InvalidArgumentError: the specification is none.
            NotFoundError: there is no such release.
        """
        return self._steering.plan(text, form, self._floors, now_s)

    def create_rollout(
        self, text: str, form: str, *, name: str | None = None, actor: Actor, now_s: float, start: bool = False
    ) -> str:
        """Make a rollout.

        Args:
            text, form: the specification, in "toml" or "yaml".
            name: MODEL-VERSION-xxxx when there is none.
            start: start it, in the same transaction.
        Returns: its name.
        Raises:
            InvalidArgumentError: the specification or the name is none.
            NotFoundError: there is no such release.
            FailedPreconditionError: it means no site.
            AlreadyExistsError: there is a rollout of that name.
        """
        return self._steering.create(text, form, name=name, actor=actor, now_s=now_s, start=start)

    def command(self, name: str, verb: str, why: str, actor: Actor, now_s: float) -> None:
        """Steer a rollout. One that starts takes over what older ones of its model have at its sites.

        Args:
            verb: start, pause, resume, promote, abort or undo.
        Raises:
            FailedPreconditionError: this is not possible in its state; the message says what is.
            NotFoundError: there is no such rollout.
        """
        self._steering.command(name, verb, why, actor, now_s)

    def rollouts(self) -> list[RolloutSummary]:
        """The newest first; 1000 at most."""
        with self._books.reading() as connection:
            found = list_rollouts(connection, limit=MOST_LISTED)
            counts = count_sites(connection, [one.name for one in found])
        return [
            RolloutSummary(
                name=one.name,
                model=one.model,
                version=one.version,
                state=one.standing.state.value,
                why=one.standing.why,
                revision=one.standing.revision,
                created_s=one.created_s,
                created_by=one.created_by,
                changed_s=one.standing.changed_s,
                sites=sum(counts.get(one.name, {}).values()),
                states=counts.get(one.name, {}),
            )
            for one in found
        ]

    def rollout(self, name: str) -> RolloutStatus:
        """One, with all its waves and sites.

        Raises: NotFoundError: there is no such rollout.
        """
        return self._showing.rollout(self._steering.find(name), self._books.known.sites)

    def history(self, name: str, *, after: int = 0, limit: int = MOST_LISTED) -> list[HistoryEntry]:
        """What moved in a rollout, the oldest first.

        Args:
            after: entries with greater numbers.
        Raises: NotFoundError: there is no such rollout.
        """
        self._steering.find(name)
        with self._books.reading() as connection:
            moves = select_moves(connection, name, after=after, limit=_listed(limit))
        return [
            HistoryEntry(move.number, move.at_s, move.kind.value, move.subject, move.before, move.after, move.why)
            for move in moves
        ]

    def audit(self, before: int | None = None, limit: int = 100, *, without: Collection[str] = ()) -> list[AuditEntry]:
        """What was asked for, the newest first.

        Args:
            before: entries with smaller numbers.
            without: actions that are left out.
        """
        with self._books.reading() as connection:
            deeds = select_deeds(connection, before=before, limit=_listed(limit), without=without)
        return [
            AuditEntry(deed.number, deed.at_s, deed.actor, deed.address, deed.action, deed.subject, deed.details)
            for deed in deeds
        ]

    def note(self, actor: Actor, action: str, subject: str, details: Mapping[str, str]) -> None:
        """For the audit log: something that somebody did elsewhere in the hub."""
        with self._books.change(self._books.clock()) as change:
            change.audit(actor, action, subject, **details)

    def tick(self, now_s: float) -> None:
        """Time has passed. Called each second; verdicts are found here, and silence is noticed."""
        if not 0.0 <= now_s - self._ticked_s <= DEAF_S:
            for running in self._books.known.running.values():
                running.listen_anew(now_s)
        self._ticked_s = now_s
        self._following.take_asked()
        with self._books.change(now_s) as change:
            self._steering.tick(change)
            self._following.write_heard(change)

    def close(self) -> None:
        """Let the store go."""
        self._books.close()


def _listed(limit: int) -> int:
    if not 1 <= limit <= MOST_LISTED:
        raise InvalidArgumentError(f"found the limit {limit}, expected 1 to {MOST_LISTED}")
    return limit
