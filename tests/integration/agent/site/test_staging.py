"""Releases reach the disk whole and checked, over a real connection to a hub that misbehaves on command."""

import hashlib
import os
import random
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from edgewise.agent.site import staging as staging_module
from edgewise.agent.site.adoption import adopt
from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.hub_client import HubClient
from edgewise.agent.site.staging import DiskStaging
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.transfer import Patience
from edgewise.agent.site.version_files import VersionFiles
from edgewise.core.errors import InvalidArgumentError, UnavailableError
from edgewise.core.releases import Chunk, Release, ReleaseFile, Variant
from edgewise.protocols.release_manifest import encode_release
from support.site_hub import Step
from support.waiting import wait_for

DAY_S = 86400.0
QUICK = Patience(window_s=0.3, least_bytes=4000, base_s=0.01, cap_s=0.05)


@dataclass
class Words:
    """Stands for what is trusted: hands out manifests as they are.

    Attributes:
        before: called before each.
    """

    releases: dict
    before: Callable[[], None] = lambda: None

    def manifest(self, model, version, sha256):
        self.before()
        release = self.releases[model, version]
        assert hashlib.sha256(encode_release(release)).hexdigest() == sha256
        return release


class Stage:
    """A disk, and who fills it.

    Attributes:
        now_s, wall_s: as the test sets them; waiting moves the first one on when `waits` is virtual.
        working: whether it said that it works, at each virtual wait.
    """

    def __init__(self, root, hub, *, rate=None, quota=None, reserve=1, virtual=False, patience=QUICK):
        self.state = StateDirectory(root)
        self.hub = hub
        self.words = Words({})
        self.wall_s = DAY_S
        self.now_s = 0.0
        self.waited_s = 0.0
        self.working = []
        self._over = threading.Event()
        self.client = HubClient(hub.url, "token", stall_s=2.0)
        self.quota = DailyQuota(self.state, quota, lambda: self.wall_s)
        clock = {"now_s": self.now} if virtual else {}
        self.staging = DiskStaging(
            self.state,
            self.words,
            self.client,
            tier="edge",
            bucket=TokenBucket(rate, **clock),
            quota=self.quota,
            reserve_bytes=reserve,
            pause=self.pause if virtual else self._over.wait,
            wake=lambda: None,
            patience=patience,
            random=random.Random(1),
            **clock,
        )

    def now(self):
        return self.now_s

    def pause(self, seconds):
        self.now_s += seconds
        self.waited_s += seconds
        self.working.append(self.staging.is_working)

    def release(self, version, files, tmp_path):
        place = tmp_path / f"release-{version}"
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        self.words.releases["pets", version] = self.hub.release("pets", version, place)
        return self.hub.order(version=version)

    def fetch(self, order):
        """Ask once, and have it done; what there is then."""
        self.staging.fetch(order)
        self.staging.work()
        return self.staging.look(order)

    def files(self, version):
        top = self.state.models / "pets" / str(version)
        return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def content(seed, size):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def begin(tmp_path, hub):
    """Makes a `Stage`; of the same directory, unless another one is given."""
    stages = []

    def make(root=None, **words):
        stages.append(Stage(root or tmp_path / "state", hub, **words))
        return stages[-1]

    yield make
    for stage in stages:
        stage.client.close()


@pytest.fixture
def stage(begin):
    return begin()


FILES = {"model.onnx": content(1, 3_000_000), "assets/labels.txt": b"cat\ndog\n", "empty": b""}


def test_a_release_is_there_whole_read_only_and_nothing_is_left_over(stage, hub, tmp_path):
    view = stage.fetch(order := stage.release(2, FILES, tmp_path))
    assert (view.present, view.checked, view.problem) == (True, True, "")
    assert stage.files(2) == FILES
    assert view.bytes_done == view.bytes_total == sum(map(len, FILES.values()))
    path = stage.state.models / "pets" / "2" / "model.onnx"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert list(stage.state.downloads.iterdir()) == []
    assert sorted(entry.name for entry in path.parents[1].iterdir()) == [".2.release", "2"]
    sent = hub.sent_bytes
    assert stage.fetch(order).present
    assert hub.sent_bytes == sent
    assert stage.staging.bytes_per_s > 0


