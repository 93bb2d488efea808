"""When a transfer that failed is tried again. Decisions only; `transfer` waits."""

import email.utils
from dataclasses import dataclass

MAX_RETRY_AFTER_S = 300.0
"""A server that asks to be left alone for longer than this is not waited for."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently.

    Attributes:
        retries: how many in a row may come to nothing.
        base_s, cap_s: the bound of the first delay, which doubles, and its greatest.
    """

    retries: int = 8
    base_s: float = 0.5
    cap_s: float = 20.0

    def delay_s(self, retry: int, *, retry_after_s: float | None, draw: float) -> float | None:
        """How long to wait before a retry.

        Args:
            retry: 1 for the first.
            retry_after_s: what the server asked for; None when it did not.
            draw: uniform in [0, 1).
        Returns: seconds; None to give up.
        Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter).
        """
        if retry > self.retries or (retry_after_s is not None and retry_after_s > MAX_RETRY_AFTER_S):
            return None
        bound_s = min(self.cap_s, self.base_s * 2.0 ** min(retry - 1, 32))
        # Jitter is added to what the server asked for: many clients may have been asked for the same.
        return (retry_after_s or 0.0) + draw * bound_s


def retry_after_s(value: str | None, *, wall_clock_s: float) -> float | None:
    """Read a Retry-After header.

    Args:
        value: a number of seconds or an HTTP date; None when there is none.
        wall_clock_s: now, since the epoch.
    Returns: seconds from now, never negative; None when it says nothing.
    Source: RFC 9110, section 10.2.3.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    return max(0.0, moment.timestamp() - wall_clock_s)
