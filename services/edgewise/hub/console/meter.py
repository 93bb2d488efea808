"""How far bytes are, for whoever looks at the terminal; nothing where nobody does."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


@contextlib.contextmanager
def meter(what: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while bytes move.

    Args:
        what: is being done.
        total_bytes: None while nobody knows.
    Returns: what takes the number of bytes that are done besides those before.
    """
    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with shown:
        task = shown.add_task(what, total=total_bytes)
        yield lambda count: shown.advance(task, count)
