"""JSON lines, such as one a request, written by a thread of their own.

Whoever reads them may be slow or gone, and no request waits for that.
"""

import json
import logging
import os
import queue
import sys
import threading
from typing import Any, Final, TextIO

_log = logging.getLogger(__name__)

# A reader that is further behind loses lines; the number lost is told in the next one that is written.
MAX_WAITING: Final = 10_000
_CLOSE_TIMEOUT_S: Final = 2.0
_MAX_LINES_A_WRITE: Final = 200


class _Descriptor:
    """A file by its number, without a buffer."""

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, text: str) -> None:
        data = memoryview(text.encode())
        while data:
            data = data[os.write(self._number, data) :]

    def flush(self) -> None:
        pass


def _standard_output() -> TextIO | _Descriptor:
    """Standard output, not through `sys.stdout`: its lock would be held by a write that a slow reader holds up, and whoever
    flushes it then, as the process does when it ends, waits for that reader.
    """
    try:
        return _Descriptor(sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):
        return sys.stdout  # something else stands in for it


class LineLog:
    """Writes objects as lines.

    Args:
        sink: where lines go; standard output by default.
        enabled: whether anything is written.

    Attributes:
        enabled: turns false for good when the sink cannot be written to.
    """

    def __init__(self, sink: TextIO | None = None, *, enabled: bool = True) -> None:
        self._sink = sink or _standard_output()
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(MAX_WAITING)
        self._lost = 0
        self._thread: threading.Thread | None = None
        self.enabled = enabled

    def write_line(self, line: dict[str, Any]) -> None:
        """Hand over one line; it is this log's from now on."""
        if not self.enabled:
            return
        if self._lost:
            line["lost"] = self._lost
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._lost += 1
            return
        self._lost = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, for a short time at most; later lines are left out."""
        self.enabled = False
        if self._thread is not None:
            try:
                self._waiting.put(None, timeout=_CLOSE_TIMEOUT_S)
            except queue.Full:
                return
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        more = True
        while more:
            lines = [self._waiting.get()]
            while len(lines) < _MAX_LINES_A_WRITE and not self._waiting.empty():
                lines.append(self._waiting.get())
            more = None not in lines
            text = "".join([json.dumps(line, separators=(",", ":")) + "\n" for line in lines if line is not None])
            try:
                self._sink.write(text)
                self._sink.flush()
            except (OSError, ValueError) as error:
                self.enabled = False
                _log.error("the request log cannot be written any more: %s", error)
                return