def test_over_a_link_that_is_cut_again_and_again_hardly_a_byte_comes_twice(begin, tmp_path, hub):
    size = 24_000_000
    stage = begin()
    order = stage.release(2, {"model.onnx": content(2, size)}, tmp_path)
    hub.pace_bytes_per_s = 16_000_000.0
    hub.cut_each_s = 0.2
    assert stage.fetch(order).present
    print(f"{hub.sent_bytes / size:.4f} of the size went over the wire")
    assert hub.sent_bytes <= 1.05 * size


def test_what_the_version_before_has_is_not_fetched_again(stage, hub, tmp_path):
    before = content(3, 20_000_000)
    assert stage.fetch(stage.release(1, {"model.onnx": before}, tmp_path)).present
    # Nine tenths are the same, and they are not where they were.
    changed = content(4, 1000) + before[:9_000_000] + content(5, 2_000_000) + before[11_000_000:]
    sent = hub.sent_bytes
    assert stage.fetch(stage.release(2, {"model.onnx": changed}, tmp_path)).present
    print(f"{(hub.sent_bytes - sent) / len(changed):.4f} of the size went over the wire")
    assert hub.sent_bytes - sent <= 0.15 * len(changed)
    assert stage.files(2) == {"model.onnx": changed}


def test_what_an_adopted_version_has_is_not_fetched_again(stage, hub, tmp_path):
    before = content(6, 20_000_000)
    there = tmp_path / "before" / "pets" / "1"
    (there / "variables").mkdir(parents=True)
    (there / "model.onnx").write_bytes(before)
    (there / "variables" / "empty").touch()
    adopt(tmp_path / "before", VersionFiles(stage.state), lambda *_: None)
    assert stage.files(1) == {"model.onnx": before, "variables/empty": b""}
    changed = content(7, 1000) + before[:9_000_000] + content(8, 2_000_000) + before[11_000_000:]
    assert stage.fetch(stage.release(2, {"model.onnx": changed}, tmp_path)).present
    assert hub.sent_bytes <= 0.15 * len(changed)
    assert stage.files(2) == {"model.onnx": changed}


def test_what_was_carried_here_is_not_fetched(stage, hub, tmp_path):
    order = stage.release(2, FILES, tmp_path)
    stage.state.blobs.mkdir(parents=True)
    for name, whole in hub.blobs.items():
        (stage.state.blobs / name).write_bytes(whole)
    assert stage.fetch(order).present
    assert hub.sent_bytes == 0


def test_a_chunk_that_was_changed_on_this_disk_is_fetched(stage, hub, tmp_path):
    before = content(6, 2_000_000)
    assert stage.fetch(stage.release(1, {"model.onnx": before}, tmp_path)).present
    path = stage.state.models / "pets" / "1" / "model.onnx"
    path.chmod(0o644)
    path.write_bytes(bytes(1_000_000) + before[1_000_000:])
    assert stage.fetch(stage.release(2, {"model.onnx": before + b"more"}, tmp_path)).present
    assert stage.files(2) == {"model.onnx": before + b"more"}


def test_a_tampered_blob_is_refused_by_name_and_nothing_of_it_appears(stage, hub, tmp_path):
    order = stage.release(2, FILES, tmp_path)
    digest = hashlib.sha256(FILES["model.onnx"]).hexdigest()
    hub.blobs[digest] = content(7, len(FILES["model.onnx"]))
    view = stage.fetch(order)
    assert view.problem == "model.onnx: what came is not what was signed, 3 times"
    assert not view.present
    assert not (stage.state.models / "pets" / "2").exists()


def test_wrong_bytes_once_are_asked_for_again(stage, hub, tmp_path):
    order = stage.release(2, FILES, tmp_path)
    hub.steps = [Step(wrong=True)]
    assert stage.fetch(order).present
    assert stage.files(2) == FILES


def test_endless_data_is_cut_where_the_file_ends(stage, hub, tmp_path):
    order = stage.release(2, {"model.onnx": FILES["model.onnx"]}, tmp_path)
    hub.steps = [Step(endless=True)]
    view = stage.fetch(order)
    assert view.present
    assert view.bytes_done == len(FILES["model.onnx"])


