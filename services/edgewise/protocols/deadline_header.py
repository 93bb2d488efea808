"""`x-edgewise-deadline-ms`: the remaining budget of a request, over REST and gRPC."""

from typing import Final

from edgewise.core.errors import InvalidArgumentError

DEADLINE_HEADER: Final = b"x-edgewise-deadline-ms"
MAX_DEADLINE_MS: Final = 86_400_000


def parse_deadline_ms(value: bytes) -> float:
    """The budget that the header states.

    Args:
        value: milliseconds, from 0 to a day; fractions are allowed.

    Returns: seconds.

    Raises:
        InvalidArgumentError: it is no such number.
    """
    try:
        milliseconds = float(value)
    except ValueError:
        milliseconds = -1.0
    if not 0 <= milliseconds <= MAX_DEADLINE_MS:
        raise InvalidArgumentError(
            f"x-edgewise-deadline-ms is not a number of milliseconds from 0 to {MAX_DEADLINE_MS}"
        )
    return milliseconds / 1e3
