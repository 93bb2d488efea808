"""Rollouts: what was asked for, and all that is known of their waves and sites."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, select, update

from edgewise.core.rollout.events import RolloutView, SiteView, Want, WavePhase, WaveView
from edgewise.core.rollout.gates import Verdict
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Specification
from edgewise.hub.store.journals import Kind
from edgewise.hub.store.schema import HISTORY, ROLLOUT_SITES, ROLLOUT_WAVES, ROLLOUTS, SITES
from edgewise.hub.store.specification_values import read_specification_value, specification_value
from edgewise.hub.store.texts import storable
from edgewise.protocols.documents import Document
from edgewise.protocols.gate_values import findings_value, read_findings


@dataclass(frozen=True, slots=True)
class Head:
    """What does not change of a rollout.

    Attributes:
        manifest_sha256: of the release.
        text, form: as it was asked for.
    """

    name: str
    specification: Specification
    manifest_sha256: str
    text: str
    form: str
    created_s: float
    created_by: str

    @property
    def model(self) -> str:
        """Of the release."""
        return self.specification.model

    @property
    def version(self) -> int:
        """Of the release."""
        return self.specification.version


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rollout is, in short.

    Attributes:
        revision: greater with every change.
        live: some site still answers to it.
    """

    state: RolloutState
    why: str
    revision: int
    changed_s: float
    live: bool


@dataclass(frozen=True, slots=True)
class SiteProgress:
    """What a site says of a rollout besides what decides.

    Attributes:
        stage: of the canary.
    """

    stage: int = 0
    bytes_done: int = 0
    bytes_total: int = 0