def test_slow_retrieval_is_given_up_for_another_connection(stage, hub, tmp_path):
    order = stage.release(2, {"model.onnx": FILES["model.onnx"]}, tmp_path)
    hub.steps = [Step(crawl=True), Step(status=503), Step(cut_after_bytes=0)]
    assert stage.fetch(order).present
    assert len([path for path in hub.asked if path.startswith("/blobs/")]) >= 4


def test_a_blob_that_the_hub_does_not_have_is_a_problem(stage, hub, tmp_path):
    order = stage.release(2, FILES, tmp_path)
    hub.blobs.clear()
    assert "refuses: not there" in stage.fetch(order).problem


def test_a_hub_that_is_away_is_no_problem_of_the_release(begin, tmp_path, hub):
    stage = begin(virtual=True)
    order = stage.release(2, FILES, tmp_path)
    hub.away = True
    # Asked for once, and not any more: it is left for later.
    view = stage.fetch(order)
    assert (view.present, view.problem) == (False, "")
    # Nothing comes while the link is waited for.
    assert stage.working
    assert not any(stage.working)
    hub.away = False
    assert stage.fetch(order).present


def test_an_order_that_is_withdrawn_while_the_hub_is_away_leaves_no_work(begin, tmp_path, hub):
    stage = begin(virtual=True)
    order = stage.release(2, FILES, tmp_path)
    working = []

    def away():
        working.append(stage.staging.is_working)
        raise UnavailableError("the hub is away")

    stage.words.before = away
    stage.staging.fetch(order)
    assert not stage.staging.work()
    # It was at work while it asked, and is not between two tries, nor after the last one.
    assert working == [True]
    assert not stage.staging.is_working
    assert stage.staging.look(order).busy
    stage.now_s += 2 * staging_module.UNASKED_S
    assert stage.staging.work()
    assert working == [True]
    assert not stage.staging.is_working
    stage.words.before = lambda: None
    assert stage.fetch(order).present
    assert not stage.staging.is_working


def test_no_faster_than_allowed(begin, tmp_path, hub):
    stage = begin(rate=1_000_000.0, virtual=True)
    stage.staging.fetch(order := stage.release(2, {"model.onnx": content(8, 4_000_000)}, tmp_path))
    stage.staging.work()
    assert stage.staging.look(order).present
    # A quarter of a second's bytes may come at once.
    assert stage.waited_s == pytest.approx(4.0 - 0.25, rel=0.1)
    # Slow is not still.
    assert all(stage.working)


def test_the_quota_of_a_day_is_kept_over_restarts_and_the_next_day_goes_on(begin, tmp_path, hub):
    stage = begin(quota=1_000_000, virtual=True)
    files = {"model.onnx": content(9, 2_500_000)}
    order = stage.release(2, files, tmp_path)
    assert not stage.fetch(order).present
    assert hub.sent_bytes == 1_000_000
    assert stage.quota.left_bytes() == 0
    assert stage.working
    assert not any(stage.working)
    again = begin(quota=1_000_000, virtual=True)
    again.words = again.staging._trust = stage.words
    assert again.quota.left_bytes() == 0
    assert not again.fetch(order).present
    assert hub.sent_bytes == 1_000_000
    for day in (2, 3):
        again.wall_s = day * DAY_S
        view = again.fetch(order)
    assert view.present
    # What came in part on one day is asked for again on the next, a chunk at most.
    assert hub.sent_bytes <= 2_500_000 + 2 * 262_144


def test_a_manifest_whose_names_lead_out_writes_nothing(stage, hub, tmp_path):
    body = b"evil"
    digest = hashlib.sha256(body).hexdigest()
    hub.blobs[digest] = body
    file = ReleaseFile("../../../escaped", len(body), digest, (Chunk(len(body), digest),))
    release = Release("pets", 2, "2026-11-23T10:00:00Z", {"any": Variant((file,))})
    # Not even who may sign could have it signed: the hub would not take it.
    with pytest.raises(InvalidArgumentError):
        hub.release_files("pets", 2, [file])
    stage.words.releases["pets", 2] = release
    order = replace(hub.order(), manifest_sha256=hashlib.sha256(encode_release(release)).hexdigest())
    view = stage.fetch(order)
    assert 'leads out of the directory with ".."' in view.problem
    assert not view.present
    assert not list(tmp_path.rglob("escaped"))


