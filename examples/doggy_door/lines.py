"""Lines for people, written to where nobody may be reading any more."""

import os
from collections.abc import Callable
from typing import TextIO

FAULTS = (OSError, ValueError)
"""What writing raises: a pipe whose reader has gone, a disk that is full; a file that was closed, letters that it does not know."""


def reason_of(error: BaseException) -> str:
    """Why something cannot be written, for people."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


class Lines:
    """Writes lines. One that cannot be written ends nothing: that is told once, and tried again with the next one.

    Args:
        file: where they go.
        on_fault: is told why, when one cannot be written after one that could.
    """

    def __init__(self, file: TextIO, on_fault: Callable[[str], None] = lambda _: None) -> None:
        self.file = file
        self._on_fault = on_fault
        self._is_failing = False

    def say(self, text: str) -> None:
        """Write a line."""
        try:
            print(text, file=self.file, flush=True)
        except FAULTS as error:
            self.fail(error)
        else:
            self._is_failing = False

    def fail(self, error: BaseException) -> None:
        """Something could not be written."""
        if not self._is_failing:
            self._is_failing = True
            self._on_fault(reason_of(error))


def let_go(*files: TextIO) -> None:
    """Have the interpreter's end not fail for lines that nobody reads: it would write what is left, and give another exit code."""
    for file in files:
        try:
            file.flush()
        except FAULTS:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, file.fileno())
            os.close(nowhere)
