"""A spool and a hub that a test plays, and an upload between them on virtual time."""

import hashlib
from random import Random

from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.sample_hub import SegmentState
from edgewise.agent.site.sample_upload import SampleUpload, Segments, Spool
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import NotFoundError, UnavailableError
from edgewise.spool import Segment


class PlayedSpool(Spool):
    def __init__(self, **contents):
        self.contents = contents
        self.aside = []
        self.adopted = 0

    def adopt(self):
        self.adopted += 1
        return 0

    def segments(self):
        return [Segment(name, 0, 0, number, len(self.contents[name])) for number, name in enumerate(self.contents)]

    def read(self, segment, offset, count):
        if segment.name not in self.contents:
            raise NotFoundError("it is gone")
        return self.contents[segment.name][offset : offset + count]

    def digest(self, segment):
        return hashlib.sha256(self.read(segment, 0, segment.size_bytes)).hexdigest()

    def remove(self, segment):
        del self.contents[segment.name]

    def set_aside(self, segment):
        self.aside.append(segment.name)
        self.remove(segment)


class PlayedHub(Segments):
    def __init__(self):
        self.parts = {}
        self.done = {}
        self.sent = []
        self.before = lambda name: None
        self.before_piece = lambda name: None

    def state(self, name, sha256):
        self.before(name)
        return SegmentState(len(self.parts.get(name, b"")), self.done.get(name) == sha256)

    def send(self, name, sha256, piece, *, offset, length):
        self.before(name)
        self.sent.append((name, offset, len(piece)))
        self.before_piece(name)
        here = self.parts.get(name, b"")
        if offset != len(here):
            return SegmentState(len(here), done=False)
        here = self.parts[name] = here + piece
        if len(here) < length:
            return SegmentState(len(here), done=False)
        if hashlib.sha256(here).hexdigest() != sha256:
            del self.parts[name]
            return SegmentState(0, done=False)
        self.done[name] = sha256
        return SegmentState(length, done=True, samples=1)


class World:
    def __init__(self, tmp_path, hub, spool, *, rate=None, quota=None):
        self.hub, self.spool = hub, spool
        self.pauses = []
        self.fetching = []
        self.now_s = 0.0
        self.stopped = False
        self.quota_bytes, self.quota_path = quota, tmp_path / "quota"
        self.quota_words = (StateDirectory(tmp_path), quota, lambda: self.now_s)
        self.upload = SampleUpload(
            spool,
            hub,
            bucket=TokenBucket(rate, lambda: self.now_s),
            quota=DailyQuota(*self.quota_words, path=self.quota_path),
            pause=self.pause,
            is_stopped=lambda: self.stopped,
            is_fetching=lambda: bool(self.fetching and self.fetching.pop()),
            random=Random(7),
            now_s=lambda: self.now_s,
        )

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now_s += seconds
        self.stopped = self.stopped or len(self.pauses) > 5000


def failing(*names):
    """A hub that takes segments of these names to their end, and not in."""

    def fail(name):
        if name in names:
            raise UnavailableError("the hub answered 500")

    return fail
