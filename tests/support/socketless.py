"""A transport and a loop without sockets, for connections that are driven by hand."""

import asyncio
from typing import Any


class ManualLoop:
    """Runs what is due when it is told to; timers never fire."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def call_soon(self, callback: Any, *arguments: Any) -> None:
        self.due.append((callback, arguments))

    def call_later(self, _delay_s: float, *_rest: Any) -> Any:
        class Timer:
            def cancel(self) -> None: ...

        return Timer()

    def turn(self) -> None:
        while self.due:
            due, self.due = self.due, []
            for callback, arguments in due:
                callback(*arguments)


class WrittenTransport(asyncio.Transport):
    """Keeps what is written, and whether it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.write(part)

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.ended

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
