"""Asks two versions of a model, side by side on the model server, the held-out examples that the new one's release carries.

One thread, one example at a time, and as long as each took nothing is asked, since the same model server answers the apps. Nothing of it is kept on the
disk: an agent that was started anew asks again.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from edgewise.agent.fetching.digests import digest_of_path
from edgewise.agent.site.port import Comparison
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, NotFoundError, UnavailableError
from edgewise.core.rollout.alike import alike
from edgewise.core.rollout.paired import Paired
from edgewise.protocols.heldout import (
    FOLDER,
    MAX_EXAMPLE_BYTES,
    MAX_HELDOUT_BYTES,
    NAME,
    Heldout,
    read_heldout,
)
from edgewise.protocols.image_header import picture_type

PATIENCE_S: Final = 60.0
"""A model server that does not answer is asked again for so long: it may have been started anew."""
AGAIN_S: Final = 0.25
_UNDERWAY: Final = Comparison()
_log = logging.getLogger(__name__)


class Answering(Protocol):
    """A model server."""

    def answer(self, model: str, version: int, picture: bytes, media_type: str, output: str) -> str:
        """What a version says to a picture; "" when it cannot answer this one.

        Raises:
            UnavailableError, NotFoundError: the version does not answer at the moment.
            FailedPreconditionError: it has no such output.
        """
        ...


@dataclass(slots=True)
class _Asked:
    """A comparison that was begun.

    Attributes:
        ended: nobody waits for it: the rollout goes back, or another one's took its place.
    """

    rollout: str
    comparison: Comparison = _UNDERWAY
    ended: threading.Event = field(default_factory=threading.Event)


class ModelExaminer:
    """See `Examiner`.

    Args:
        models: MODEL/VERSION/ below it.
        server: where both versions are loaded.
        wake: called when something came about.
        pause: waits for so many seconds, or until the event is set.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        models: Path,
        server: Answering,
        *,
        wake: Callable[[], None] = lambda: None,
        pause: Callable[[threading.Event, float], object] = threading.Event.wait,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._server = server
        self._wake = wake
        self._pause = pause
        self._now_s = now_s
        # Of each model the last one alone.
        self._asked: dict[str, _Asked] = {}

    def look(self, rollout: str, model: str) -> Comparison:
        """See `Examiner`."""
        asked = self._asked.get(model)
        return asked.comparison if asked is not None and asked.rollout == rollout else _UNDERWAY

    def compare(self, rollout: str, model: str, old: int, new: int) -> None:
        """See `Examiner`."""
        asked = self._asked.get(model)
        if asked is not None and asked.rollout == rollout:
            return
        if asked is not None:
            # Two at once would ask the model server twice as much as it was promised.
            asked.ended.set()
        asked = self._asked[model] = _Asked(rollout)
        threading.Thread(target=self._work, args=(asked, model, old, new), name="examining", daemon=True).start()

    def end(self, rollout: str, model: str) -> None:
        """See `Examiner`."""
        asked = self._asked.get(model)
        if asked is not None and asked.rollout == rollout:
            asked.ended.set()
            del self._asked[model]

    def _work(self, asked: _Asked, model: str, old: int, new: int) -> None:
        try:
            asked.comparison = Comparison(paired=self.paired(asked.rollout, model, old, new, asked.ended))
        except EdgewiseError as error:
            asked.comparison = Comparison(problem=f"held-out examples: {error.message}")
        except Exception:  # noqa: BLE001  (a thread that dies in silence would be waited for)
            _log.exception("%s/%d could not be compared with %d", model, new, old)
            asked.comparison = Comparison(problem="held-out examples: a fault of the agent, whose log says more")
        self._wake()

    def paired(self, rollout: str, model: str, old: int, new: int, ended: threading.Event | None = None) -> Paired:
        """What both versions say; blocks until all are asked.

        Args:
            ended: once it is set nothing more is asked.

        Raises: EdgewiseError: there are no examples, a version does not answer, or it was ended.
        """
        ended = threading.Event() if ended is None else ended
        directory = self._models / model
        heldout = _heldout(directory / str(new) / FOLDER)
        both = lost = gained = count = 0
        by_source: dict[str, list[int]] = {}
        for picture, label, source in _examples(directory / str(new) / FOLDER, heldout):
            began_s = self._now_s()
            old_is_right, new_is_right = (
                self._ask(model, version, picture, heldout.output, ended) == label for version in (old, new)
            )
            count += 1
            both += not old_is_right and not new_is_right
            lost += old_is_right and not new_is_right
            gained += new_is_right and not old_is_right
            sums = by_source.setdefault(source, [0, 0, 0])
            sums[0] += 1
            sums[1] += old_is_right and not new_is_right
            sums[2] += new_is_right and not old_is_right
            self._pause(ended, self._now_s() - began_s)
        rows = alike((sums[0], sums[1], sums[2]) for sums in by_source.values()) if len(by_source) < count else ()
        paired = Paired(_digest(directory, old, new), count, both, lost, gained, rows)
        _log.info(
            "%s: of %d held-out examples of %d sources %s/%d answers %d rightly, %s/%d %d",
            *(rollout, count, len(by_source)),
            *(model, old, count - paired.old_hits, model, new, count - paired.new_hits),
        )
        return paired

    def _ask(self, model: str, version: int, picture: bytes, output: str, ended: threading.Event) -> str:
        until_s = self._now_s() + PATIENCE_S
        while True:
            if ended.is_set():
                raise UnavailableError(f"the comparison of {model} was ended")
            try:
                return self._server.answer(model, version, picture, picture_type(picture), output)
            except (UnavailableError, NotFoundError) as error:
                if self._now_s() >= until_s:
                    raise UnavailableError(f"version {version} of {model} does not answer: {error.message}") from error
            self._pause(ended, AGAIN_S)


def _heldout(folder: Path) -> Heldout:
    path = folder / NAME
    try:
        with path.open("rb") as file:
            return read_heldout(file.read(MAX_HELDOUT_BYTES + 1))
    except FileNotFoundError:
        raise FailedPreconditionError(f"the release carries none; expected {FOLDER}/{NAME} in it") from None
    except OSError as error:
        raise FailedPreconditionError(f"{FOLDER}/{NAME} cannot be read: {error.strerror}") from error


def _examples(folder: Path, heldout: Heldout) -> Iterator[tuple[bytes, str, str]]:
    """(picture, label, source), the last one like no other where none is stated; a picture that is there twice under two names counts once."""
    seen: set[bytes] = set()
    for example in heldout.examples:
        try:
            with (folder / example.file).open("rb") as file:
                picture = file.read(MAX_EXAMPLE_BYTES + 1)
        except OSError as error:
            raise FailedPreconditionError(f"{FOLDER}/{example.file} cannot be read: {error.strerror}") from error
        if len(picture) > MAX_EXAMPLE_BYTES or not picture_type(picture):
            raise FailedPreconditionError(
                f"{FOLDER}/{example.file} is no JPEG, PNG or WebP file of at most {MAX_EXAMPLE_BYTES} bytes"
            )
        digest = hashlib.sha256(picture).digest()
        if digest not in seen:
            seen.add(digest)
            yield picture, example.label, example.source or f"/{example.file}"


def _digest(directory: Path, old: int, new: int) -> str:
    """Of what was compared: the same at every site that has the same files."""
    try:
        digests = [digest_of_path(directory / str(version)) for version in (old, new)]
    except OSError as error:
        raise FailedPreconditionError(f"{error.filename or directory} cannot be read: {error.strerror}") from error
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()
