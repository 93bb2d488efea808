"""A hub and an agent that die: one of them is killed at one of its calls that make something last or tell the other, a call later each time.

Both are children, forked again wherever they were killed, until the spool is empty. The hub's socket is the parent's, so a question that comes
while there is no hub waits for the next one.
"""

import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from random import Random
from types import SimpleNamespace

from sqlalchemy import select

from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.sample_hub import SampleHub
from edgewise.agent.site.sample_upload import SampleUpload
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import EdgewiseError
from edgewise.hub.api.app import create_app
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.metrics import HubMetrics
from edgewise.hub.api.segment_taking import SegmentTaking
from edgewise.hub.blobs.directory import DirectoryBlobs
from edgewise.hub.control.actors import HUB
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.listening import HubServer, listening_socket, server_config
from edgewise.hub.samples.segment_files import SegmentFiles
from edgewise.hub.store.schema import SAMPLES
from edgewise.hub.store.store import Store
from edgewise.spool import SpoolReader
from edgewise.trust.keys import SigningKey
from support.captured_samples import captured, picture, spool

SITE = "alpha"
COUNT = 2
DISK = ("fsync", "mkdir", "replace", "unlink", "chmod")
MOST_POINTS = 200


class Killer:
    """Kills this process at its call of that number; 0 for never."""

    def __init__(self, point, moment):
        self.left = point
        self.moment = moment
        self.armed = False

    def deadly(self, call):
        def called(*words, **named):
            self.left -= self.armed
            last = self.armed and self.left == 0
            if last and self.moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*words, **named)
            finally:
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)

        return called


class World:
    """A hub's directory, a site's spool, and who works with them."""

    def __init__(self, directory):
        self.directory = directory
        self.key = SigningKey.generated()
        self.socket = listening_socket("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        # All of one segment.
        self.samples = [captured(number, site=SITE, sample_id=f"ff{number:030x}") for number in range(COUNT)]
        # What takes long is done once, and forked.
        self.app = create_app(SimpleNamespace(guard=None, metrics=HubMetrics()))
        self.first = directory.with_name("first")
        self.first.mkdir()
        plane = ControlPlane(self.store(self.first), self.key)
        word = plane.create_enrollment(SITE, "edge", {}, actor=HUB)
        _, self.token = plane.enroll(word, SigningKey.generated().public_hex, "edge", {})
        plane.close()
        spool(self.first / "spool", self.samples)

    def begin(self):
        """As it is at first."""
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.first, self.directory)

    @staticmethod
    def store(directory):
        return Store(f"sqlite:///{directory / 'hub.db'}")

    def hub(self, killer):
        """Be the hub, until killed."""
        store = self.store(self.directory)
        files = SegmentTaking(SegmentFiles(self.directory / "segments", reserve_bytes=0))
        blobs = DirectoryBlobs(self.directory / "blobs")
        hub = Hub(lambda on_change: ControlPlane(store, self.key, on_change=on_change), None, blobs, files)
        self.app.state.hub, self.app.state.guard = hub, hub.guard
        for name in DISK:
            setattr(os, name, killer.deadly(getattr(os, name)))
        store.engine.dialect.do_commit = killer.deadly(store.engine.dialect.do_commit)
        SegmentFiles.append = killer.deadly(SegmentFiles.append)
        killer.armed = True
        HubServer(server_config(self.app)).run([self.socket])

    def agent(self, killer):
        """Be the agent, until the spool is empty."""
        reader = SpoolReader(self.directory / "spool")
        hub = SampleHub(self.url, self.token, SITE)
        for one, names in ((hub, ("state", "send")), (reader, ("adopt", "remove"))):
            for name in names:
                setattr(one, name, killer.deadly(getattr(one, name)))
        upload = SampleUpload(
            reader,
            hub,
            bucket=TokenBucket(None),
            quota=DailyQuota(StateDirectory(self.directory / "agent"), None),
            pause=lambda seconds: time.sleep(min(seconds, 0.01)),
            is_stopped=lambda: False,
            is_fetching=lambda: False,
            random=Random(7),
        )
        # Two pieces.
        upload._piece_bytes = 1000
        killer.armed = True
        while True:
            try:
                upload.once()
            except EdgewiseError:
                time.sleep(0.01)
                continue
            return

    def play(self, who, point, moment):
        """Let them work until the spool is empty. Returns: whether one was killed."""
        killed = False
        hub = self.child(self.hub, Killer(point if who == "hub" else 0, moment))
        agent = self.child(self.agent, Killer(point if who == "agent" else 0, moment))
        while True:
            child, status = os.wait()
            if child == hub:
                assert os.WIFSIGNALED(status), "the hub ended by itself"
                killed = True
                hub = self.child(self.hub, Killer(0, moment))
            elif os.WIFSIGNALED(status):
                killed = True
                agent = self.child(self.agent, Killer(0, moment))
            else:
                assert child == agent
                assert os.WEXITSTATUS(status) == 0, "the agent failed"
                os.kill(hub, signal.SIGKILL)
                os.waitpid(hub, 0)
                return killed

    @staticmethod
    def child(run, killer):
        number = os.fork()
        if number == 0:
            try:
                run(killer)
                os._exit(0)
            except BaseException:  # noqa: BLE001 - nothing of the parent's is to run in the child
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(1)
        return number

    def check(self):
        """Every sample is there once, with its picture, and nothing is left elsewhere."""
        store = self.store(self.directory)
        with store.transaction() as connection:
            kept = {row.id: row.blob_sha256 for row in connection.execute(select(SAMPLES))}
        store.close()
        assert set(kept) == {each.sample_id for each in self.samples}
        blobs = DirectoryBlobs(self.directory / "blobs")
        for number, each in enumerate(self.samples):
            sha256 = kept[each.sample_id]
            assert b"".join(blobs.read(sha256, 0, blobs.size_bytes(sha256))) == picture(number)
        assert not list((self.directory / "spool").glob("*.seg"))


def main(directory, who):
    world = World(Path(directory) / "world")
    # The hub has many points: every other one is before the call, the others are after it.
    ways = [("before", "after")] if who == "hub" else [("before",), ("after",)]
    print(json.dumps(sum(killed_at_each(world, who, moments) for moments in ways)))


def killed_at_each(world, who, moments):
    for point in range(1, MOST_POINTS):
        world.begin()
        killed = world.play(who, point, moments[point % len(moments)])
        world.check()
        if not killed:
            return point - 1
    raise AssertionError("it never got through")


if __name__ == "__main__":
    main(*sys.argv[1:])