def test_a_version_is_compared_before_it_is_used_and_thrown_away_when_it_was_changed(stage, hub, tmp_path):
    order = stage.release(2, FILES, tmp_path)
    assert stage.fetch(order).checked
    path = stage.state.models / "pets" / "2" / "model.onnx"
    path.chmod(0o644)
    path.write_bytes(FILES["model.onnx"])
    # The same bytes, and someone wrote them: looked at again.
    assert not stage.staging.look(order).checked
    stage.staging.check(order)
    stage.staging.work()
    assert stage.staging.look(order).checked
    path.write_bytes(FILES["model.onnx"][:-1] + b"!")
    stage.staging.check(order)
    stage.staging.work()
    assert not stage.staging.look(order).present
    assert stage.fetch(order).checked


def test_files_that_someone_put_there_are_taken_when_they_are_the_release(stage, hub, tmp_path):
    order = stage.release(2, FILES, tmp_path)
    for name, whole in FILES.items():
        path = stage.state.models / "pets" / "2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole)
    assert stage.fetch(order).checked
    assert hub.sent_bytes == 0
    other = stage.release(3, FILES, tmp_path)
    (stage.state.models / "pets" / "3").mkdir()
    (stage.state.models / "pets" / "3" / "model.onnx").write_bytes(b"another")
    assert "a version never changes" in stage.fetch(other).problem
    assert (stage.state.models / "pets" / "3" / "model.onnx").read_bytes() == b"another"


def test_too_little_room_is_told_before_the_first_byte_and_over_when_there_is_some(begin, tmp_path, hub, monkeypatch):
    stage = begin(virtual=True)
    order = stage.release(2, FILES, tmp_path)
    real = os.statvfs
    free = [1000]

    def full(path):
        found = real(path)
        return os.statvfs_result((found.f_bsize, 1, found.f_blocks, free[0], free[0], *tuple(found)[5:]))

    monkeypatch.setattr(os, "statvfs", full)
    view = stage.fetch(order)
    assert "are needed" in view.problem
    assert hub.sent_bytes == 0
    stage.now_s += 2 * staging_module.ROOM_LOOK_S
    assert stage.staging.look(order).problem
    free[0] = 10**9
    stage.now_s += 2 * staging_module.ROOM_LOOK_S
    assert not stage.staging.look(order).problem
    assert stage.fetch(order).present


@pytest.mark.parametrize("room_kb", [0, 300, 900, 1400])
def test_a_disk_that_becomes_full_while_it_downloads_or_stages(begin, small_disk, hub, tmp_path, monkeypatch, room_kb):
    stage = begin(small_disk / "state", virtual=True)
    order = stage.release(2, {"model.onnx": content(10, 1_300_000), "b": b"b" * 4096}, tmp_path)
    # Someone else fills the disk after it was looked at.
    monkeypatch.setattr(staging_module, "check_room", lambda *_: None)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(bytes(free - room_kb * 1000))
    view = stage.fetch(order)
    if room_kb < 1300:
        assert "no room left" in view.problem
        assert not view.present
    filler.unlink()
    stage.now_s += 2 * staging_module.ROOM_LOOK_S
    view = stage.staging.look(order)
    assert not view.problem
    assert view.present or stage.fetch(order).present
    assert len(stage.files(2)) == 2


def test_killed_in_a_download_it_goes_on_where_it_was(node, hub, build_tiny):
    """A whole agent, killed with kill -9."""
    node.enroll()
    place = build_tiny(2)
    (place / "weights.bin").write_bytes(content(11, 3_000_000))
    size = sum(path.stat().st_size for path in place.iterdir())
    hub.release("tiny", 2, place)
    hub.want(hub.order(model="tiny"))
    node.start_servers()
    for _ in range(3):
        node.start_agent("--rate", "500kB/s")
        wait_for(lambda sent=hub.sent_bytes: hub.sent_bytes > sent + 500_000)
        node.agent.process.kill()
        node.agent.process.wait()
    node.start_agent()
    wait_for((node.state / "models" / "tiny" / "2").is_dir)
    print(f"{hub.sent_bytes / size:.4f} of the size went over the wire")
    # At each kill, what was under way (a second's bytes) and the chunk that was not whole.
    assert hub.sent_bytes <= size + 3 * (500_000 + 262_144)
