"""Work on many pictures by two threads: Pillow lets go of the interpreter while it decodes, resizes and encodes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

THREADS: Final = 2
_AHEAD: Final = 8
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def in_order(work: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
    """What the work makes of each, in their order; a few are ahead, so memory does not grow with their number."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[_Made]] = deque()
        try:
            for each in given:
                waiting.append(pool.submit(work, each))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
