"""A limit on how long an answer of the API may take, whatever comes meanwhile: a byte now and then never passes a read timeout."""

import threading
from typing import Any, Self

from edgewise.agent.kubernetes.port import ClusterLostError


class AnswerWatch:
    """Closes an answer whose bytes take longer than they may."""

    def __init__(self, total_s: float) -> None:
        self.total_s = total_s
        self.fired = False
        self._timer: threading.Timer | None = None
        self._response: Any = None

    def over(self, response: Any) -> Self:
        """The answer that is read while this is entered."""
        self._response = response
        return self

    def late(self, address: str) -> ClusterLostError | None:
        """The error when it has closed the answer."""
        from edgewise.agent.kubernetes import transport  # noqa: PLC0415  (imports urllib3)

        return transport.slow(address, self.total_s) if self.fired else None

    def __enter__(self) -> None:
        self._timer = threading.Timer(self.total_s, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self.fired = True
        # `close` alone would wait for the reader that it is meant to end.
        self._response.shutdown()
