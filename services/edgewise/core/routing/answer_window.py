"""The answers of a site of which something is concluded at once: how many, how quickly, and what was in flight meanwhile."""

from typing import Final

# A window has as many answers as are needed, or fewer once it is so old.
_FEWER_SAMPLES: Final = 8


class AnswerWindow:
    """Counts answers, from `begin` on.

    Attributes:
        samples: answers so far.
        needed: so many make it full.
        least, most: that were in flight when an answer came; 0 before the first window.
        long_s: when it is so old that fewer answers are enough.
    """

    __slots__ = (
        "_in_flight_sum",
        "_latency_sum_s",
        "_ready_s",
        "_started_s",
        "least",
        "long_s",
        "most",
        "needed",
        "samples",
    )

    def __init__(self, needed: int) -> None:
        self.needed = needed
        self.samples = 0
        self.least = 0
        self.most = 0
        self.long_s = 0.0
        self._latency_sum_s = 0.0
        self._in_flight_sum = 0
        self._started_s = 0.0
        self._ready_s = 0.0

    def begin(self, now_s: float, *, at_least_s: float, long_s: float, most_in_flight: int) -> None:
        """Begin anew.

        Args:
            at_least_s: it is not full before so long.
            long_s: after so long fewer answers are enough.
            most_in_flight: no more than so many can be.
        """
        self.samples = 0
        self.least = most_in_flight + 1
        self.most = 0
        self.long_s = now_s + long_s
        self._latency_sum_s = 0.0
        self._in_flight_sum = 0
        self._started_s = now_s
        self._ready_s = now_s + at_least_s

    def take(self, latency_s: float, in_flight: int, now_s: float) -> bool:
        """Count an answer.

        Returns: whether the window is full.
        """
        self.samples = samples = self.samples + 1
        self._latency_sum_s += latency_s
        self._in_flight_sum += in_flight
        if in_flight < self.least:  # noqa: PLR1730 - min() and max() would cost each answer two calls
            self.least = in_flight
        if in_flight > self.most:  # noqa: PLR1730
            self.most = in_flight
        if samples >= self.needed:
            return now_s >= self._ready_s
        return samples >= _FEWER_SAMPLES and now_s >= self.long_s

    @property
    def latency_s(self) -> float:
        """The mean latency; of a window with an answer at least."""
        return max(self._latency_sum_s / self.samples, 1e-9)

    @property
    def in_flight(self) -> float:
        """The mean of what was in flight when an answer came; of a window with an answer at least."""
        return self._in_flight_sum / self.samples

    def per_s(self, now_s: float) -> float:
        """Answers a second until now."""
        return self.samples / max(now_s - self._started_s, 1e-9)
