"""Where pictures come from: a folder, a folder in which they appear, a video, a camera.

A source is asked for its next picture and says at once, or soon, whether there is one. OpenCV is needed for videos and cameras only, and imported then.
"""

import contextlib
import functools
import importlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
MAX_PICTURE_BYTES = 16 << 20
JPEG_QUALITY = 90
LONG_SIDE = 640
"""Pixels; the network sees about 224, and less is sooner sent."""
REOPEN_S = 2.0


class SourceError(Exception):
    """There is no such source, or it cannot be used."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture.

    Attributes:
        name: for people and the log.
        picture: JPEG, PNG or WebP.
        taken_s: when it was taken, on the monotonic clock.
    """

    name: str
    picture: bytes
    taken_s: float


class Source(Protocol):
    """Gives pictures.

    Attributes:
        is_over: nothing more will come.
        skipped: pictures that could not be read.
    """

    is_over: bool
    skipped: int

    def next(self) -> Frame | None:
        """The next picture; None where there is none yet, or none any more."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class FolderSource:
    """The pictures of a folder by name, once, each as if it were taken as it is read.

    Raises:
        SourceError: no such folder, or no picture in it.
    """

    def __init__(self, folder: Path) -> None:
        self._left = _pictures(folder)
        if not self._left:
            raise SourceError(f"the folder {folder} holds no picture ({', '.join(sorted(SUFFIXES))})")
        self.is_over = False
        self.skipped = 0

    def next(self) -> Frame | None:
        """The next picture."""
        if not self._left:
            self.is_over = True
            return None
        path = self._left.pop(0)
        picture = _read(path)
        if picture is None:
            self.skipped += 1
            return None
        return Frame(path.name, picture, time.monotonic())

    def close(self) -> None:
        """Nothing is held."""


class WatchedFolder:
    """The pictures that appear in a folder; those that lie there at first are old. A picture was taken when its file was last written to.

    Only the newest of several is given: the door looks at what is there now. A file counts as written when its size was the same at two looks.

    Raises:
        SourceError: no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[Path, int] = {}
        self._seen = set(_pictures(folder))
        self.is_over = False
        self.skipped = 0

    def next(self) -> Frame | None:
        """The newest picture that has appeared since."""
        try:
            there = _pictures(self._folder)
        except SourceError:
            # A memory card that was pulled out may come back.
            return None
        self._seen &= set(there)
        sizes = {path: _size(path) for path in there if path not in self._seen}
        written = [path for path, size in sizes.items() if self._sizes.get(path) == size]
        self._seen.update(written)
        self._sizes = {path: size for path, size in sizes.items() if path not in self._seen}
        if not written:
            return None
        newest = max(written, key=_written_at_s)
        picture = _read(newest)
        if picture is None:
            self.skipped += 1
            return None
        age_s = max(0.0, time.time() - _written_at_s(newest))
        return Frame(newest.name, picture, time.monotonic() - age_s)

    def close(self) -> None:
        """Nothing is held."""


class Capture(Protocol):
    """What is used of OpenCV's VideoCapture."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Whether there is one."""
        ...

    def read(self) -> tuple[bool, Any]:
        """Whether there is a picture, and the picture."""
        ...

    def get(self, what: int) -> float:
        """A property, such as the pictures a second."""
        ...

    def release(self) -> None:
        """Let go of it."""
        ...


