"""A program that dies: it does one thing again and again, killed a call later each time, and prints what was left and what came after."""

import hashlib
import shutil
import sys
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Targets

from edgewise.agent.trust.releases import TrustedReleases
from edgewise.agent.trust.source import Source
from edgewise.core.errors import EdgewiseError, NotFoundError
from edgewise.hub.trust.acceptance import chain
from edgewise.hub.trust.repository import Repository
from edgewise.trust.keys import SigningKey
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import MAX_TARGETS_BYTES, check_signed, is_carried, read
from support.deadly_calls import print_seen
from support.near_source import NearSource
from support.trust_world import BEGAN_S, DAY_S, Clock, World, manifest


class CarriedSource(NearSource):
    """Reads from a bundle, with a timestamp of its own."""

    carries = True

    def __init__(self, repository, timestamp):
        super().__init__(repository)
        self.timestamp = timestamp

    def _fetch(self, url):
        if url.endswith("/timestamp.json"):
            self.name = "timestamp.json"
            yield self.timestamp
        else:
            yield from super()._fetch(url)


class AwaySource(Source):
    """Nobody is there."""

    def _fetch(self, url):
        raise DownloadHTTPError("away", 503)


class Scene:
    """An operator and a hub on the disk, put back as they were before each point."""

    def __init__(self, directory):
        self.directory = directory
        self.clock = Clock()
        self.online = SigningKey.generated()
        self.next_online = SigningKey.generated()
        self.desired_key = SigningKey.generated()
        documents = World.documents(self)
        self.operator = OfflineTrust.created(
            directory / "now" / "operator", self.online.public_hex, documents, clock=self.clock
        )
        Repository.created(
            directory / "now" / "hub",
            self.online,
            roots=self.operator.root_files(),
            targets=self.operator.targets_file(),
            contents={path: self.operator.content(path) for path in self.operator.targets().targets},
            clock=self.clock,
        )
        self.root_sha256 = hashlib.sha256(self.operator.root_files()[0]).hexdigest()

    def hub(self):
        return Repository(self.directory / "now" / "hub", self.online, self.next_online, clock=self.clock)

    def site(self, source=None, name="site"):
        return TrustedReleases(
            self.directory / "now" / name,
            "http://near",
            source or NearSource(self.hub()),
            site="edge-1",
            root_sha256=self.root_sha256,
            clock=self.clock,
        )

    def open_operator(self):
        return OfflineTrust.opened(self.directory / "now" / "operator", clock=self.clock)

    def keep(self):
        shutil.copytree(self.directory / "now", self.directory / "before", symlinks=True)

    def put_back(self):
        shutil.rmtree(self.directory / "now")
        shutil.copytree(self.directory / "before", self.directory / "now", symlinks=True)


def hub_scene(scene, act):
    """Killed while the hub publishes: a site that was there before, and a new one, refresh at once, and again once it is done."""
    scene.site().refresh()
    scene.keep()

    def look():
        seen = []
        for name in ("site", "another"):
            site = scene.site(name=name)
            site.refresh()
            seen.append([site.may_install(), site.versions() == scene.hub().versions()])
        return [seen, sorted(scene.hub().versions().items())]

    return lambda: act(scene), look, lambda: act(scene)


def targets_act(signed):
    def act(scene):
        hub = scene.hub()
        hub.put_target("releases/pets/2.json", manifest(2))
        hub.accept_targets(signed)

    return act


def site_scene(scene):
    """Killed while a site refreshes: without the hub it trusts one whole state or the other, and the next refresh makes it new."""
    scene.site().refresh()
    roots = scene.operator.rotate_root()
    hub = scene.hub()
    hub.put_target("releases/pets/2.json", manifest(2))
    hub.accept_targets(scene.operator.add_targets({"releases/pets/2.json": manifest(2)}))
    hub.accept_root(roots[-1])
    scene.keep()
    digest = hashlib.sha256(manifest(2)).hexdigest()

    def refresh():
        site = scene.site()
        site.refresh()
        site.manifest("pets", 2, digest)

    def look():
        site = scene.site(AwaySource())
        try:
            release = site.manifest("pets", 2, digest).name
        except EdgewiseError as error:
            release = error.code
        trusted = site._trusted
        return [site.may_install(), trusted is not None and sorted(trusted.versions.items()), release]

    return refresh, look, refresh


