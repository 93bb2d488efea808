"""The doggy door: pictures in, questions to the gateway, decisions, the lock."""

import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from doggy_door.actuator import Actuator, ActuatorError, DryActuator, FileActuator, TerminalActuator
from doggy_door.asking import Answer, Asker
from doggy_door.door import Door
from doggy_door.journal import Journal
from doggy_door.lines import Lines, let_go, reason_of
from doggy_door.settings import LockSettings, Settings, Wanted, api_key, parse
from doggy_door.sources import CameraSource, FolderSource, Frame, Source, SourceError, VideoSource, WatchedFolder
from doggy_door.view import View, view_for
from edgewise.client import Client, EdgewiseError, InvalidArgumentError

POLL_S = 0.05
_WORDS = {"spoiled": "corrupt", "missed": "without an answer", "stale": "too old"}


class Stop:
    """Whether to end. A plain flag, since a signal's handler may come at any moment: an event would wait for a lock that it interrupted."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self, *_: object) -> None:
        """End; takes a handler's arguments."""
        self.is_set = True


class Porter:
    """Stands at the door: asks about each picture, and moves the lock as the door decides.

    Args:
        door: decides.
        asker: knows what is on a picture.
        actuator: moves the lock; told at each turn, which is its heartbeat.
        journal, view: are told what happened.
    """

    def __init__(self, door: Door, asker: Asker, actuator: Actuator, journal: Journal, view: View) -> None:
        self._door = door
        self._asker = asker
        self._actuator = actuator
        self._journal = journal
        self._view = view

    def turn(self, frame: Frame | None) -> None:
        """One picture, or none yet.

        Raises:
            ActuatorError: the lock cannot be told; it is shut.
        """
        # What time has shut is shut before anything else is waited for.
        self._door.pass_time(now_s=time.monotonic())
        self._actuator.tell(is_open=self._door.is_open)
        answer = None
        if frame is not None:
            answer = self._asker.ask(frame.picture)
            counted = self._decide(frame, answer)
            self._actuator.tell(is_open=self._door.is_open)
            self._journal.picture(frame.name, answer, self._door, counted=counted)
        else:
            self._journal.moment(self._door)
        self._view.show("" if frame is None else frame.name, answer, self._door, self._journal.counts)

    def _decide(self, frame: Frame, answer: Answer) -> bool:
        now_s = time.monotonic()
        if answer.seen is None:
            self._door.miss(now_s=now_s)
            return False
        return self._door.see(answer.seen, taken_s=frame.taken_s, now_s=now_s)


def run(wanted: Wanted, stopped: Stop, *, out: TextIO, err: TextIO) -> int:
    """Watch the door until the pictures end or it is told to stop. However it ends, the lock is shut.

    Returns: the exit code; 1 when the lock failed.

    Raises:
        EdgewiseError: a URL, key or log that cannot be used.
        SourceError: no such source.
        ActuatorError: no such lock.
    """
    settings = wanted.settings
    source = _source(wanted)
    journal = Journal(Path(settings.log) if settings.log else None, err)
    _check_log(journal, settings.log)
    shown = Lines(out, journal.unseen)
    client = Client(settings.gateway, api_key=api_key(settings))
    actuator = _actuator(settings.lock, shown)
    _look_for_model(settings, client, Lines(err))
    view = view_for(shown, is_plain=wanted.is_plain)
    door = Door(settings.rules, now_s=time.monotonic())
    try:
        porter = Porter(door, _asker(settings, client), actuator, journal, view)
        _follow(source, porter, stopped, 1 / settings.fps)
    except ActuatorError as error:
        Lines(err).say(f"doggy_door: {error}")
        return 1
    finally:
        actuator.close()
        journal.end(door)
        view.close()
        source.close()
        client.close()
        shown.say(f"doggy_door: shut; {_told(journal.counts, source.skipped)}")
    return 0


def _check_log(journal: Journal, name: str) -> None:
    """Before the door is there: later a log that fails stops nothing.

    Raises:
        InvalidArgumentError: it cannot be written.
    """
    try:
        journal.check()
    except OSError as error:
        raise InvalidArgumentError(
            f'the log {name} cannot be written: {reason_of(error)}; name another with --log, or --log "" for none'
        ) from None


def _look_for_model(settings: Settings, client: Client, err: Lines) -> None:
    """Say it where nobody serves the model. The door watches all the same: it may be up before its network is, and stays shut so long."""
    try:
        client.metadata(settings.model, timeout_s=settings.deadline_ms / 1000)
    except EdgewiseError as error:
        err.say(
            f"doggy_door: the model {settings.model} is not served at {settings.gateway} as it seems: {error.message.rstrip('.')}; "
            "the door stays shut until it is"
        )


def _told(counts: Mapping[str, int], skipped: int) -> str:
    """What became of the pictures, in words."""
    said = [f"{count} {_WORDS.get(name, name)}" for name, count in sorted(counts.items())]
    if skipped:
        said.append(f"{skipped} not taken (unreadable, too large or the same again)")
    return ", ".join(said) or "no picture"


def _follow(source: Source, porter: Porter, stopped: Stop, every_s: float) -> None:
    """Turn after turn; at most one picture in `every_s` seconds."""
    due_s = time.monotonic()
    while not stopped.is_set and not source.is_over:
        if time.monotonic() < due_s:
            porter.turn(None)
            time.sleep(min(POLL_S, max(0.0, due_s - time.monotonic())))
            continue
        frame = source.next()
        porter.turn(frame)
        if frame is not None:
            due_s = max(due_s + every_s, time.monotonic())
        elif not source.is_over:
            time.sleep(POLL_S)


def _source(wanted: Wanted) -> Source:
    if wanted.kind == "camera":
        return CameraSource(int(wanted.place))
    kinds: dict[str, Callable[[Path], Source]] = {"folder": FolderSource, "watch": WatchedFolder, "video": VideoSource}
    return kinds[wanted.kind](Path(wanted.place))


def _actuator(lock: LockSettings, out: Lines) -> Actuator:
    if lock.kind == "file":
        return FileActuator(Path(lock.file), opened=lock.opened, shut=lock.shut, heartbeat_s=lock.heartbeat_s)
    return TerminalActuator(out) if lock.kind == "terminal" else DryActuator()


def _asker(settings: Settings, client: Client) -> Asker:
    return Asker(
        client,
        model=settings.model,
        deadline_s=settings.deadline_ms / 1000,
        route=settings.route,
        source=settings.source,
        confidences=settings.confidences,
        names=settings.names,
    )


def main() -> int:
    """What `python examples/doggy_door` does.

    Returns: the exit code; 1 when the lock failed, 2 for arguments, a source or a lock that cannot be used.
    """
    stopped = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped.set)
    try:
        return run(parse(), stopped, out=sys.stdout, err=sys.stderr)
    except EdgewiseError as error:
        Lines(sys.stderr).say(f"doggy_door: {error.message}")
    except (SourceError, ActuatorError) as error:
        Lines(sys.stderr).say(f"doggy_door: {error}")
    finally:
        let_go(sys.stdout, sys.stderr)
    return 2
