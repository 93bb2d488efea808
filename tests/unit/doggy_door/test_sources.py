import itertools
import os
import sys
import time
from pathlib import PurePath

import pytest
from doggy_door import sources
from doggy_door.sources import CameraSource, FolderSource, SourceError, VideoSource, WatchedFolder

from support.waiting import wait_for


def test_a_folders_pictures_come_by_name_once(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "c.jpg").mkdir()
    source = FolderSource(tmp_path)
    frames = [source.next() for _ in range(3)]
    assert [(frame.name, frame.picture) for frame in frames if frame] == [("a.jpg", b"a.jpg"), ("b.PNG", b"b.PNG")]
    assert (source.skipped, source.is_over) == (1, False)
    assert source.next() is None
    assert source.is_over


def test_a_folder_without_pictures_and_none_at_all_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"holds no picture \(.jpeg, .jpg, .png, .webp\)"):
        FolderSource(tmp_path)
    with pytest.raises(SourceError, match="the folder .*none cannot be read: No such file"):
        WatchedFolder(tmp_path / "none")


def test_a_watched_folder_gives_the_newest_picture_once_it_is_written(tmp_path):
    (tmp_path / "old.jpg").write_bytes(b"old")
    source = WatchedFolder(tmp_path)
    assert source.next() is None
    (tmp_path / "b.jpg").write_bytes(b"half")
    assert source.next() is None
    (tmp_path / "b.jpg").write_bytes(b"all of it")
    assert source.next() is None
    frame = source.next()
    assert (frame.name, frame.picture) == ("b.jpg", b"all of it")
    assert time.monotonic() - frame.taken_s < 5
    for name, age_s in (("c.jpg", 100), ("d.jpg", 50)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    assert source.next() is None
    frame = source.next()
    assert frame.name == "d.jpg"
    assert 45 < time.monotonic() - frame.taken_s < 55
    assert source.next() is None


def test_a_watched_folder_that_goes_away_may_come_back(tmp_path):
    folder = tmp_path / "card"
    folder.mkdir()
    source = WatchedFolder(folder)
    folder.rmdir()
    assert source.next() is None
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    assert [bool(source.next()) for _ in range(2)] == [False, True]


def test_a_look_at_a_watched_folder_takes_as_many_comparisons_as_there_are_pictures(tmp_path, monkeypatch):
    source = WatchedFolder(tmp_path)
    for number in range(300):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    assert [bool(source.next()) for _ in range(3)] == [False, True, False]
    compared = []
    same = PurePath.__eq__
    monkeypatch.setattr(PurePath, "__eq__", lambda one, other: compared.append(one) or same(one, other))
    source.next()
    assert len(compared) < 10 * 300


class Shots:
    """A camera that gives what a test wants; None is a picture that failed."""

    def __init__(self, *shots):
        self.shots = iter(shots)
        self.is_released = False

    def isOpened(self):  # noqa: N802
        return True

    def read(self):
        shot = next(self.shots, b"last")
        return shot is not None, shot

    def get(self, _what):
        return 25.0

    def release(self):
        self.is_released = True


def test_a_camera_that_is_pulled_out_is_tried_again_and_one_that_froze_gives_nothing(monkeypatch):
    monkeypatch.setattr(sources, "REOPEN_S", 0.001)
    opened = [Shots(b"a", None), Shots(*([b"b"] * 3)), Shots()]
    left = itertools.chain(opened[:1], [Shots(None)], opened[1:2])
    camera = CameraSource(0, open_camera=lambda _: next(left), encode=lambda shot: shot)
    frames = []
    wait_for(lambda: (frame := camera.next()) and (frames.append(frame) or frame.picture == b"last"))
    assert frames[-1].name.startswith("camera0#")
    skipped = camera.skipped
    wait_for(lambda: camera.skipped > skipped + 3)
    assert camera.next() is None
    camera.close()
    assert opened[0].is_released
    wait_for(lambda: opened[1].is_released)


class Rough(Shots):
    """A camera whose driver raises when it is let go."""

    def release(self):
        super().release()
        raise RuntimeError("the driver says no")


def test_a_camera_whose_driver_raises_is_tried_again(monkeypatch):
    monkeypatch.setattr(sources, "REOPEN_S", 0.001)
    rough = Rough(b"a", None, None)
    opened = iter([rough, OSError("no such device"), Rough()])

    def open_camera(_number):
        capture = next(opened)
        if isinstance(capture, OSError):
            raise capture
        return capture

    camera = CameraSource(0, open_camera=open_camera, encode=lambda shot: shot)
    wait_for(lambda: (frame := camera.next()) and frame.picture == b"last")
    assert rough.is_released
    assert camera.skipped >= 2
    camera.close()
    wait_for(lambda: not camera._thread.is_alive())


def test_without_opencv_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SourceError, match="camera 0 needs OpenCV, which is not installed: pip install"):
        CameraSource(0)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(SourceError, match="the video a.mp4 needs OpenCV"):
        VideoSource(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match="there is no video file"):
        VideoSource(tmp_path / "b.mp4")


def test_a_video_is_read_at_its_own_pace(tmp_path):
    cv2 = pytest.importorskip("cv2")
    np = pytest.importorskip("numpy")
    path = tmp_path / "dog.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, (1280, 720))
    for shade in range(10):
        writer.write(np.full((720, 1280, 3), shade * 20, np.uint8))
    writer.release()
    source = VideoSource(path)
    frames = []
    wait_for(lambda: ((frame := source.next()) and frames.append(frame)) or source.is_over)
    assert frames[0].name == "dog#1"
    assert frames[-1].name == "dog#10"
    assert frames[-1].taken_s - frames[0].taken_s == pytest.approx(9 / 50)
    assert cv2.imdecode(np.frombuffer(frames[0].picture, np.uint8), 1).shape == (360, 640, 3)
    source.close()
    (tmp_path / "no.avi").write_bytes(b"x")
    with pytest.raises(SourceError, match="is no video that OpenCV can read"):
        VideoSource(tmp_path / "no.avi")
    with pytest.raises(SourceError, match="there is no camera 99; is it plugged in"):
        CameraSource(99)
