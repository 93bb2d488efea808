"""A control plane over each database, and what tests ask of it."""

import pytest
from sqlalchemy.exc import OperationalError

from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.store.store import Store
from edgewise.trust.keys import SigningKey
from support.control_world import OPERATOR, Site, manifest_sha256, release
from support.postgres import running_postgres

SPECIFICATION = """
model: pets
version: {version}
waves:
  - {{name: first, sites: ring=first, at_once: 100%}}
  - {{name: rest, at_once: 100%}}
gates: {{errors: off, latency: off, golden: false}}
"""


@pytest.fixture(scope="session")
def postgres():
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hub.db"
    return request.getfixturevalue("postgres").new_database()


class World:
    """A hub that can be started anew, its clock, and its sites."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now_s = 1_800_000_000.0
        self.key = SigningKey.generated()
        self.sites: dict[str, Site] = {}
        self.changes: list[tuple[frozenset[str], frozenset[str]]] = []
        self.plane = self._open()

    def _open(self) -> ControlPlane:
        return ControlPlane(
            Store(self.url),
            self.key,
            on_change=lambda sites, rollouts: self.changes.append((sites, rollouts)),
            clock=lambda: self.now_s,
        )

    def restart(self, *, politely: bool = True) -> None:
        """Begin again from what the database has."""
        if politely:
            self.plane.close()
        self.plane = self._open()

    def ask(self, method: str, *words, **options):
        return getattr(self.plane, method)(*words, **options)

    def site(self, name: str, *, tier: str = "edge", **labels: str) -> Site:
        self.sites[name] = site = Site(name, self.ask)
        site.join(tier=tier, labels=labels)
        return site

    def release(self, version: int, **options) -> None:
        made = release(version, **options)
        self.plane.add_release(made, manifest_sha256(made), OPERATOR)

    def begin(self, version: int = 2, *, name: str | None = None, text: str = SPECIFICATION, start: bool = True) -> str:
        """Roll a version out."""
        text = text.format(version=version)
        return self.plane.create_rollout(text, "yaml", name=name, actor=OPERATOR, now_s=self.now_s, start=start)

    def command(self, name: str, verb: str, why: str = "") -> None:
        self.plane.command(name, verb, why, OPERATOR, self.now_s)

    def pass_s(self, seconds: int, *, online: tuple[str, ...] | None = None) -> None:
        """Let seconds pass, in which each site that is online makes its moves."""
        for _ in range(seconds):
            self.now_s += 1.0
            for name, site in self.sites.items():
                if online is None or name in online:
                    site.step(self.now_s)
            self.plane.tick(self.now_s)

    def settle(self) -> None:
        """Until no site has anything to do."""
        for _ in range(100):
            self.now_s += 1.0
            moved = [site.step(self.now_s) for site in self.sites.values()]
            self.plane.tick(self.now_s)
            if not any(moved) and not self.changed_since_tick():
                return
        raise AssertionError("the world does not come to rest")

    def changed_since_tick(self) -> bool:
        """Whether any site would be told something that it has not heard."""
        return any(site.generation != self.plane.site(name).generation for name, site in self.sites.items())

    def states(self, rollout: str) -> dict[str, str]:
        return {site.site: site.state for site in self.plane.rollout(rollout).sites}

    def moves(self, rollout: str) -> list[tuple[str, str, str, str]]:
        return [(one.kind, one.subject, one.before, one.after) for one in self.plane.history(rollout)]


class Failing:
    """Has the database fail at commits, before they are made or after; reading is a transaction as well, and some may be spared."""

    def __init__(self, world, *, after: bool, spared: int = 0) -> None:
        self._dialect = world.plane._books._store.engine.dialect
        self._after = after
        self._spared = spared

    def __enter__(self):
        commit = self._dialect.do_commit

        def failing(connection):
            self._spared -= 1
            if self._after or self._spared >= 0:
                commit(connection)
            if self._spared >= 0:
                return
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

        self._dialect.do_commit = failing
        return self

    def __exit__(self, *_):
        del self._dialect.do_commit


@pytest.fixture
def failing():
    return Failing


@pytest.fixture
def world(database_url):
    made = World(database_url)
    yield made
    made.plane.close()


@pytest.fixture
def small_world(world):
    """Two sites in two waves, and two releases."""
    world.site("alpha", ring="first")
    world.site("beta")
    world.release(1)
    world.release(2)
    return world
