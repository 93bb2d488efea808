"""What happened, as JSON lines: one for each picture, and one for each move of the door in between."""

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any, Final, TextIO

from doggy_door.asking import Answer
from doggy_door.door import Door
from doggy_door.lines import Lines, reason_of

MAX_BYTES: Final = 16 << 20


class Journal:
    """Writes lines to a file, which is put aside as FILE.1 when it has grown large; and counts.

    A log that cannot be written never moves the door: it is told once, and tried again with the next line.

    Args:
        path: the file; None for no log.
        err: where it is told that there is no log.
        max_bytes: see above.

    Attributes:
        counts: of pictures, by what became of them, and of moves.
    """

    def __init__(self, path: Path | None, err: TextIO, *, max_bytes: int = MAX_BYTES) -> None:
        self.counts: Counter[str] = Counter()
        self._path = path
        self._err = Lines(err)
        self._max_bytes = max_bytes
        self._is_failing = False
        self._was_open = False

    def check(self) -> None:
        """Look whether there can be a log.

        Raises:
            OSError: there cannot.
        """
        if self._path is not None:
            self._path.open("a").close()

    def picture(self, frame: str, answer: Answer, door: Door, *, counted: bool) -> None:
        """A picture, what was said of it, and what the door makes of it.

        Args:
            frame: its name.
            answer: what was said.
            door: after it was told.
            counted: whether the answer did; False for one about an old picture.
        """
        if answer.missed:
            self.counts["spoiled" if answer.is_spoiled else "missed"] += 1
            said: dict[str, Any] = {"spoiled" if answer.is_spoiled else "missed": answer.missed}
        else:
            self.counts[str(answer.seen) if counted else "stale"] += 1
            said = {
                "seen": answer.seen,
                "verdict": answer.verdict,
                "confidence": answer.confidence,
                "dog": round(answer.dog, 3),
                "cat": round(answer.cat, 3),
                "hidden": round(answer.hidden, 3),
                "site": answer.site,
                "tier": answer.tier,
                "version": answer.version,
                "attempts": answer.attempts,
                "degraded": answer.degraded,
                "latency_ms": round(answer.latency_s * 1e3, 1),
            }
            said |= {"doubt": answer.doubt} if answer.doubt else {}
            said |= {} if counted else {"stale": True}
        self._write({"frame": frame, **said}, door, is_open=door.is_open)

    def moment(self, door: Door) -> None:
        """No picture; a line only where the door has moved."""
        if door.is_open is not self._was_open:
            self._write({}, door, is_open=door.is_open)

    def end(self, door: Door) -> None:
        """The program ends, and the door is shut whatever was decided last."""
        if self._was_open:
            self._write({"ended": True}, door, is_open=False)

    def unseen(self, reason: str) -> None:
        """What is shown cannot be written; without a log, that is told where the log's faults are."""
        if self._path is None:
            self._err.say(f"doggy_door: what it shows cannot be written: {reason}")
        self._append({"unseen": f"what is shown cannot be written: {reason}"})

    def _write(self, said: dict[str, Any], door: Door, *, is_open: bool) -> None:
        line: dict[str, Any] = {**said, "door": door.state, "why": door.why}
        if is_open is not self._was_open:
            self._was_open = is_open
            self.counts["opened" if is_open else "shut"] += 1
            line["moved"] = "open" if is_open else "shut"
        self._append(line)

    def _append(self, said: dict[str, Any]) -> None:
        if self._path is None:
            return
        line = {"time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), **said}
        try:
            if self._path.exists() and self._path.stat().st_size >= self._max_bytes:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            with self._path.open("a") as file:
                file.write(f"{json.dumps(line)}\n")
        except OSError as error:
            if not self._is_failing:
                self._err.say(f"doggy_door: the log {self._path} cannot be written: {reason_of(error)}")
            self._is_failing = True
        else:
            self._is_failing = False
