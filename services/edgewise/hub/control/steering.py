"""Rollouts: planned, begun, steered by people, moved on by time."""

import re
import secrets
from collections.abc import Mapping
from typing import Final

from edgewise.core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from edgewise.core.releases import Release, unknown_release
from edgewise.core.rollout.events import Commanded, Overtaken, Ticked, Verb
from edgewise.core.rollout.rollout import Rollout
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.specification import Specification
from edgewise.core.rollout.waves import plan_waves
from edgewise.hub.control.actors import Actor
from edgewise.hub.control.books import Books
from edgewise.hub.control.change import Change
from edgewise.hub.control.manifests import Manifests
from edgewise.hub.control.planning import Plan, Site, plan_rollout
from edgewise.hub.control.running import TIMED, Running, answers_to
from edgewise.hub.store.releases import KnownRelease
from edgewise.hub.store.rollouts import Head, Standing, insert_rollout, load_head, load_rollout
from edgewise.protocols.rollout_specification import read_specification

MOST_CHARACTERS: Final = 256 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_RESERVED: Final = "new"
"""The page on which rollouts are made is where that of a rollout of this name would be."""
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"


class Steering:
    """The operators' side of the control plane."""

    def __init__(self, books: Books, manifests: Manifests) -> None:
        self._books = books
        self._manifests = manifests

    def plan(self, text: str, form: str, floors: Mapping[str, int], now_s: float) -> Plan:
        """See `ControlPlane.plan`."""
        specification = _read(text, form)
        self._release(specification)
        known = self._books.known
        waves = self._waves(specification)
        taken = self._taken(specification.model)
        sites = {
            name: Site(
                name=name,
                tier=known.sites[name].tier,
                heard_s=known.sites[name].heard_s,
                clock_ahead_s=known.sites[name].clock_ahead_s,
                inventory=known.sites[name].inventory,
                taken_by=taken.get(name, ""),
            )
            for name in (site.name for site in known.here())
        }
        return plan_rollout(
            specification,
            self._manifests.of(specification.model, specification.version),
            waves,
            sites,
            known=self._loaded(specification.model),
            floor=floors.get(specification.model, 0),
            now_s=now_s,
        )

    def create(self, text: str, form: str, *, name: str | None, actor: Actor, now_s: float, start: bool) -> str:
        """See `ControlPlane.create_rollout`."""
        specification = _read(text, form)
        release = self._release(specification)
        waves = self._waves(specification)
        name = self._free_name(specification, name)
        known = self._books.known
        heard = {site.name: site.heard_s for site in known.here() if site.heard_s is not None}
        machine = Rollout.planned(specification, waves, heard)
        head = Head(name, specification, release.manifest_sha256, text, form, now_s, actor.name)
        standing = Standing(RolloutState.PLANNED, "", 1, now_s, live=True)
        view = machine.view()
        running = Running(head, machine, standing, {})
        with self._books.change(now_s) as change:
            change.begin(running, lambda connection: insert_rollout(connection, head, standing, view))
            change.audit(actor, "rollout.create", name, release=f"{specification.model}/{specification.version}")
            if start:
                self._command(change, running, Verb.START, "", actor)
        return name

    def command(self, name: str, verb: str, why: str, actor: Actor, now_s: float) -> None:
        """See `ControlPlane.command`."""
        try:
            meant = Verb(verb)
        except ValueError:
            raise InvalidArgumentError(f"found the verb {verb[:100]!r}, expected one of {', '.join(Verb)}") from None
        running = self.find(name)
        with self._books.change(now_s) as change:
            self._command(change, running, meant, why[:1000], actor)

    def find(self, name: str) -> Running:
        """A rollout; one to which no site answers any more is read for this alone.

        Raises: NotFoundError: there is none of that name.
        """
        running = self._books.known.running.get(name)
        if running is not None:
            return running
        with self._books.reading() as connection:
            kept = load_rollout(connection, name)
        if kept is None:
            raise NotFoundError(f"there is no rollout {name[:100]!r}")
        return Running.resumed(kept, self._books.clock())

    def tick(self, change: Change) -> None:
        """Let time pass in each rollout from which something can follow."""
        for running in list(self._books.known.running.values()):
            if running.machine.state in TIMED:
                change.handle(running, Ticked(change.now_s))

    def _command(self, change: Change, running: Running, verb: Verb, why: str, actor: Actor) -> None:
        change.handle(running, Commanded(verb, change.now_s, why))
        change.audit(actor, f"rollout.{verb.value}", running.head.name, why=why)
        if verb != Verb.START:
            return
        # It takes over what older rollouts of the model have, in the same transaction: a site has one order for each model.
        sites = frozenset(running.machine.glance().sites)
        for other in list(self._books.known.running.values()):
            if (
                other is running
                or other.head.model != running.head.model
                or other.machine.state == RolloutState.PLANNED
            ):
                continue
            if sites & other.machine.glance().sites.keys():
                change.handle(other, Overtaken(sites, running.head.name, change.now_s))

    def _waves(self, specification: Specification) -> list[list[str]]:
        labels = {site.name: site.selectable() for site in self._books.known.here()}
        # Not by the rollout's name: a plan that is looked at beforehand shows the same sites.
        waves = plan_waves(specification.waves, labels, key=f"{specification.model}/{specification.version}")
        if not any(waves):
            raise FailedPreconditionError(
                "no site is meant by any wave of the specification; `edgewise sites list` shows their labels"
            )
        return waves

    def _release(self, specification: Specification) -> KnownRelease:
        known = self._books.known.releases
        release = known.get((specification.model, specification.version))
        if release is None:
            raise unknown_release(specification.model, specification.version, known)
        return release

    def _loaded(self, model: str) -> dict[int, Release]:
        """The releases of a model that some site has loaded."""
        versions = {version for site in self._books.known.here() for version in site.inventory.models.get(model, ())}
        releases = self._books.known.releases
        return {version: self._manifests.of(model, version) for version in versions if (model, version) in releases}

    def _taken(self, model: str) -> dict[str, str]:
        """Which rollout of the model that is under way each site is in."""
        return {
            site: running.head.name
            for running in self._books.known.running.values()
            if running.head.model == model and running.machine.state in TIMED
            for site, known in running.machine.glance().sites.items()
            if answers_to(running.machine.state, known)
        }

    def _free_name(self, specification: Specification, name: str | None) -> str:
        if name is None:
            drawn = "".join(secrets.choice(_LETTERS) for _ in range(4))
            return self._free_name(specification, f"{specification.model}-{specification.version}-{drawn}")
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"found the name {name[:100]!r} for a rollout, expected at most 200 letters, digits, '.', '_', '-', "
                "with a letter or digit at both ends"
            )
        if name == _RESERVED:
            raise InvalidArgumentError(
                f"the name {name!r} is reserved for the page /rollouts/{name}; choose another name"
            )
        with self._books.reading() as connection:
            if load_head(connection, name) is not None:
                raise AlreadyExistsError(f"there is a rollout {name!r} already; choose another name")
        return name


def _read(text: str, form: str) -> Specification:
    if len(text) > MOST_CHARACTERS:
        raise InvalidArgumentError(f"the specification has {len(text)} characters; {MOST_CHARACTERS} is the most")
    return read_specification(text, form)