class VideoSource:
    """The pictures of a video file at the pace at which they were taken; those for which there is no time are left out.

    Raises:
        SourceError: no OpenCV, no such file, or no video.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SourceError(f"there is no video file {path}")
        self._cv2 = _opencv(f"the video {path.name}")
        self._capture: Capture = self._cv2.VideoCapture(str(path))
        self._name = path.stem
        self._count = 0
        self._began_s: float | None = None
        self.is_over = False
        self.skipped = 0
        if not self._capture.isOpened():
            raise SourceError(f"{path} is no video that OpenCV can read")
        self._per_s = self._capture.get(self._cv2.CAP_PROP_FPS) or 25.0

    def next(self) -> Frame | None:
        """The picture of now; None where its time has not come yet."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        due = int((now_s - self._began_s) * self._per_s) + 1
        picture = None
        while self._count < due:
            works, found = self._capture.read()
            if not works:
                self.is_over = True
                break
            self._count += 1
            picture = found
        if picture is None:
            return None
        taken_s = self._began_s + (self._count - 1) / self._per_s
        return Frame(f"{self._name}#{self._count}", jpeg(self._cv2, picture), taken_s)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class CameraSource:
    """The newest picture of a camera, read in a thread of its own, since a camera may hang. One that was pulled out is tried again, again and again.

    A camera that gives the very same picture twice has frozen: real ones are never the same. Such pictures are left out.

    Args:
        number: 0 for the first camera.
        open_camera: makes a capture of a number; OpenCV's VideoCapture.
        encode: makes JPEG of a picture.

    Raises:
        SourceError: no OpenCV, or no such camera.
    """

    def __init__(
        self,
        number: int,
        *,
        open_camera: Callable[[int], Capture] | None = None,
        encode: Callable[[Any], bytes] | None = None,
    ) -> None:
        if open_camera is None or encode is None:
            cv2 = _opencv(f"camera {number}")
            open_camera, encode = cv2.VideoCapture, functools.partial(jpeg, cv2)
        self._number = number
        self._open = open_camera
        self._encode = encode
        self._newest: Frame | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.is_over = False
        self.skipped = 0
        capture = open_camera(number)
        if not capture.isOpened():
            raise SourceError(
                f"there is no camera {number}; is it plugged in, and may this user read /dev/video{number}?"
            )
        self._thread = threading.Thread(target=self._follow, args=(capture,), daemon=True)
        self._thread.start()

    def next(self) -> Frame | None:
        """The newest picture, once."""
        with self._lock:
            frame, self._newest = self._newest, None
        return frame

    def close(self) -> None:
        """Let the camera go; one that hangs is left behind."""
        self._stopped.set()
        self._thread.join(REOPEN_S)

    def _follow(self, capture: Capture) -> None:
        count, last = 0, b""
        while not self._stopped.is_set():
            encoded, taken_s = self._shoot(capture), time.monotonic()
            if encoded is None:
                self.skipped += 1
                capture = self._reopen(capture)
                continue
            if encoded == last:
                self.skipped += 1
                continue
            count, last = count + 1, encoded
            with self._lock:
                self._newest = Frame(f"camera{self._number}#{count}", encoded, taken_s)
        with contextlib.suppress(Exception):
            capture.release()

    def _reopen(self, capture: Capture) -> Capture:
        """The camera anew; the old one where a driver raises, which gives no picture and comes here again."""
        with contextlib.suppress(Exception):
            capture.release()
        self._stopped.wait(REOPEN_S)
        with contextlib.suppress(Exception):
            return self._open(self._number)
        return capture

    def _shoot(self, capture: Capture) -> bytes | None:
        """A picture; None where the camera gives none, or one of which nothing can be made."""
        try:
            works, picture = capture.read()
            return self._encode(picture) if works else None
        except Exception:  # noqa: BLE001 - drivers raise what they like, and the thread has to live
            return None


def jpeg(cv2: Any, picture: Any) -> bytes:
    """A picture of OpenCV's as JPEG, made smaller where it is large.

    Args:
        cv2: the library.
        picture: uint8[height, width, 3], blue first.
    """
    height, width = picture.shape[:2]
    ratio = LONG_SIDE / max(height, width)
    if ratio < 1:
        picture = cv2.resize(picture, (round(width * ratio), round(height * ratio)), interpolation=cv2.INTER_AREA)
    works, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not works:
        raise SourceError("OpenCV made no JPEG of a picture")
    return bytes(encoded)


def _opencv(what: str) -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError:
        raise SourceError(
            f"{what} needs OpenCV, which is not installed: pip install opencv-python-headless "
            "(or have another program put pictures into a folder, and use --watch FOLDER)"
        ) from None


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by name."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    except OSError as error:
        raise SourceError(f"the folder {folder} cannot be read: {error.strerror or error}") from None


def _read(path: Path) -> bytes | None:
    """A file's bytes; None where it cannot be read, or is too large to be a picture from a door."""
    try:
        with path.open("rb") as file:
            picture = file.read(MAX_PICTURE_BYTES + 1)
    except OSError:
        return None
    return picture if len(picture) <= MAX_PICTURE_BYTES else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _written_at_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
