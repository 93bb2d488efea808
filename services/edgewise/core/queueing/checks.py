"""What every formula asks of its arguments."""

import math

from edgewise.core.errors import InvalidArgumentError


def require_rate(name: str, value: float) -> None:
    """A rate or a size: finite and not negative.

    Raises: InvalidArgumentError: it is not.
    """
    if not (math.isfinite(value) and value >= 0):
        raise InvalidArgumentError(f"{name} is {value:g}; expected a finite number that is 0 or more")


def require_positive(name: str, value: float) -> None:
    """A time or a capacity that is divided by: finite and over 0.

    Raises: InvalidArgumentError: it is not.
    """
    if not (math.isfinite(value) and value > 0):
        raise InvalidArgumentError(f"{name} is {value:g}; expected a finite number over 0")


def require_servers(servers: int) -> None:
    """A count of servers.

    Raises: InvalidArgumentError: it is not a whole number of 1 or more.
    """
    if not (isinstance(servers, int) and servers >= 1):
        raise InvalidArgumentError(f"servers is {servers!r}; expected a whole number that is 1 or more")


def require_quantile(quantile: float) -> None:
    """A share of the requests.

    Raises: InvalidArgumentError: it is not in [0, 1).
    """
    if not 0 <= quantile < 1:
        raise InvalidArgumentError(f"quantile is {quantile:g}; expected 0 or more and less than 1, such as 0.99")
