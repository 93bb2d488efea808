"""Signals that end what the main thread is at, wherever it waits."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT)
_AGAIN_S = 0.1


class Stopped(BaseException):
    """Someone wants the process to end; as KeyboardInterrupt, it passes those who catch errors.

    Attributes:
        signal: which said so.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM and SIGINT raise `Stopped` in the main thread, once; cleaning up is not disturbed by another.

    Python runs handlers between two instructions of the main thread. A signal that comes just before that thread begins to wait,
    or that the kernel gives to another thread, does not wake it: it would be heard when the wait is over. So a thread hears of
    every signal from a pipe, and sends it to the main thread until its handler has run.
    """
    heard = threading.Event()
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in _STOPS:
            signal.signal(each, signal.SIG_IGN)
        heard.set()
        raise Stopped(number)

    def insist() -> None:
        while (number := os.read(ours, 1)) and number[0] not in _STOPS:
            pass
        while number and not heard.wait(_AGAIN_S):
            signal.pthread_kill(main.ident or 0, number[0])

    main = threading.main_thread()
    insisting = threading.Thread(target=insist, name="stops", daemon=True)
    insisting.start()
    fd_before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    before = {each: signal.signal(each, stop) for each in _STOPS}
    try:
        yield
    finally:
        # The handlers last: what insists must not meet those of before.
        heard.set()
        signal.set_wakeup_fd(fd_before)
        os.close(theirs)
        insisting.join()
        os.close(ours)
        for each, handler in before.items():
            signal.signal(each, handler)