NO_PROGRESS: Final = SiteProgress()


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is kept of a rollout."""

    head: Head
    standing: Standing
    view: RolloutView
    progress: Mapping[str, SiteProgress]


@dataclass(frozen=True, slots=True)
class Listed:
    """A rollout in a list."""

    name: str
    model: str
    version: int
    created_s: float
    created_by: str
    standing: Standing


_LISTED: Final = [column for column in ROLLOUTS.c if column.name not in {"specification", "text", "form"}]
_UPDATE: Final = (
    update(ROLLOUTS)
    .where(ROLLOUTS.c.name == bindparam("which"))
    .values({name: bindparam(name) for name in ("state", "why", "revision", "changed_s", "live")})
)
_UPDATE_WAVE: Final = (
    update(ROLLOUT_WAVES)
    .where(
        and_(ROLLOUT_WAVES.c.rollout == bindparam("of_rollout"), ROLLOUT_WAVES.c.number == bindparam("which")),
    )
    .values({name: bindparam(name) for name in ("phase", "since_s", "verdict", "judged", "promoted")})
)
_UPDATE_SITE: Final = (
    update(ROLLOUT_SITES)
    .where(and_(ROLLOUT_SITES.c.rollout == bindparam("of_rollout"), ROLLOUT_SITES.c.site == bindparam("which")))
    .values(
        {
            column.name: bindparam(column.name)
            for column in ROLLOUT_SITES.c
            if column.name not in {"rollout", "site", "place", "wave"}
        }
    )
)


def insert_rollout(connection: Connection, head: Head, standing: Standing, view: RolloutView) -> None:
    """A new one, with its waves and sites."""
    values = {
        "name": head.name,
        "model": head.model,
        "version": head.version,
        "manifest_sha256": head.manifest_sha256,
        "specification": specification_value(head.specification),
        "text": storable(head.text),
        "form": head.form,
        "created_s": head.created_s,
        "created_by": storable(head.created_by),
        **_standing_values(standing),
    }
    connection.execute(insert(ROLLOUTS), values)
    waves = [{"rollout": head.name, "number": number, **_wave_values(wave)} for number, wave in enumerate(view.waves)]
    connection.execute(insert(ROLLOUT_WAVES), waves)
    sites = [
        {"rollout": head.name, "site": site, "place": place, "wave": known.wave, **_site_values(known, NO_PROGRESS)}
        for place, (site, known) in enumerate(view.sites.items())
    ]
    connection.execute(insert(ROLLOUT_SITES), sites)


def update_rollout(connection: Connection, name: str, standing: Standing) -> None:
    """Where it is now."""
    connection.execute(_UPDATE, {"which": name, **_standing_values(standing)})


def update_waves(connection: Connection, name: str, waves: Iterable[tuple[int, WaveView]]) -> None:
    """What is known of some of its waves now."""
    rows = [{"of_rollout": name, "which": number, **_wave_values(wave)} for number, wave in waves]
    if rows:
        connection.execute(_UPDATE_WAVE, rows)


def update_rollout_sites(
    connection: Connection, name: str, sites: Sequence[tuple[str, SiteView, SiteProgress]]
) -> None:
    """What is known of some of its sites now."""
    rows = [{"of_rollout": name, "which": site, **_site_values(known, progress)} for site, known, progress in sites]
    if rows:
        connection.execute(_UPDATE_SITE, rows)


def place_sites(connection: Connection, name: str, sites: Sequence[tuple[str, SiteView, SiteProgress]]) -> None:
    """Sites that join it, in their order and after those that are in it. What was known there of one that joins again is gone."""
    if not sites:
        return
    mine = ROLLOUT_SITES.c.rollout == name
    connection.execute(delete(ROLLOUT_SITES).where(mine, ROLLOUT_SITES.c.site.in_([site for site, *_ in sites])))
    last = connection.execute(select(func.max(ROLLOUT_SITES.c.place)).where(mine)).scalar()
    first = 0 if last is None else last + 1
    rows = [
        {"rollout": name, "site": site, "place": place, "wave": known.wave, **_site_values(known, progress)}
        for place, (site, known, progress) in enumerate(sites, first)
    ]
    connection.execute(insert(ROLLOUT_SITES), rows)


def joinable_rollouts(connection: Connection) -> list[tuple[str, str, RolloutState]]:
    """Rollouts that still bring sites to their release: name, model and state, the one first that was started last.

    When a rollout was started is in its history: it was Planned until then.
    """
    started = (
        select(func.max(HISTORY.c.number))
        .where(
            HISTORY.c.rollout == ROLLOUTS.c.name,
            HISTORY.c.kind == Kind.ROLLOUT.value,
            HISTORY.c.before == RolloutState.PLANNED.value,
        )
        .scalar_subquery()
        .label("started")
    )
    states = (RolloutState.PLANNED, RolloutState.PROGRESSING, RolloutState.PAUSED, RolloutState.COMPLETED)
    asked = select(ROLLOUTS.c.name, ROLLOUTS.c.model, ROLLOUTS.c.state, started).where(
        ROLLOUTS.c.state.in_([state.value for state in states])
    )
    rows = sorted(connection.execute(asked), key=lambda row: (row.started or 0, row.name), reverse=True)
    return [(row.name, row.model, RolloutState(row.state)) for row in rows]


def live_rollouts(connection: Connection) -> list[str]:
    """The names of those to which some site still answers, the oldest first."""
    asked = select(ROLLOUTS.c.name).where(ROLLOUTS.c.live).order_by(ROLLOUTS.c.created_s, ROLLOUTS.c.name)
    return list(connection.execute(asked).scalars())


def load_head(connection: Connection, name: str) -> Head | None:
    """What was asked for; None when there is no such rollout."""
    row = connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.name == name)).one_or_none()
    return None if row is None else _head(row)


def load_rollout(connection: Connection, name: str) -> Kept | None:
    """All of one rollout; None when there is none of that name."""
    row = connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.name == name)).one_or_none()
    if row is None:
        return None
    waves = connection.execute(
        select(ROLLOUT_WAVES).where(ROLLOUT_WAVES.c.rollout == name).order_by(ROLLOUT_WAVES.c.number)
    )
    sites = connection.execute(
        select(ROLLOUT_SITES, SITES.c.heard_s)
        .join(SITES, SITES.c.name == ROLLOUT_SITES.c.site)
        .where(ROLLOUT_SITES.c.rollout == name)
        .order_by(ROLLOUT_SITES.c.place)
    ).all()
    standing = _standing(row)
    view = RolloutView(
        standing.state, row.why, {one.site: _site_view(one) for one in sites}, tuple(map(_wave_view, waves))
    )
    progress = {one.site: SiteProgress(one.stage, one.bytes_done, one.bytes_total) for one in sites}
    return Kept(_head(row), standing, view, progress)


def list_rollouts(connection: Connection, *, limit: int) -> list[Listed]:
    """The newest first."""
    asked = select(*_LISTED).order_by(ROLLOUTS.c.created_s.desc(), ROLLOUTS.c.name).limit(limit)
    return [
        Listed(row.name, row.model, row.version, row.created_s, row.created_by, _standing(row))
        for row in connection.execute(asked)
    ]


def count_sites(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many sites of these rollouts are in each state."""
    asked = (
        select(ROLLOUT_SITES.c.rollout, ROLLOUT_SITES.c.state, func.count().label("sites"))
        .where(ROLLOUT_SITES.c.rollout.in_(names))
        .group_by(ROLLOUT_SITES.c.rollout, ROLLOUT_SITES.c.state)
        .order_by(ROLLOUT_SITES.c.rollout, ROLLOUT_SITES.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(asked):
        found.setdefault(row.rollout, {})[row.state] = row.sites
    return found


def _standing_values(standing: Standing) -> dict[str, Any]:
    return {
        "state": standing.state.value,
        "why": storable(standing.why),
        "revision": standing.revision,
        "changed_s": standing.changed_s,
        "live": standing.live,
    }


def _standing(row: Row[Any]) -> Standing:
    return Standing(RolloutState(row.state), row.why, row.revision, row.changed_s, row.live)


def _wave_values(wave: WaveView) -> dict[str, Any]:
    return {
        "phase": wave.phase.value,
        "since_s": wave.since_s,
        "verdict": wave.verdict.value,
        "judged": wave.judged,
        "promoted": wave.promoted,
    }


def _site_values(known: SiteView, progress: SiteProgress) -> dict[str, Any]:
    return {
        "state": known.state.value,
        "want": known.want.value,
        "acting": known.acting.value,
        "was": known.was.value if known.was else None,
        "switched": known.switched,
        "waiting": known.waiting,
        "why": storable(known.why),
        "findings": findings_value(known.findings),
        "stage": progress.stage,
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
    }


def _head(row: Row[Any]) -> Head:
    return Head(
        row.name,
        read_specification_value(row.specification, f"rollout {row.name} in the database"),
        row.manifest_sha256,
        row.text,
        row.form,
        row.created_s,
        row.created_by,
    )


def _wave_view(row: Row[Any]) -> WaveView:
    return WaveView(WavePhase(row.phase), row.since_s, Verdict(row.verdict), row.judged, row.promoted)


def _site_view(row: Row[Any]) -> SiteView:
    return SiteView(
        wave=row.wave,
        state=SiteState(row.state),
        want=Want(row.want),
        acting=Want(row.acting),
        heard_s=row.heard_s,
        was=SiteState(row.was) if row.was else None,
        switched=row.switched,
        waiting=row.waiting,
        findings=read_findings(Document(f"site {row.site} in the database", "findings", row.findings)),
        why=row.why,
    )