def carried_scene(scene):
    """Killed while a site takes the timestamp of a bundle in place of the hub's, which has the same version."""
    timestamp = scene.hub().carried(scene.clock() + 30 * DAY_S)
    scene.site().refresh()
    scene.keep()

    def take():
        scene.site(CarriedSource(scene.hub(), timestamp)).refresh()

    def look():
        trusted = scene.site(AwaySource())._trusted
        return [sorted(trusted.versions.items()), is_carried(trusted.timestamp)]

    return take, look, take


def operator_scene(scene, act):
    """Killed while an operator signs: what is there verifies, and signing goes on."""
    scene.keep()

    def look():
        operator = scene.open_operator()
        roots = operator.root_files()
        root = chain(roots)
        check_signed(root, read(operator.targets_file(), Targets, what="", max_bytes=MAX_TARGETS_BYTES), what="")
        for path in operator.targets().targets:
            operator.content(path)
        left = sorted(path.name for path in operator.directory.iterdir())
        return [len(roots), operator.targets().version, left]

    def again():
        # Each key that the root names is there and signs.
        operator = scene.open_operator()
        operator.add_targets({})
        operator.renew_root()

    return lambda: act(scene.open_operator()), look, again


def first_scene(scene):
    """Killed while an operator begins."""
    scene.keep()
    place = scene.directory / "now" / "new"

    def begin():
        OfflineTrust.created(place, scene.online.public_hex, World.documents(scene), clock=scene.clock)

    def look():
        try:
            operator = OfflineTrust.opened(place, clock=scene.clock)
        except NotFoundError:
            return None
        return [len(operator.root_files()), operator.targets().version]

    def again():
        if look() is None:
            begin()
        OfflineTrust.opened(place, clock=scene.clock).rotate_targets()

    return begin, look, again


def first_hub_scene(scene):
    """Killed while a hub begins."""
    scene.keep()
    place = scene.directory / "now" / "new"
    operator = scene.operator

    def begin():
        Repository.created(
            place,
            scene.online,
            roots=operator.root_files(),
            targets=operator.targets_file(),
            contents={path: operator.content(path) for path in operator.targets().targets},
            clock=scene.clock,
        )

    def look():
        try:
            return sorted(Repository(place, scene.online, clock=scene.clock).versions().items())
        except EdgewiseError:
            return None

    return begin, look, lambda: look() or begin()


def prepared(scene, what):
    if what == "accept_targets":
        return hub_scene(scene, targets_act(scene.operator.add_targets({"releases/pets/2.json": manifest(2)})))
    if what == "accept_root":
        roots = scene.operator.rotate_online(scene.next_online.public_hex)
        return hub_scene(scene, lambda scene: scene.hub().accept_root(roots[-1]))
    if what == "renew":
        scene.clock.now_s = BEGAN_S + 0.9 * DAY_S
        return hub_scene(scene, lambda scene: scene.hub().renew())
    if what == "raise_versions":
        return hub_scene(scene, lambda scene: scene.hub().raise_versions({"timestamp": 9, "snapshot": 8}))
    if what == "carried":
        return hub_scene(scene, lambda scene: scene.hub().carried(scene.clock() + 30 * DAY_S))
    if what == "take_carried":
        return carried_scene(scene)
    if what == "refresh":
        return site_scene(scene)
    if what == "created":
        return first_scene(scene)
    if what == "begun":
        return first_hub_scene(scene)
    acts = {
        "add_targets": lambda operator: operator.add_targets({"releases/pets/2.json": manifest(2)}),
        "rotate_root": lambda operator: operator.rotate_root(),
        "rotate_targets": lambda operator: operator.rotate_targets(),
        "rotate_online": lambda operator: operator.rotate_online(scene.next_online.public_hex),
    }
    return operator_scene(scene, acts[what])


def main(directory, what, moment):
    scene = Scene(Path(directory))
    act, look, again = prepared(scene, what)
    print_seen(moment, act, look=look, again=again, put_back=scene.put_back)


if __name__ == "__main__":
    main(*sys.argv[1:])
